//! What ingest does to one event: parse its JSON, resolve identity, tags and customer.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run stops")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use marginstream_benches::events::{EventSpec, Spread, generate};
use schemas::cost_event::{Overrides, Receipt, WireEvent};
use schemas::id::{ApiKeyId, EventId, OrgId};
use schemas::tags::Tags;
use schemas::time::TimestampMs;
use uuid::Uuid;

const NUM_EVENTS: u64 = 1_000;

fn bench_cost_event(criterion: &mut Criterion) {
    let spec = EventSpec {
        seed: 7,
        num_events: NUM_EVENTS,
        num_customers: 200,
        spread: Spread::Skewed,
    };
    let text = generate(spec).bytes;
    let lines: Vec<&[u8]> = text
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .collect();
    let (tags, overrides) = (Tags::new(), Overrides::default());
    let receipt = Receipt {
        org_id: OrgId(Uuid::from_u128(5)),
        api_key_id: ApiKeyId(Uuid::from_u128(6)),
        default_tags: &tags,
        received_at: TimestampMs(1_800_000_000_000),
    };
    let mut group = criterion.benchmark_group("cost_event");
    group.throughput(Throughput::Elements(NUM_EVENTS));
    group.bench_function("parse", |bencher| {
        bencher.iter(|| {
            for line in &lines {
                black_box(WireEvent::parse(black_box(line)).unwrap());
            }
        });
    });
    group.bench_function("parse_and_resolve", |bencher| {
        bencher.iter(|| {
            for line in &lines {
                let event = WireEvent::parse(black_box(line)).unwrap();
                black_box(event.resolve(&receipt, &overrides).unwrap());
            }
        });
    });
    group.bench_function("derive_event_id", |bencher| {
        bencher.iter(|| {
            for _ in 0..NUM_EVENTS {
                black_box(EventId::derive(
                    receipt.org_id,
                    black_box("azure-conv-12-18123"),
                    "anthropic",
                ));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, bench_cost_event);
criterion_main!(benches);
