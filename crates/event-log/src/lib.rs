//! The event log: partitioned, ordered, durable records, and one committed offset per group and partition.
//!
//! One trait, [`EventLog`], stands for every backend. [`LocalLog`] keeps the log in files of this process,
//! [`KafkaLog`] in an Apache Kafka cluster that many processes share.
//! All backends pass the same contract suite (`tests/it/contract.rs`).
//!
//! Offsets count records of one partition from 0. They rise by one per record; gaps come from a repair of
//! the local log, and from transactions of others in Kafka, so the next offset to read is always the last record's offset + 1, never a count.

mod error;
mod kafka;
mod local;
mod record;

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;

pub use error::LogError;
pub use kafka::{
    ClientCertificate, Compression, KafkaLog, KafkaLogConfig, ParseCompressionError, ParseSaslMechanismError,
    Sasl, SaslMechanism, Secret, Security, Tls,
};
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
    /// log refuses appends until it is reopened; [`LogError::Backend`] when a remote log did not acknowledge
    /// in time or refused; [`LogError::Closed`] after shutdown.
    async fn append(&self, topic: &str, records: Vec<AppendRecord>) -> Result<Vec<u64>, LogError>;

    /// Returns how many partitions `topic` has, at least 1. The number may grow while the log is open.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`].
    fn num_partitions(&self, topic: &str) -> Result<u32, LogError>;

    /// Joins `group` as a reader of `topics`. The group's members share the partitions: which ones this
    /// member gets shows in [`GroupMember::assignment`], at once or later.
    ///
    /// In the local log the group is known from then on, and retention keeps what it has not committed.
    /// Kafka's retention does not wait for groups.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`], [`LogError::Config`] for a group name that is not allowed, I/O errors,
    /// [`LogError::Closed`].
    async fn join(&self, group: &str, topics: &[&str]) -> Result<Box<dyn GroupMember>, LogError>;

    /// Returns how many members `group` has now, over all processes. One that died counts until the log
    /// has noticed.
    ///
    /// # Errors
    /// [`LogError::Config`] for a group name that is not allowed, [`LogError::Backend`],
    /// [`LogError::Closed`].
    async fn num_members(&self, group: &str) -> Result<usize, LogError>;

    /// Returns where `group` stands in `topic_partition`; a group that never committed has no commit.
    ///
    /// # Errors
    /// [`LogError::UnknownTopic`], [`LogError::UnknownPartition`], or [`LogError::Backend`].
    async fn position(&self, group: &str, topic_partition: &TopicPartition) -> Result<Position, LogError>;

    /// Closes: all later calls, and reads that wait, answer [`LogError::Closed`]. Returns when what was
    /// accepted is durable or has failed, and members have left their groups. A second call does nothing.
    ///
    /// # Errors
    /// [`LogError::SyncFailed`] if the last sync failed, [`LogError::Backend`] if records were not
    /// acknowledged in time; whoever appended them has an error too.
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
    /// The records of one call may share one buffer, which lives as long as any of them.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`] when `from` is below the earliest kept offset or above the end;
    /// [`LogError::Fenced`] when the partition is not this member's, at once when it ceases to be;
    /// [`LogError::Damaged`] when stored bytes fail their checksum; I/O errors; [`LogError::Closed`].
    async fn read(
        &self,
        topic_partition: &TopicPartition,
        from: u64,
        max_bytes: usize,
        wait: Duration,
    ) -> Result<Vec<LogRecord>, LogError>;

    /// Returns whether an empty read proves that no record lies between its `from` and the end of the log
    /// as it was known before. A remote log delivers when it can, so there only a later record proves it.
    fn empty_reads_prove_gaps(&self) -> bool;

    /// Commits `offset`, the next one to process, with `metadata` (at most 1024 bytes), for the group.
    /// Durable when it returns, and so is every record that could be read before the call. `epoch` is
    /// the one of the assignment under which the caller works. After an error the commit may still have
    /// been made.
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
