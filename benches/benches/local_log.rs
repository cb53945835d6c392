//! Durable appends to the local log, one at a time: each waits for the disk. Writes some gigabytes
//! below the system's directory of temporary files and removes them.

#![expect(clippy::unwrap_used, reason = "a bench that cannot run stops")]

use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use event_log::{AppendRecord, EventLog, LocalLog, LocalLogConfig, TopicSpec};
use schemas::topic;

/// A chunk of a stream becomes records of about this size.
const CHUNK_BYTES: usize = 256 << 10;
/// A single event as JSON.
const EVENT_BYTES: usize = 500;

fn record(value: &Bytes) -> AppendRecord {
    AppendRecord {
        partition: 0,
        key: Bytes::new(),
        headers: vec![(
            topic::CONTENT_TYPE.to_owned(),
            Bytes::from_static(topic::ARROW_STREAM.as_bytes()),
        )],
        value: value.clone(),
    }
}

fn bench_local_log(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let dir = tempfile::tempdir().unwrap();
    let spec = TopicSpec {
        name: topic::COST_EVENTS.to_owned(),
        partitions: 1,
        retention_bytes: None,
        retention: None,
        waits_for_groups: true,
    };
    let log = LocalLog::open(LocalLogConfig::new(dir.path(), vec![spec])).unwrap();
    let mut group = criterion.benchmark_group("local_log");
    group.sample_size(20);
    group.warm_up_time(Duration::from_millis(500));
    group.measurement_time(Duration::from_secs(3));
    for (name, num_bytes) in [("append_256_kib", CHUNK_BYTES), ("append_one_event", EVENT_BYTES)] {
        let value = Bytes::from(vec![7_u8; num_bytes]);
        group.throughput(Throughput::Elements(1));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                runtime
                    .block_on(log.append(topic::COST_EVENTS, vec![record(&value)]))
                    .unwrap()
            });
        });
    }
    group.finish();
    runtime.block_on(log.shutdown()).unwrap();
}

criterion_group!(benches, bench_local_log);
criterion_main!(benches);
