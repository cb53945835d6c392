//! The event log: partitioned, ordered, durable records, and one committed offset per group and partition.
//!
//! One trait, [`EventLog`], stands for every backend. [`LocalLog`] keeps the log in files of this process.
//! All backends pass the same contract suite (`tests/it/contract.rs`).
//!
//! Offsets count records of one partition from 0. They rise by one per record; only a repaired log has
//! gaps, so the next offset to read is always the last record's offset + 1, never a count.

mod error;
mod local;
mod record;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

pub use error::LogError;
pub use local::{LocalLog, LocalLogConfig, ParseSyncPolicyError, RepairReport, SyncPolicy, repair};
pub use record::{AppendRecord, Committed, LogRecord, Position, TopicPartition, TopicSpec};

/// A log of topics, each split into partitions, that keeps every acknowledged record.
#[async_trait]
pub trait EventLog: Send + Sync + Debug {
    /// Appends `records` and returns their offsets, in the same order, once all of them are durable.
    ///
    /// Records of one call and partition keep their order. A call is not atomic: after an error or
    /// a dropped future some of its records may still be in the log, so a retry may duplicate them.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`] and [`LogError::UnknownPartition`] for a place that does not exist,
    /// [`LogError::TooLarge`] for a record over the limit (nothing is appended in these cases);
    /// [`LogError::Full`] or [`LogError::Io`] when the write failed; [`LogError::SyncFailed`] when the
    /// log refuses appends until it is reopened; [`LogError::Closed`] after shutdown.
    async fn append(&self, topic: &str, records: Vec<AppendRecord>) -> Result<Vec<u64>, LogError>;

    /// Returns how many partitions `topic` has, at least 1.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`].
    fn num_partitions(&self, topic: &str) -> Result<u32, LogError>;

    /// Joins `group` as a reader of `topics`. The group is known from then on, and retention keeps what
    /// it has not committed.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`], [`LogError::Config`] for a group name that is not allowed, or I/O errors.
    async fn join(&self, group: &str, topics: &[&str]) -> Result<Box<dyn GroupMember>, LogError>;

    /// Returns where `group` stands in `topic_partition`; a group that never committed has no commit.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`] or [`LogError::UnknownPartition`].
    async fn position(&self, group: &str, topic_partition: &TopicPartition) -> Result<Position, LogError>;

    /// Writes and syncs what was accepted, then closes: all later calls, and reads that wait, answer
    /// [`LogError::Closed`]. A second call does nothing.
    ///
    /// # Errors
    /// [`LogError::SyncFailed`] if the last sync failed.
    async fn shutdown(&self) -> Result<(), LogError>;
}

/// One reader of a group: the partitions it owns, what they hold, and how far it came.
#[async_trait]
pub trait GroupMember: Send + Sync + Debug {
    /// Returns the partitions this member owns, now and as they change, each with the epoch of its
    /// ownership: a partition that was lost and came back has another epoch, since others may have
    /// moved it on meanwhile.
    fn assignment(&self) -> watch::Receiver<BTreeMap<TopicPartition, u64>>;

    /// Returns records in offset order, starting with the first one at or after `from`.
    ///
    /// Waits up to `wait` for that record, then returns what is there at once: about `max_bytes` at
    /// most, but at least one record whatever its size; nothing if none came in time.
    /// The records of one call share one buffer, which lives as long as any of them.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] when `from` is below the earliest kept offset or above the end;
    /// [`LogError::Damaged`] when stored bytes fail their checksum; I/O errors; [`LogError::Closed`].
    async fn read(
        &self,
        topic_partition: &TopicPartition,
        from: u64,
        max_bytes: usize,
        wait: Duration,
    ) -> Result<Vec<LogRecord>, LogError>;

    /// Commits `offset`, the next one to process, with `metadata` (at most 1024 bytes), for the group.
    /// Durable when it returns, and so is every record that could be read before the call. `epoch` is
    /// the one of the assignment under which the caller works.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] above the log's end, [`LogError::TooLarge`] for the metadata,
    /// [`LogError::Fenced`] when the partition is no longer this member's under `epoch`, I/O errors,
    /// [`LogError::Closed`].
    async fn commit(
        &self,
        topic_partition: &TopicPartition,
        epoch: u64,
        offset: u64,
        metadata: &str,
    ) -> Result<(), LogError>;

    /// Returns the group's last commit, or nothing if it never committed here.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`] or [`LogError::UnknownPartition`] for a partition that was not joined.
    async fn committed(&self, topic_partition: &TopicPartition) -> Result<Option<Committed>, LogError>;
}
