//! What only the local log promises: one process, its files, retention.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use marginstream_event_log::{
    EventLog, LocalLog, LocalLogConfig, LogError, SyncPolicy, TopicPartition, TopicSpec,
};

use crate::support::{LONG, read_until, record, small_segments, topic};

/// Set for the child that tries to open a directory that is in use.
const LOCKED_DIR: &str = "MARGINSTREAM_TEST_LOCKED_DIR";

#[test]
fn a_second_open_names_the_process_that_has_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let first = LocalLog::open(small_segments(dir.path(), 1000)).unwrap();
    let error = LocalLog::open(small_segments(dir.path(), 1000)).unwrap_err();
    let own_pid = std::process::id().to_string();
    assert!(
        matches!(&error, LogError::Locked { pid, .. } if *pid == own_pid),
        "{error}"
    );

    let child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "local::opens_in_another_process",
            "--ignored",
            "--nocapture",
        ])
        .env(LOCKED_DIR, dir.path())
        .output()
        .unwrap();
    let output = String::from_utf8_lossy(&child.stdout);
    assert!(
        output.contains(&format!("in use by process {own_pid}")),
        "{output}"
    );
    drop(first);
    LocalLog::open(small_segments(dir.path(), 1000)).unwrap();
}

#[test]
#[ignore = "the child process of a_second_open_names_the_process_that_has_the_log"]
fn opens_in_another_process() {
    let Some(dir) = std::env::var_os(LOCKED_DIR) else {
        return;
    };
    println!(
        "{}",
        LocalLog::open(small_segments(Path::new(&dir), 1000)).unwrap_err()
    );
}

#[tokio::test]
async fn files_are_for_their_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("log");
    let log = LocalLog::open(small_segments(&root, 1000)).unwrap();
    log.join("g", &["t"]).await.unwrap();
    let mode = |path: &str| root.join(path).metadata().unwrap().permissions().mode() & 0o777;
    for path in ["", "t", "t/0", "groups", "groups/g"] {
        assert_eq!(mode(path), 0o700, "{path}");
    }
    for path in ["LOCK", "t/0/00000000000000000000.log", "groups/g/t-0.commit"] {
        assert_eq!(mode(path), 0o600, "{path}");
    }
}

#[tokio::test]
async fn a_log_dropped_without_shutdown_keeps_what_was_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3 {
        let log = LocalLog::open(LocalLogConfig {
            sync: SyncPolicy::Interval(Duration::from_secs(3600)),
            ..small_segments(dir.path(), 1000)
        })
        .unwrap();
        assert_eq!(log.append("t", vec![record(0, "x")]).await.unwrap(), vec![round]);
    }
}

#[test]
fn settings_that_cannot_be_used_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let open = |topics: Vec<TopicSpec>| LocalLog::open(LocalLogConfig::new(dir.path(), topics));
    for topics in [
        vec![topic("t", 0)],
        vec![topic("groups", 1)],
        vec![topic("../t", 1)],
        vec![topic("t", 1), topic("t", 2)],
    ] {
        assert!(
            matches!(open(topics.clone()), Err(LogError::Config(_))),
            "{topics:?}"
        );
    }
    open(vec![topic("t", 2)]).unwrap();
    open(vec![topic("t", 3)]).unwrap();
    let error = open(vec![topic("t", 2)]).unwrap_err();
    assert!(
        matches!(error, LogError::Config(_)),
        "partitions would be lost: {error}"
    );
}

fn with_retention(dir: &Path, retention_bytes: Option<u64>, retention: Option<Duration>) -> LocalLogConfig {
    let spec = TopicSpec {
        retention_bytes,
        retention,
        ..topic("t", 1)
    };
    LocalLogConfig {
        topics: vec![spec],
        ..small_segments(dir, 1000)
    }
}

fn num_segments(dir: &Path) -> usize {
    dir.join("t/0").read_dir().unwrap().count()
}

/// Appends 20 records of which two fill a segment.
async fn append_20(log: &LocalLog) {
    for _ in 0..20 {
        log.append("t", vec![record(0, vec![7; 400])]).await.unwrap();
    }
}

#[tokio::test]
async fn a_topic_that_waits_for_no_group_keeps_to_its_limits() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = with_retention(dir.path(), Some(3000), None);
    config.topics[0].waits_for_groups = false;
    let log = LocalLog::open(config).unwrap();
    append_20(&log).await;
    let position = log
        .position("nobody", &TopicPartition::new("t", 0))
        .await
        .unwrap();
    assert_eq!(position.end, 20);
    assert!(position.earliest >= 10, "{position:?}");
}

#[tokio::test]
async fn retention_waits_for_the_slowest_group() {
    let dir = tempfile::tempdir().unwrap();
    let tp = TopicPartition::new("t", 0);
    let log = LocalLog::open(with_retention(dir.path(), Some(3000), None)).unwrap();
    let (fast, slow) = (
        log.join("fast", &["t"]).await.unwrap(),
        log.join("slow", &["t"]).await.unwrap(),
    );
    append_20(&log).await;
    fast.commit(&tp, 1, 20, "").await.unwrap();
    append_20(&log).await;
    assert_eq!(
        num_segments(dir.path()),
        20,
        "the slow group has committed nothing"
    );
    slow.commit(&tp, 1, 11, "").await.unwrap();
    append_20(&log).await;
    let earliest = log.position("slow", &tp).await.unwrap().earliest;
    assert_eq!(
        earliest, 10,
        "segments wholly below the slow group's commit are gone, no other"
    );
    let error = slow.read(&tp, 9, 1000, LONG).await.unwrap_err();
    assert!(
        matches!(
            error,
            LogError::OutOfRange {
                offset: 9,
                earliest: 10,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(read_until(&*slow, &tp, 10, 60).await.len(), 50);
}

#[tokio::test]
async fn retention_by_bytes_bounds_the_log_and_holds_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let tp = TopicPartition::new("t", 0);
    let log = LocalLog::open(with_retention(dir.path(), Some(3000), None)).unwrap();
    let member = log.join("g", &["t"]).await.unwrap();
    append_20(&log).await;
    member.commit(&tp, 1, 20, "").await.unwrap();
    drop((member, log));
    let log = LocalLog::open(with_retention(dir.path(), Some(3000), None)).unwrap();
    assert_eq!(num_segments(dir.path()), 3);
    assert_eq!(log.position("g", &tp).await.unwrap().earliest, 14);
    assert_eq!(log.append("t", vec![record(0, "next")]).await.unwrap(), vec![20]);
}

#[tokio::test]
async fn retention_by_age_takes_sealed_segments_and_without_a_group_none() {
    let dir = tempfile::tempdir().unwrap();
    let tp = TopicPartition::new("t", 0);
    let log = LocalLog::open(with_retention(dir.path(), None, Some(Duration::ZERO))).unwrap();
    append_20(&log).await;
    assert_eq!(num_segments(dir.path()), 10, "no group has ever joined");
    log.join("g", &["t"])
        .await
        .unwrap()
        .commit(&tp, 1, 20, "")
        .await
        .unwrap();
    drop(log);
    let log = LocalLog::open(with_retention(dir.path(), None, Some(Duration::ZERO))).unwrap();
    assert_eq!(log.position("g", &tp).await.unwrap().earliest, 18);
    drop(log);
    LocalLog::open(with_retention(dir.path(), None, Some(Duration::from_secs(3600)))).unwrap();
}
