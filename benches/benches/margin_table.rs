//! The margin table of one month, from mappings, costs and revenues that are in memory.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run stops")]

use std::collections::HashMap;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use marginstream_benches::events::customer_name;
use marginstream_benches::random::Random;
use query_api::{MonthlyAmounts, build_margin_table};
use schemas::id::OrgId;
use schemas::mapping::{CustomerMapping, MatchType};
use schemas::period::Period;
use schemas::time::TimestampMs;
use uuid::Uuid;

const NUM_CUSTOMERS: u64 = 10_000;
/// Amounts lie below this, in microdollars: 1,000 USD a month.
const MAX_AMOUNT: u64 = 1_000_000_000;

fn mapping(index: u64) -> CustomerMapping {
    CustomerMapping {
        id: Uuid::from_u128(index.into()),
        org_id: OrgId(Uuid::from_u128(5)),
        stripe_customer_id: stripe_id(index),
        tag_key: "customer".to_owned(),
        tag_value: customer_name(index),
        match_type: MatchType::Manual,
        confidence: Some(100),
        created_at: TimestampMs(0),
    }
}

fn stripe_id(index: u64) -> String {
    format!("cus_{index:014}")
}

fn amounts(random: &mut Random) -> MonthlyAmounts {
    std::array::from_fn(|_| i64::try_from(random.below(MAX_AMOUNT)).unwrap())
}

fn bench_margin_table(criterion: &mut Criterion) {
    let mut random = Random::new(7);
    let customers = 0..NUM_CUSTOMERS;
    let mappings: Vec<_> = customers.clone().map(mapping).collect();
    let costs: HashMap<_, _> = customers
        .clone()
        .map(|index| (customer_name(index), amounts(&mut random)))
        .collect();
    let revenues: HashMap<_, _> = customers
        .clone()
        .map(|index| (stripe_id(index), amounts(&mut random)))
        .collect();
    let names: HashMap<_, _> = customers
        .map(|index| (stripe_id(index), format!("Customer {index}")))
        .collect();
    let period: Period = "2026-04".parse().unwrap();
    let build = || build_margin_table(period, black_box(&mappings), &costs, &revenues, &names).unwrap();

    let mut group = criterion.benchmark_group("margin_table");
    group.throughput(Throughput::Elements(NUM_CUSTOMERS));
    group.bench_function("build", |bencher| bencher.iter(build));
    let table = build();
    group.bench_function("to_json", |bencher| {
        bencher.iter(|| black_box(serde_json::to_vec(black_box(&table)).unwrap()));
    });
    group.finish();
}

criterion_group!(benches, bench_margin_table);
criterion_main!(benches);
