//! Kills a process that writes, with SIGKILL at random moments, and looks for what it was promised.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use marginstream_event_log::{EventLog, LocalLog, LocalLogConfig, SyncPolicy, TopicPartition};

use crate::support::{LONG, read_until, record, topic};

const CRASH_DIR: &str = "MARGINSTREAM_TEST_CRASH_DIR";
const CRASH_SYNC: &str = "MARGINSTREAM_TEST_CRASH_SYNC";
const ROUNDS: u64 = 12;
const PARTITIONS: u32 = 2;

fn config(dir: &Path, sync: SyncPolicy) -> LocalLogConfig {
    LocalLogConfig {
        sync,
        segment_bytes: 50_000,
        ..LocalLogConfig::new(dir, vec![topic("t", PARTITIONS)])
    }
}

#[tokio::test]
async fn a_killed_process_has_lost_nothing_it_acknowledged() {
    kill_and_compare(SyncPolicy::EveryCommit).await;
}

#[tokio::test]
async fn a_killed_process_has_lost_nothing_it_acknowledged_in_interval_mode() {
    kill_and_compare(SyncPolicy::Interval(Duration::from_millis(20))).await;
}

async fn kill_and_compare(sync: SyncPolicy) {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = BTreeMap::new();
    let mut committed = BTreeMap::new();
    for round in 0..ROUNDS {
        // A fixed spread of kill moments, from while the log opens to well into writing.
        write_and_kill(
            dir.path(),
            sync,
            60 * round * round,
            &mut acknowledged,
            &mut committed,
        );
        let log = LocalLog::open(config(dir.path(), sync)).unwrap();
        let member = log.join("g", &["t"]).await.unwrap();
        for partition in 0..PARTITIONS {
            let tp = TopicPartition::new("t", partition);
            let position = log.position("g", &tp).await.unwrap();
            let stored = read_until(&*member, &tp, 0, position.end).await;
            let values: BTreeMap<u64, String> = stored
                .iter()
                .map(|record| (record.offset, String::from_utf8(record.value.to_vec()).unwrap()))
                .collect();
            assert_eq!(values.len() as u64, position.end, "offsets are dense");
            for ((_, offset), value) in acknowledged.range((partition, 0)..=(partition, u64::MAX)) {
                assert_eq!(
                    values.get(offset),
                    Some(value),
                    "{tp} offset {offset}, round {round}"
                );
            }
            let offset = position.committed.map_or(0, |committed| committed.offset);
            assert!(
                offset >= committed.get(&partition).copied().unwrap_or(0),
                "commit lost in round {round}"
            );
        }
    }
    assert!(
        acknowledged.len() > 100,
        "only {} records were acknowledged",
        acknowledged.len()
    );
}

/// Runs the writing child until it has reported `num_lines`, kills it, and notes all it has reported.
fn write_and_kill(
    dir: &Path,
    sync: SyncPolicy,
    num_lines: u64,
    acknowledged: &mut BTreeMap<(u32, u64), String>,
    committed: &mut BTreeMap<u32, u64>,
) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "crash::writes_until_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(CRASH_DIR, dir)
        .env(CRASH_SYNC, sync.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut reported: Vec<String> = lines
        .by_ref()
        .take(num_lines as usize)
        .map(Result::unwrap)
        .collect();
    child.kill().unwrap();
    reported.extend(lines.map_while(Result::ok));
    child.wait().unwrap();
    for line in reported {
        match line.split(' ').collect::<Vec<_>>()[..] {
            ["acknowledged", partition, offset, value, "."] => {
                let place = (partition.parse().unwrap(), offset.parse().unwrap());
                assert_eq!(
                    acknowledged.insert(place, value.to_owned()),
                    None,
                    "offset given twice: {line}"
                );
            }
            ["committed", partition, offset, "."] => {
                committed.insert(partition.parse().unwrap(), offset.parse().unwrap());
            }
            _ => {}
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child process of a_killed_process_has_lost_nothing_it_acknowledged"]
async fn writes_until_killed() {
    let Some(dir) = std::env::var_os(CRASH_DIR) else {
        return;
    };
    let sync = std::env::var(CRASH_SYNC).unwrap().parse().unwrap();
    let log = Arc::new(LocalLog::open(config(Path::new(&dir), sync)).unwrap());
    for writer in 0..8 {
        tokio::spawn(write(Arc::clone(&log), writer));
    }
    let member = log.join("g", &["t"]).await.unwrap();
    loop {
        for partition in 0..PARTITIONS {
            let tp = TopicPartition::new("t", partition);
            let from = member
                .committed(&tp)
                .await
                .unwrap()
                .map_or(0, |committed| committed.offset);
            let read = member.read(&tp, from, 10_000, LONG).await.unwrap();
            let next = read.last().unwrap().offset + 1;
            member.commit(&tp, 1, next, "").await.unwrap();
            report(&format!("committed {partition} {next} ."));
        }
    }
}

async fn write(log: Arc<LocalLog>, writer: u32) {
    let process = std::process::id();
    for number in 0_u64.. {
        let partition = (number % u64::from(PARTITIONS)) as u32;
        let value = format!(
            "{process}/{writer}/{number}/{}",
            "x".repeat(number as usize * 37 % 3000)
        );
        let offset = log
            .append("t", vec![record(partition, value.clone())])
            .await
            .unwrap()[0];
        report(&format!("acknowledged {partition} {offset} {value} ."));
    }
}

/// Writes a line that a kill can cut, but not mix with another; the full stop tells that it is whole.
fn report(line: &str) {
    let mut stdout = std::io::stdout().lock();
    // The parent reads no more once it has killed this process.
    stdout
        .write_all(format!("{line}\n").as_bytes())
        .and_then(|()| stdout.flush())
        .unwrap();
}
