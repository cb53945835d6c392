//! The log in files of this process, for one writer process at a time.
//!
//! ```text
//! <dir>/LOCK                                          held while open; names the process
//! <dir>/<topic>/<partition>/<base offset>.log         segments: records, then a seal in all but the last
//! <dir>/groups/<group>/<topic>-<partition>.commit     a group's commits
//! ```
//!
//! Appends of all callers meet in one queue. One thread writes what is there, partition by partition,
//! syncs each file once, shows the records to readers and then answers. While it waits for the disk the
//! next group gathers, so the cost of a sync is shared by all who wait for it.

mod active;
mod commit_file;
mod commits;
mod config;
mod files;
mod frame;
mod member;
mod partition;
mod partition_writer;
mod queue;
mod reader;
mod repair;
mod retention;
mod salvage;
mod scan;
mod segment;
mod writer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tracing::info;

use crate::{AppendRecord, EventLog, GroupMember, LogError, Position, TopicPartition, TopicSpec};
use commits::CommitStore;
use files::DirLock;
use member::{LocalMember, Members};
use partition::{PartitionLog, damaged};
use partition_writer::PartitionWriter;
use queue::AppendQueue;
use retention::Retention;
use writer::Writer;

pub use config::{LocalLogConfig, ParseSyncPolicyError, SyncPolicy};
pub use repair::{RepairReport, repair};

/// Bytes of one append above which its checksums are computed off the async workers (about 0.2 ms).
const MAX_INLINE_ENCODE_BYTES: usize = 1 << 20;

/// An event log in a local directory. Dropping it, and all its members, writes out what was queued and
/// frees the directory.
#[derive(Debug)]
pub struct LocalLog {
    core: Arc<Core>,
}

/// What the log and its members share.
#[derive(Debug)]
struct Core {
    topics: BTreeMap<String, Topic>,
    commits: Arc<CommitStore>,
    members: Members,
    /// Before the lock: dropping it ends the writer.
    queue: AppendQueue,
    max_record_bytes: usize,
    closed: watch::Sender<bool>,
    _lock: DirLock,
}

#[derive(Debug)]
struct Topic {
    /// The writer's index of partition 0; the others follow.
    first_index: usize,
    partitions: Vec<Arc<PartitionLog>>,
}

impl LocalLog {
    /// Opens the log in `config.dir`, made if absent. Blocks while it reads the last segment of each partition.
    ///
    /// # Errors
    /// [`LogError::Locked`] if another process has it; [`LogError::Damaged`] if acknowledged records may
    /// be lost, see [`repair`]; [`LogError::Config`] for settings that cannot be used; I/O errors.
    pub fn open(config: LocalLogConfig) -> Result<Self, LogError> {
        config.validate()?;
        let lock = DirLock::acquire(&config.dir)?;
        let commits = Arc::new(CommitStore::load(&config.dir)?);
        let mut topics = BTreeMap::new();
        let mut writers = Vec::new();
        for spec in &config.topics {
            let first_index = writers.len();
            writers.extend(open_topic(&config.dir, spec, &commits)?);
            let partitions = writers[first_index..]
                .iter()
                .map(|writer| Arc::clone(&writer.log))
                .collect();
            topics.insert(
                spec.name.clone(),
                Topic {
                    first_index,
                    partitions,
                },
            );
        }
        let writer = Writer::new(writers, Arc::clone(&commits), config.sync, config.segment_bytes);
        let queue = AppendQueue::start(writer)?;
        info!(dir = %config.dir.display(), sync = %config.sync, num_topics = topics.len(), "local log open");
        let max_record_bytes = config.max_record_bytes;
        let closed = watch::Sender::new(false);
        Ok(Self {
            core: Arc::new(Core {
                members: Members::default(),
                topics,
                commits,
                queue,
                max_record_bytes,
                closed,
                _lock: lock,
            }),
        })
    }
}

/// Opens all partitions of a topic, checks that no group is ahead of them, and removes what retention lets go.
fn open_topic(dir: &Path, spec: &TopicSpec, commits: &CommitStore) -> Result<Vec<PartitionWriter>, LogError> {
    let on_disk = files::list_dir(&dir.join(&spec.name))?;
    let num_on_disk = on_disk
        .iter()
        .filter_map(|name| name.parse::<u32>().ok())
        .max()
        .map_or(0, |last| last + 1);
    if num_on_disk > spec.partitions {
        let (name, partitions) = (&spec.name, spec.partitions);
        return Err(LogError::Config(format!(
            "topic {name} has {num_on_disk} partitions, not {partitions}"
        )));
    }
    let retention = Retention {
        max_bytes: spec.retention_bytes,
        max_age: spec.retention,
        waits_for_groups: spec.waits_for_groups,
    };
    let topic: Arc<str> = Arc::from(spec.name.as_str());
    let mut writers = Vec::new();
    for partition in 0..spec.partitions {
        let (log, active) = PartitionLog::open(dir, TopicPartition::new(Arc::clone(&topic), partition))?;
        check_commits(&log, commits)?;
        retention::apply(&log, retention, commits.processed(&log.id), writer::now_ms());
        writers.push(PartitionWriter::new(log, active, retention));
    }
    Ok(writers)
}

/// Checks that no group has committed past the log's end: the log would have lost what was processed.
fn check_commits(log: &PartitionLog, commits: &CommitStore) -> Result<(), LogError> {
    let end = log.end();
    let files = commits.of_partition(&log.id);
    let Some(committed) = files
        .iter()
        .filter_map(|file| file.current())
        .map(|committed| committed.offset)
        .max()
    else {
        return Ok(());
    };
    match log.segment_of(end) {
        Some(last) if committed > end => {
            let detail = format!("log ends with offset {end}, but a group has committed {committed}:");
            Err(damaged(&log.root, &last.path, last.len(), 0, detail))
        }
        _ => Ok(()),
    }
}

impl Core {
    fn topic(&self, name: &str) -> Result<&Topic, LogError> {
        self.topics
            .get(name)
            .ok_or_else(|| LogError::UnknownTopic(name.to_owned()))
    }

    fn partition(&self, id: &TopicPartition) -> Result<&Arc<PartitionLog>, LogError> {
        let partitions = &self.topic(&id.topic)?.partitions;
        partitions
            .get(id.partition as usize)
            .ok_or_else(|| LogError::UnknownPartition(id.clone()))
    }

    fn check_open(&self) -> Result<(), LogError> {
        if *self.closed.borrow() {
            Err(LogError::Closed)
        } else {
            Ok(())
        }
    }
}

#[async_trait]
impl EventLog for LocalLog {
    async fn append(&self, topic: &str, records: Vec<AppendRecord>) -> Result<Vec<u64>, LogError> {
        self.core.check_open()?;
        let Topic {
            first_index,
            partitions,
        } = self.core.topic(topic)?;
        let (first_index, max_record_bytes) = (*first_index, self.core.max_record_bytes);
        let mut num_bytes = 0;
        for record in &records {
            if record.partition as usize >= partitions.len() {
                return Err(LogError::UnknownPartition(TopicPartition::new(
                    topic,
                    record.partition,
                )));
            }
            num_bytes += frame::encoded_len(record);
        }
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let permit = self.core.queue.reserve(num_bytes).await?;
        let encode = move || -> Result<Vec<_>, LogError> {
            let index = |record: &AppendRecord| first_index + record.partition as usize;
            records
                .into_iter()
                .map(|record| Ok((index(&record), frame::encode_record(record, max_record_bytes)?)))
                .collect()
        };
        let encoded = if num_bytes <= MAX_INLINE_ENCODE_BYTES {
            encode()
        } else {
            blocking(encode).await
        };
        self.core.queue.append(encoded?, permit).await
    }

    fn num_partitions(&self, topic: &str) -> Result<u32, LogError> {
        Ok(self.core.topic(topic)?.partitions.len() as u32)
    }

    async fn join(&self, group: &str, topics: &[&str]) -> Result<Box<dyn GroupMember>, LogError> {
        self.core.check_open()?;
        let mut owned = Vec::new();
        for topic in topics {
            owned.extend(self.core.topic(topic)?.partitions.iter().map(Arc::clone));
        }
        let (core, group) = (Arc::clone(&self.core), group.to_owned());
        let member = blocking(move || LocalMember::join(core, &group, owned)).await?;
        Ok(Box::new(member))
    }

    async fn num_members(&self, group: &str) -> Result<usize, LogError> {
        self.core.check_open()?;
        Ok(self.core.members.count(group))
    }

    async fn position(&self, group: &str, topic_partition: &TopicPartition) -> Result<Position, LogError> {
        let log = self.core.partition(topic_partition)?;
        // The commit before the end: it can then not be beyond it.
        let committed = self
            .core
            .commits
            .find(group, topic_partition)
            .and_then(|file| file.current());
        Ok(Position {
            earliest: log.earliest(),
            end: log.end(),
            committed,
        })
    }

    async fn shutdown(&self) -> Result<(), LogError> {
        self.core.closed.send_replace(true);
        self.core.queue.stop().await
    }
}

/// Runs `work` where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    // The work does not panic by design, so this is the runtime going down.
    spawn_blocking(work).await.map_err(|_| LogError::Closed)?
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    #[tokio::test]
    async fn a_group_commit_makes_the_records_it_stands_on_durable_first() {
        let dir = tempfile::tempdir().unwrap();
        let spec = TopicSpec {
            name: "t".to_owned(),
            partitions: 1,
            retention_bytes: None,
            retention: None,
            waits_for_groups: true,
        };
        let sync = SyncPolicy::Interval(Duration::from_secs(3600));
        let log = LocalLog::open(LocalLogConfig {
            sync,
            ..LocalLogConfig::new(dir.path(), vec![spec])
        })
        .unwrap();
        let member = log.join("g", &["t"]).await.unwrap();
        let record = AppendRecord {
            partition: 0,
            key: Bytes::new(),
            headers: vec![],
            value: Bytes::new(),
        };
        log.append("t", vec![record.clone(), record]).await.unwrap();

        let id = TopicPartition::new("t", 0);
        let partition = log.core.partition(&id).unwrap();
        assert_eq!((partition.durable_end(), partition.end()), (0, 2));
        member.commit(&id, 1, 1, "").await.unwrap();
        assert_eq!((partition.durable_end(), partition.end()), (2, 2));
    }
}
