//! A disk that fills up, and gets room again. Needs the right to mount a small tmpfs.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use marginstream_event_log::{EventLog, LocalLog, LocalLogConfig, LogError, TopicPartition, TopicSpec};

use crate::support::{read_until, record, topic};

/// A file system of one megabyte, unmounted when dropped.
struct TinyDisk(tempfile::TempDir);

impl TinyDisk {
    /// Mounts it; without the right to, fails in CI and elsewhere says that the test was skipped.
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=1m", "marginstream-test"])
            .arg(dir.path())
            .status()
            .is_ok_and(|status| status.success());
        if mounted {
            return Some(Self(dir));
        }
        assert!(
            std::env::var_os("CI").is_none(),
            "a tmpfs cannot be mounted, so a full disk is not tested"
        );
        // Not by a macro: the harness would keep the output of a test that passes to itself.
        let skipped = b"SKIPPED: a tmpfs cannot be mounted here, so a full disk is not tested\n";
        std::io::stderr().write_all(skipped).unwrap();
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        // A failure leaves an empty mount of this test's own behind, and must not hide the test's result.
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        assert!(std::thread::panicking() || unmounted.is_ok_and(|status| status.success()));
    }
}

fn config(dir: &Path, segment_bytes: u64) -> LocalLogConfig {
    let spec = TopicSpec {
        retention_bytes: Some(300_000),
        ..topic("t", 2)
    };
    LocalLogConfig {
        segment_bytes,
        ..LocalLogConfig::new(dir.join("log"), vec![spec])
    }
}

/// Appends records of 10 kB, several at a time, until the disk is full; returns how many were acknowledged.
async fn append_until_full(log: &LocalLog) -> u64 {
    for calls in 0.. {
        match log
            .append("t", (0..3).map(|_| record(0, vec![7; 10_000])).collect())
            .await
        {
            Ok(offsets) => assert_eq!(offsets[0], 3 * calls),
            Err(error) => {
                assert!(
                    matches!(error, LogError::Full { .. }) && error.is_retryable(),
                    "{error}"
                );
                return 3 * calls;
            }
        }
        assert!(calls < 1000, "the disk does not fill");
    }
    unreachable!("the loop has no end")
}

#[tokio::test]
async fn a_full_disk_refuses_appends_and_the_log_goes_on_when_space_returns() {
    let Some(disk) = TinyDisk::mount() else { return };
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![1; 400_000]).unwrap();
    let log = LocalLog::open(config(disk.path(), 1 << 30)).unwrap();
    let acknowledged = append_until_full(&log).await;
    assert!(acknowledged > 20);
    assert!(
        log.append("t", vec![record(0, vec![7; 10_000]); 3])
            .await
            .is_err(),
        "still full"
    );
    std::fs::remove_file(&ballast).unwrap();
    let appended = log.append("t", vec![record(0, "after")]).await.unwrap();
    assert_eq!(appended, vec![acknowledged], "nothing of the failed writes stays");
    drop(log);

    let log = LocalLog::open(config(disk.path(), 1 << 30)).unwrap();
    let member = log.join("g", &["t"]).await.unwrap();
    let records = read_until(&*member, &TopicPartition::new("t", 0), 0, acknowledged + 1).await;
    assert!(
        records[..acknowledged as usize]
            .iter()
            .all(|record| record.value.len() == 10_000)
    );
    assert_eq!(records[acknowledged as usize].value, "after");
    drop((member, log));
}

#[tokio::test]
async fn on_a_full_disk_groups_still_commit_and_so_make_room() {
    let Some(disk) = TinyDisk::mount() else { return };
    let log = Arc::new(LocalLog::open(config(disk.path(), 100_000)).unwrap());
    let member = log.join("g", &["t"]).await.unwrap();
    let acknowledged = append_until_full(&log).await;
    let tp = TopicPartition::new("t", 0);
    member.commit(&tp, 1, acknowledged, "all of it").await.unwrap();
    // The first attempt finds the disk full still, and makes room by retention.
    let mut appended = None;
    for _ in 0..2 {
        appended = log
            .append("t", vec![record(0, vec![7; 10_000]); 3])
            .await
            .ok()
            .or(appended);
    }
    assert_eq!(appended.unwrap()[0] % 3, 0);
    assert!(log.position("g", &tp).await.unwrap().earliest > 0);
    drop((member, log));
}
