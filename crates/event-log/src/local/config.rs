//! The local log's settings.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::record::validate_name;
use crate::{LogError, TopicSpec};

/// Settings of a [`LocalLog`](crate::LocalLog).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalLogConfig {
    /// The directory; made if absent, and locked by one process at a time.
    pub dir: PathBuf,
    /// The topics; a topic on disk that is not named here is left alone.
    pub topics: Vec<TopicSpec>,
    /// When written records count as durable.
    pub sync: SyncPolicy,
    /// Size at which a segment file is sealed and the next one begun, in bytes; soft, default 128 MiB.
    pub segment_bytes: u64,
    /// Largest record with its key, headers and 38 bytes of its own, in bytes; default 16 MiB, at most 1 GiB.
    pub max_record_bytes: usize,
}

impl LocalLogConfig {
    /// Returns the default settings for `topics` in `dir`.
    pub fn new(dir: impl Into<PathBuf>, topics: Vec<TopicSpec>) -> Self {
        Self {
            dir: dir.into(),
            topics,
            sync: SyncPolicy::EveryCommit,
            segment_bytes: 128 << 20,
            max_record_bytes: 16 << 20,
        }
    }

    /// Checks names, counts and limits.
    ///
    /// # Errors
    /// [`LogError::Config`] naming the setting.
    pub(super) fn validate(&self) -> Result<(), LogError> {
        let mut names = BTreeSet::new();
        for topic in &self.topics {
            validate_name("topic", &topic.name)?;
            // These names are taken in the log's directory.
            if ["groups", "LOCK"].contains(&topic.name.as_str()) || !names.insert(&topic.name) {
                return Err(LogError::Config(format!("topic name {:?} is taken", topic.name)));
            }
            if topic.partitions == 0 {
                return Err(LogError::Config(format!(
                    "topic {} needs at least one partition",
                    topic.name
                )));
            }
        }
        if self.max_record_bytes > 1 << 30 {
            return Err(LogError::Config("max_record_bytes is over 1 GiB".to_owned()));
        }
        Ok(())
    }
}

/// When appended records are acknowledged; written as `commit` or `interval:100ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncPolicy {
    /// After `fdatasync`, shared by all appends that wait for it: survives power loss.
    #[default]
    EveryCommit,
    /// After the write, with a sync at most this much later: survives the process's death, but power
    /// loss may take the last interval's records. A group's commit syncs first in any case.
    Interval(Duration),
}

/// A sync policy that is neither `commit` nor `interval:<n>ms` nor `interval:<n>s` with n above 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("sync policy {0:?} is neither `commit` nor like `interval:100ms`")]
pub struct ParseSyncPolicyError(String);

impl FromStr for SyncPolicy {
    type Err = ParseSyncPolicyError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "commit" {
            return Ok(Self::EveryCommit);
        }
        let interval = text.strip_prefix("interval:").and_then(|interval| {
            let (number, unit_ms) = match interval.strip_suffix("ms") {
                Some(number) => (number, 1),
                None => (interval.strip_suffix('s')?, 1000),
            };
            let interval_ms = number.parse::<u32>().ok().filter(|number| *number > 0)?;
            Some(Duration::from_millis(u64::from(interval_ms) * unit_ms))
        });
        interval
            .map(Self::Interval)
            .ok_or_else(|| ParseSyncPolicyError(text.to_owned()))
    }
}

impl fmt::Display for SyncPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EveryCommit => f.write_str("commit"),
            Self::Interval(interval) => write!(f, "interval:{}ms", interval.as_millis()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sync_policies_read_back_as_they_are_shown() {
        for text in ["commit", "interval:100ms", "interval:2000ms"] {
            assert_eq!(text.parse::<SyncPolicy>().unwrap().to_string(), text);
        }
        assert_eq!(
            "interval:2s".parse(),
            Ok(SyncPolicy::Interval(Duration::from_secs(2)))
        );
        for text in [
            "",
            "interval",
            "interval:",
            "interval:0ms",
            "interval:5",
            "interval:-1ms",
            "Commit",
        ] {
            assert!(text.parse::<SyncPolicy>().is_err(), "{text}");
        }
    }
}
