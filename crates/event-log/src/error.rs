//! What can go wrong with a log.

use std::error::Error;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::TopicPartition;

/// A failed log operation. Clones share their source: one failed group commit answers many callers.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum LogError {
    /// The file system refused an operation.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was attempted, as a verb.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Arc<io::Error>,
    },
    /// The disk or the quota is full. Nothing of the failed write stays; works again when space returns.
    #[error("no space left to {what} {}", path.display())]
    Full {
        /// What was attempted, as a verb.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Arc<io::Error>,
    },
    /// A sync or a roll-back failed, so what the disk holds is unknown: appends are refused until the
    /// log is opened again.
    #[error("cannot sync {}; the log refuses appends until it is reopened", path.display())]
    SyncFailed {
        /// The file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: Arc<io::Error>,
    },
    /// Another process writes to this directory.
    #[error("log directory {} is in use by process {pid}", dir.display())]
    Locked {
        /// The log's directory.
        dir: PathBuf,
        /// The other process's id, or `unknown`.
        pid: String,
    },
    /// Stored bytes that may have been acknowledged cannot be read.
    #[error(
        "damaged log file {}: {detail} at byte {position}; {unreadable_bytes} bytes from there are in doubt; \
         run `marginstream log repair --data {}` to set them aside and keep all that is intact",
        path.display(), dir.display()
    )]
    Damaged {
        /// The log's directory, for the repair.
        dir: PathBuf,
        /// The damaged file.
        path: PathBuf,
        /// Where the damage starts, in bytes from the file's start.
        position: u64,
        /// Bytes from `position` to the end of what the file holds.
        unreadable_bytes: u64,
        /// What is wrong.
        detail: String,
    },
    /// An offset outside what the partition holds.
    #[error("offset {offset} of {topic_partition} is outside {earliest}..={end}")]
    OutOfRange {
        /// The partition.
        topic_partition: TopicPartition,
        /// The offset asked for.
        offset: u64,
        /// The earliest offset kept.
        earliest: u64,
        /// The next offset to be written.
        end: u64,
    },
    /// No such topic.
    #[error("unknown topic {0}")]
    UnknownTopic(String),
    /// The topic has no such partition, or the member did not join it.
    #[error("unknown partition {0}")]
    UnknownPartition(TopicPartition),
    /// A record or commit metadata over its limit.
    #[error("{what} of {bytes} bytes is over the limit of {max_bytes}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// Its size in bytes.
        bytes: usize,
        /// The limit in bytes, inclusive.
        max_bytes: usize,
    },
    /// Another member owns the partition now: the batch in hand must be abandoned.
    #[error("group {group} no longer owns {topic_partition} here")]
    Fenced {
        /// The group.
        group: String,
        /// The partition.
        topic_partition: TopicPartition,
    },
    /// The log was shut down.
    #[error("log is closed")]
    Closed,
    /// A setting or name that cannot be used.
    #[error("invalid log configuration: {0}")]
    Config(String),
    /// A remote backend refused or could not be reached.
    #[error("log backend failed to {what}")]
    Backend {
        /// What was attempted, as a verb.
        what: &'static str,
        /// Whether the same call may succeed later.
        retryable: bool,
        /// The cause.
        #[source]
        source: Arc<dyn Error + Send + Sync>,
    },
}

impl LogError {
    /// Returns whether the same call may succeed later without anybody's help to this process.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Io { .. } | Self::Full { .. } => true,
            Self::Backend { retryable, .. } => *retryable,
            Self::SyncFailed { .. }
            | Self::Locked { .. }
            | Self::Damaged { .. }
            | Self::OutOfRange { .. }
            | Self::UnknownTopic(_)
            | Self::UnknownPartition(_)
            | Self::TooLarge { .. }
            | Self::Fenced { .. }
            | Self::Closed
            | Self::Config(_) => false,
        }
    }

    /// Wraps an I/O error of `what` on `path`, telling a full disk from the rest.
    pub(crate) fn io<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| {
            let path = path.to_path_buf();
            match source.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full {
                    what,
                    path,
                    source: Arc::new(source),
                },
                _ => Self::Io {
                    what,
                    path,
                    source: Arc::new(source),
                },
            }
        }
    }
}
