//! What counting costs: with a handle that was kept, by name and labels, and a rendering.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run stops")]

use criterion::{Criterion, criterion_group, criterion_main};
use telemetry::metrics::{Buckets, Metric, install, render};

const EVENTS: Metric = Metric::counter("marginstream_bench_events_total", &[], "Events");
const REQUESTS: Metric = Metric::counter(
    "marginstream_bench_requests_total",
    &["method", "route", "status"],
    "Requests",
);
const SECONDS: Metric = Metric::histogram(
    "marginstream_bench_seconds",
    Buckets::Seconds,
    &["method", "route"],
    "Seconds",
);
/// As many routes as the API has.
const ROUTES: [&str; 12] = [
    "/api/a", "/api/b", "/api/c", "/api/d", "/api/e", "/api/f", "/api/g", "/api/h", "/api/i", "/api/j",
    "/api/k", "/api/l",
];

fn metrics(criterion: &mut Criterion) {
    install(&[&[EVENTS, REQUESTS, SECONDS]]).unwrap();
    for route in ROUTES {
        for status in ["200", "400", "401", "429", "503"] {
            REQUESTS.counter_of(&["GET", route, status]).increment(1);
        }
        SECONDS.histogram_of(&["GET", route]).record(0.1);
    }
    let mut group = criterion.benchmark_group("metrics");
    let events = EVENTS.counter_of(&[]);
    group.bench_function("kept_counter", |bencher| bencher.iter(|| events.increment(1)));
    group.bench_function("request", |bencher| {
        bencher.iter(|| {
            REQUESTS.counter_of(&["GET", "/api/d", "200"]).increment(1);
            SECONDS.histogram_of(&["GET", "/api/d"]).record(0.004);
        });
    });
    group.bench_function("render", |bencher| bencher.iter(render));
    group.finish();
}

criterion_group!(benches, metrics);
criterion_main!(benches);
