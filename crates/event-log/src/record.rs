//! The words of the log: records, places and positions.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::LogError;

/// A record to append. The sender chooses the partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppendRecord {
    /// The partition, from 0.
    pub partition: u32,
    /// The key; may be empty.
    pub key: Bytes,
    /// Names and values, in order, names may repeat; meant to be few and short.
    pub headers: Vec<(String, Bytes)>,
    /// The payload.
    pub value: Bytes,
}

/// A record as the log holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogRecord {
    /// The place in its partition, from 0.
    pub offset: u64,
    /// Arrival time by the log's clock, UTC milliseconds since the epoch; never the event's own time.
    pub timestamp_ms: i64,
    /// The key; may be empty.
    pub key: Bytes,
    /// Names and values, in the sender's order.
    pub headers: Vec<(String, Bytes)>,
    /// The payload.
    pub value: Bytes,
}

/// One partition of one topic; shown as `topic:partition`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition, from 0.
    pub partition: u32,
}

impl TopicPartition {
    /// Names partition `partition` of `topic`.
    pub fn new(topic: impl Into<Arc<str>>, partition: u32) -> Self {
        Self {
            topic: topic.into(),
            partition,
        }
    }
}

impl fmt::Display for TopicPartition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.topic, self.partition)
    }
}

/// How far a group came in one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The next offset to process; all below it are done.
    pub offset: u64,
    /// What the group stored with it, at most 1024 bytes.
    pub metadata: String,
}

/// The bounds of one partition and a group's place in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The earliest offset that is kept.
    pub earliest: u64,
    /// The next offset to be written; every one below it is readable.
    pub end: u64,
    /// The group's last commit.
    pub committed: Option<Committed>,
}

impl Position {
    /// Returns how many offsets the group has still to process; all that are kept if it never committed.
    #[must_use]
    pub fn lag(&self) -> u64 {
        let next = self
            .committed
            .as_ref()
            .map_or(self.earliest, |committed| committed.offset);
        self.end.saturating_sub(next)
    }
}

/// A topic and how long its records are kept.
///
/// A record goes when either limit is passed, in whole segments. Where the topic waits for its groups, it
/// goes only once every group that ever joined the topic has committed past it, and without any group all
/// records stay; a remote log has no such rule, so its limits must outlast the longest standstill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicSpec {
    /// The name: 1 to 200 of `a-z A-Z 0-9 . _ -`, not starting with a dot.
    pub name: String,
    /// How many partitions, at least 1; may grow later, never shrink.
    pub partitions: u32,
    /// Bytes to keep in each partition (soft, as Kafka's `retention.bytes`); no limit if absent.
    pub retention_bytes: Option<u64>,
    /// Age by arrival time after which records may go; no limit if absent.
    pub retention: Option<Duration>,
    /// Whether a record stays until all groups have processed it, whatever the limits.
    pub waits_for_groups: bool,
}

/// Checks the name of a topic or group, which may become a file name: 1 to 200 of `a-z A-Z 0-9 . _ -`, not starting with a dot.
///
/// # Errors
/// [`LogError::Config`].
pub(crate) fn validate_name(what: &str, name: &str) -> Result<(), LogError> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if (1..=200).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(is_allowed) {
        return Ok(());
    }
    Err(LogError::Config(format!(
        "{what} name {name:?} is not 1 to 200 of a-z A-Z 0-9 . _ - with no leading dot"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_counts_from_the_commit_or_the_earliest_record() {
        let mut position = Position {
            earliest: 5,
            end: 20,
            committed: None,
        };
        assert_eq!(position.lag(), 15);
        position.committed = Some(Committed {
            offset: 18,
            metadata: String::new(),
        });
        assert_eq!(position.lag(), 2);
    }

    #[test]
    fn topic_partition_shows_as_topic_colon_partition() {
        assert_eq!(TopicPartition::new("cost-events", 3).to_string(), "cost-events:3");
    }

    #[test]
    fn names_cannot_leave_their_directory() {
        for name in ["", ".", "..", "a/b", "a\0", ".hidden", "é"] {
            assert!(validate_name("group", name).is_err(), "{name:?}");
        }
        assert!(validate_name("group", "processor-1.x_Y").is_ok());
    }
}
