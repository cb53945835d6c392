//! Measures a log: `cargo run --release --example measure -- <directory>` for the local log on that disk,
//! `... -- kafka://<host>:<port>` for Kafka.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use marginstream_event_log::{
    AppendRecord, Compression, EventLog, KafkaLog, KafkaLogConfig, LocalLog, LocalLogConfig, SyncPolicy,
    TopicPartition, TopicSpec,
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let place = std::env::args()
        .nth(1)
        .ok_or("usage: measure <directory> | kafka://<host>:<port>")?;
    if place.starts_with("kafka://") {
        return measure_kafka(&place).await;
    }
    for sync in [
        SyncPolicy::EveryCommit,
        SyncPolicy::Interval(Duration::from_millis(100)),
    ] {
        let dir = std::path::Path::new(&place).join(format!("measure-{}", std::process::id()));
        let config = LocalLogConfig {
            sync,
            ..LocalLogConfig::new(&dir, vec![topic("t".to_owned())])
        };
        println!("sync {sync}");
        measure(Arc::new(LocalLog::open(config)?), "t").await?;
        std::fs::remove_dir_all(&dir)?;
    }
    Ok(())
}

/// Measures each compression in a topic of its own, which stays in the cluster.
async fn measure_kafka(url: &str) -> Outcome<()> {
    for compression in [Compression::None, Compression::Lz4, Compression::Zstd] {
        let name = format!("measure-{}-{}", std::process::id(), compression.as_str());
        let config = KafkaLogConfig {
            compression,
            replication_factor: 1,
            min_insync_replicas: 1,
            ..KafkaLogConfig::from_url(url, vec![topic(name.clone())])?
        };
        println!("compression {}", compression.as_str());
        measure(Arc::new(KafkaLog::open(config).await?), &name).await?;
    }
    Ok(())
}

async fn measure(log: Arc<dyn EventLog>, topic: &str) -> Outcome<()> {
    lone_appends(&log, topic, 500, 2000).await?;
    lone_appends(&log, topic, 2 << 20, 50).await?;
    concurrent_appends(&log, topic, 64, 500, 1000).await?;
    concurrent_appends(&log, topic, 8, 256 << 10, 500).await?;
    concurrent_appends(&log, topic, 3, 2 << 20, 150).await?;
    read_all(&log, topic).await?;
    log.shutdown().await?;
    Ok(())
}

fn topic(name: String) -> TopicSpec {
    TopicSpec {
        name,
        partitions: 2,
        retention_bytes: None,
        retention: None,
        waits_for_groups: true,
    }
}

/// Returns lines like events: the same members in each, with numbers that differ.
fn value(num_bytes: usize) -> Bytes {
    let mut text = String::with_capacity(num_bytes + 200);
    let mut seed: u64 = 42;
    while text.len() < num_bytes {
        seed = seed
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let (id, tokens, cost) = (seed, seed >> 50, seed >> 44);
        text.push_str(&format!(
            "{{\"requestId\":\"{id:016x}\",\"provider\":\"openai\",\"model\":\"gpt-4o\",\"inputTokens\":{tokens},\
             \"costMicrodollars\":{cost},\"tags\":{{\"customer\":\"c-{}\"}}}}\n",
            seed % 5000
        ));
    }
    text.truncate(num_bytes);
    text.into()
}

/// Returns the processor time of this process in seconds, as Linux counts it.
fn cpu_secs() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    // User and system time, in ticks of 10 ms, are the 12th and 13th after the name.
    fields
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<f64>().ok())
        .sum::<f64>()
        / 100.0
}

fn record(partition: u32, value: &Bytes) -> AppendRecord {
    AppendRecord {
        partition,
        key: Bytes::from_static(b"org"),
        headers: vec![],
        value: value.clone(),
    }
}

async fn lone_appends(log: &Arc<dyn EventLog>, topic: &str, bytes: usize, calls: usize) -> Outcome<()> {
    let value = value(bytes);
    let mut latencies = Vec::new();
    for _ in 0..calls {
        let start = Instant::now();
        log.append(topic, vec![record(0, &value)]).await?;
        latencies.push(start.elapsed());
    }
    latencies.sort();
    println!(
        "  lone append of {bytes} bytes: p50 {:?}, p99 {:?}",
        latencies[calls / 2],
        latencies[calls * 99 / 100]
    );
    Ok(())
}

async fn concurrent_appends(
    log: &Arc<dyn EventLog>,
    topic: &str,
    callers: usize,
    bytes: usize,
    calls: usize,
) -> Outcome<()> {
    let value = value(bytes);
    let (start, start_cpu) = (Instant::now(), cpu_secs());
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let (log, topic, value) = (Arc::clone(log), topic.to_owned(), value.clone());
            tokio::spawn(async move {
                for _ in 0..calls {
                    log.append(&topic, vec![record(caller as u32 % 2, &value)])
                        .await?;
                }
                Outcome::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    let (appends, secs) = ((callers * calls) as f64, start.elapsed().as_secs_f64());
    let (rate, megabytes) = (appends / secs, appends * bytes as f64 / secs / 1e6);
    let cpu_micros = (cpu_secs() - start_cpu) * 1e6 / appends;
    println!(
        "  {callers} callers of {bytes} bytes: {rate:.0} appends/s, {megabytes:.0} MB/s, {cpu_micros:.0} us of CPU each"
    );
    Ok(())
}

async fn read_all(log: &Arc<dyn EventLog>, topic: &str) -> Outcome<()> {
    let member = log.join(topic, &[topic]).await?;
    let mut assignment = member.assignment();
    let owned = assignment.wait_for(|owned| owned.len() == 2).await?.clone();
    let (start, mut bytes) = (Instant::now(), 0);
    for partition in 0..2 {
        let place = TopicPartition::new(topic, partition);
        let (mut next, end) = (0, log.position(topic, &place).await?.end);
        while next < end {
            let records = member.read(&place, next, 1 << 20, Duration::from_secs(1)).await?;
            bytes += records.iter().map(|record| record.value.len()).sum::<usize>();
            next = records.last().ok_or("records are missing")?.offset + 1;
        }
    }
    println!(
        "  read: {:.0} MB/s",
        bytes as f64 / start.elapsed().as_secs_f64() / 1e6
    );
    let (start, place) = (Instant::now(), TopicPartition::new(topic, 0));
    for _ in 0..200 {
        member.commit(&place, owned[&place], 1, "batch").await?;
    }
    println!("  group commit: {:?}", start.elapsed() / 200);
    Ok(())
}
