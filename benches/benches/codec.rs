//! Events between their two forms: Arrow rows and records of the log.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run stops")]

use std::hint::black_box;

use arrow::buffer::Buffer;
use arrow::record_batch::RecordBatch;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use marginstream_benches::events::{EventSpec, Spread, generate};
use schemas::arrow::CostEventBuilder;
use schemas::codec::{decode_cost_events, encode_event, encode_events};
use schemas::cost_event::{CostEvent, Overrides, Receipt, WireEvent};
use schemas::id::{ApiKeyId, OrgId};
use schemas::tags::Tags;
use schemas::time::TimestampMs;
use schemas::topic;
use uuid::Uuid;

/// About what one chunk of a stream holds.
const NUM_EVENTS: u64 = 5_000;

fn resolve_all(text: &[u8]) -> Vec<CostEvent<'_>> {
    let tags = Tags::new();
    let receipt = Receipt {
        org_id: OrgId(Uuid::from_u128(5)),
        api_key_id: ApiKeyId(Uuid::from_u128(6)),
        default_tags: &tags,
        received_at: TimestampMs(1_800_000_000_000),
    };
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| {
            WireEvent::parse(line)
                .unwrap()
                .resolve(&receipt, &Overrides::default())
                .unwrap()
        })
        .collect()
}

fn build_rows(events: &[CostEvent<'_>]) -> RecordBatch {
    let mut builder = CostEventBuilder::with_capacity(events.len());
    for event in events {
        builder.append(event).unwrap();
    }
    builder.finish().unwrap()
}

fn bench_codec(criterion: &mut Criterion) {
    let spec = EventSpec {
        seed: 7,
        num_events: NUM_EVENTS,
        num_customers: 200,
        spread: Spread::Skewed,
    };
    let text = generate(spec).bytes;
    let events = resolve_all(&text);
    let rows = build_rows(&events);
    let columnar = Buffer::from(encode_events(&rows).unwrap());
    let singles: Vec<Buffer> = events
        .iter()
        .map(|event| encode_event(event).unwrap().into())
        .collect();

    let mut group = criterion.benchmark_group("codec");
    group.throughput(Throughput::Elements(NUM_EVENTS));
    group.bench_function("build_rows", |bencher| {
        bencher.iter(|| black_box(build_rows(black_box(&events))));
    });
    group.bench_function("encode_arrow", |bencher| {
        bencher.iter(|| black_box(encode_events(black_box(&rows)).unwrap()));
    });
    group.bench_function("decode_arrow", |bencher| {
        let decode = |value| decode_cost_events(topic::ARROW_STREAM.as_bytes(), value).unwrap();
        bencher.iter_batched(|| columnar.clone(), decode, BatchSize::SmallInput);
    });
    group.bench_function("encode_json", |bencher| {
        bencher.iter(|| {
            for event in &events {
                black_box(encode_event(black_box(event)).unwrap());
            }
        });
    });
    group.bench_function("decode_json", |bencher| {
        bencher.iter(|| {
            for single in &singles {
                black_box(decode_cost_events(topic::JSON.as_bytes(), single.clone()).unwrap());
            }
        });
    });
    group.finish();
}

criterion_group!(benches, bench_codec);
criterion_main!(benches);
