//! Measures the local log on this machine's disk: `cargo run --release --example measure -- <directory>`.

use std::error::Error;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use marginstream_event_log::{
    AppendRecord, EventLog, LocalLog, LocalLogConfig, SyncPolicy, TopicPartition, TopicSpec,
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

#[tokio::main]
async fn main() -> Outcome<()> {
    let dir = std::env::args().nth(1).ok_or("usage: measure <directory>")?;
    for sync in [
        SyncPolicy::EveryCommit,
        SyncPolicy::Interval(Duration::from_millis(100)),
    ] {
        let dir = std::path::Path::new(&dir).join(format!("measure-{}", std::process::id()));
        let spec = TopicSpec {
            name: "t".to_owned(),
            partitions: 2,
            retention_bytes: None,
            retention: None,
            waits_for_groups: true,
        };
        let config = LocalLogConfig {
            sync,
            ..LocalLogConfig::new(&dir, vec![spec])
        };
        let log: Arc<dyn EventLog> = Arc::new(LocalLog::open(config)?);
        println!("sync {sync}");
        lone_appends(&log).await?;
        concurrent_appends(&log, 64, 500, 1000).await?;
        concurrent_appends(&log, 8, 256 << 10, 500).await?;
        read_all(&log).await?;
        log.shutdown().await?;
        drop(log);
        std::fs::remove_dir_all(&dir)?;
    }
    Ok(())
}

fn record(partition: u32, value: &Bytes) -> AppendRecord {
    AppendRecord {
        partition,
        key: Bytes::from_static(b"org"),
        headers: vec![],
        value: value.clone(),
    }
}

async fn lone_appends(log: &Arc<dyn EventLog>) -> Outcome<()> {
    let value = Bytes::from(vec![7; 500]);
    let mut latencies = Vec::new();
    for _ in 0..2000 {
        let start = Instant::now();
        log.append("t", vec![record(0, &value)]).await?;
        latencies.push(start.elapsed());
    }
    latencies.sort();
    println!(
        "  lone append of 500 bytes: p50 {:?}, p99 {:?}",
        latencies[1000], latencies[1980]
    );
    Ok(())
}

async fn concurrent_appends(
    log: &Arc<dyn EventLog>,
    callers: usize,
    bytes: usize,
    calls: usize,
) -> Outcome<()> {
    let value = Bytes::from(vec![7; bytes]);
    let start = Instant::now();
    let tasks: Vec<_> = (0..callers)
        .map(|caller| {
            let (log, value) = (Arc::clone(log), value.clone());
            tokio::spawn(async move {
                for _ in 0..calls {
                    log.append("t", vec![record(caller as u32 % 2, &value)]).await?;
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
    println!("  {callers} callers of {bytes} bytes: {rate:.0} appends/s, {megabytes:.0} MB/s");
    Ok(())
}

async fn read_all(log: &Arc<dyn EventLog>) -> Outcome<()> {
    let member = log.join("g", &["t"]).await?;
    let (start, mut bytes) = (Instant::now(), 0);
    for partition in 0..2 {
        let place = TopicPartition::new("t", partition);
        let (mut next, end) = (0, log.position("g", &place).await?.end);
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
    let (start, place) = (Instant::now(), TopicPartition::new("t", 0));
    for _ in 0..200 {
        member.commit(&place, 1, 1, "batch").await?;
    }
    println!("  group commit: {:?}", start.elapsed() / 200);
    Ok(())
}
