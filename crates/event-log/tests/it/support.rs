//! What the tests share: records, topics and reading to the end.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use marginstream_event_log::{
    AppendRecord, GroupMember, LocalLogConfig, LogRecord, TopicPartition, TopicSpec,
};

/// Long enough for any machine; a test that waits this long has failed.
pub(crate) const LONG: Duration = Duration::from_secs(30);

pub(crate) fn topic(name: &str, partitions: u32) -> TopicSpec {
    TopicSpec {
        name: name.to_owned(),
        partitions,
        retention_bytes: None,
        retention: None,
        waits_for_groups: true,
    }
}

pub(crate) fn record(partition: u32, value: impl Into<Bytes>) -> AppendRecord {
    AppendRecord {
        partition,
        key: Bytes::new(),
        headers: vec![],
        value: value.into(),
    }
}

/// Settings of a log with the topic `t` of one partition and tiny segments.
pub(crate) fn small_segments(dir: &Path, segment_bytes: u64) -> LocalLogConfig {
    LocalLogConfig {
        segment_bytes,
        ..LocalLogConfig::new(dir, vec![topic("t", 1)])
    }
}

/// Waits until `member` owns `tp`, and returns the epoch.
pub(crate) async fn epoch(member: &dyn GroupMember, tp: &TopicPartition) -> u64 {
    let mut assignment = member.assignment();
    let owning = assignment.wait_for(|assigned| assigned.contains_key(tp));
    let owned = tokio::time::timeout(LONG, owning).await.unwrap().unwrap();
    owned[tp]
}

/// Waits until `member` owns `tp`, then reads everything from `from` up to `end`.
pub(crate) async fn read_until(
    member: &dyn GroupMember,
    tp: &TopicPartition,
    from: u64,
    end: u64,
) -> Vec<LogRecord> {
    epoch(member, tp).await;
    let mut records: Vec<LogRecord> = Vec::new();
    let mut next = from;
    while next < end {
        let read = member.read(tp, next, 64 << 10, LONG).await.unwrap();
        assert!(!read.is_empty(), "nothing to read at {next} of {tp}");
        next = read.last().unwrap().offset + 1;
        records.extend(read);
    }
    records
}
