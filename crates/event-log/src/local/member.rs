//! A reader of the local log.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tokio::time::Instant;

use super::commit_file::CommitFile;
use super::partition::PartitionLog;
use super::reader::{self, Cursor};
use super::{Core, blocking};
use crate::{Committed, GroupMember, LogError, LogRecord, TopicPartition};

/// Stands for a wait without end, where a longer one would overflow the clock.
const MAX_WAIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// The only epoch: nothing takes a partition away.
const EPOCH: u64 = 1;

/// Who reads the log in this process.
#[derive(Debug, Default)]
pub(super) struct Members(Arc<Mutex<HashMap<String, usize>>>);

impl Members {
    pub(super) fn count(&self, group: &str) -> usize {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.get(group).copied().unwrap_or(0)
    }

    fn enter(&self, group: &str) -> Membership {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *counts.entry(group.to_owned()).or_default() += 1;
        Membership {
            group: group.to_owned(),
            counts: Arc::clone(&self.0),
        }
    }
}

/// A place in a group, until it is dropped.
#[derive(Debug)]
struct Membership {
    group: String,
    counts: Arc<Mutex<HashMap<String, usize>>>,
}

impl Drop for Membership {
    fn drop(&mut self) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.group) {
            *count = count.saturating_sub(1);
        }
    }
}

/// A member of a group. It owns all partitions of its topics for ever: one process reads the local log.
#[derive(Debug)]
pub(super) struct LocalMember {
    core: Arc<Core>,
    membership: Membership,
    partitions: BTreeMap<TopicPartition, (Arc<PartitionLog>, Arc<CommitFile>)>,
    assignment: watch::Sender<BTreeMap<TopicPartition, u64>>,
    /// Where the last read of each partition ended.
    cursors: Mutex<HashMap<TopicPartition, Cursor>>,
}

impl LocalMember {
    /// Makes the group's commit files where absent. Blocks.
    pub(super) fn join(core: Arc<Core>, group: &str, logs: Vec<Arc<PartitionLog>>) -> Result<Self, LogError> {
        let mut partitions = BTreeMap::new();
        for log in logs {
            let commits = core.commits.join(group, &log.id)?;
            partitions.insert(log.id.clone(), (log, commits));
        }
        let assignment = watch::Sender::new(partitions.keys().map(|id| (id.clone(), EPOCH)).collect());
        Ok(Self {
            membership: core.members.enter(group),
            core,
            partitions,
            assignment,
            cursors: Mutex::default(),
        })
    }

    fn partition(&self, id: &TopicPartition) -> Result<&(Arc<PartitionLog>, Arc<CommitFile>), LogError> {
        self.partitions
            .get(id)
            .ok_or_else(|| match self.core.topic(&id.topic) {
                Ok(_) => LogError::UnknownPartition(id.clone()),
                Err(error) => error,
            })
    }

    /// Reads what is there now.
    async fn read_now(
        &self,
        log: &Arc<PartitionLog>,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<LogRecord>, LogError> {
        let cursor = self
            .cursors
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&log.id);
        let shared = Arc::clone(log);
        let (records, cursor) = blocking(move || reader::read(&shared, cursor, from, max_bytes)).await?;
        if let Some(cursor) = cursor {
            self.cursors
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(log.id.clone(), cursor);
        }
        Ok(records)
    }
}

#[async_trait]
impl GroupMember for LocalMember {
    fn assignment(&self) -> watch::Receiver<BTreeMap<TopicPartition, u64>> {
        self.assignment.subscribe()
    }

    async fn read(
        &self,
        topic_partition: &TopicPartition,
        from: u64,
        max_bytes: usize,
        wait: Duration,
    ) -> Result<Vec<LogRecord>, LogError> {
        let (log, _) = self.partition(topic_partition)?;
        let deadline = Instant::now() + wait.min(MAX_WAIT);
        let mut end = log.subscribe();
        let mut closed = self.core.closed.subscribe();
        loop {
            self.core.check_open()?;
            log.check_range(from)?;
            if *end.borrow_and_update() > from {
                let records = self.read_now(log, from, max_bytes).await?;
                if !records.is_empty() {
                    return Ok(records);
                }
            }
            tokio::select! {
                _ = end.changed() => {}
                _ = closed.wait_for(|is_closed| *is_closed) => {}
                () = tokio::time::sleep_until(deadline) => return Ok(Vec::new()),
            }
        }
    }

    fn empty_reads_prove_gaps(&self) -> bool {
        true
    }

    async fn commit(
        &self,
        topic_partition: &TopicPartition,
        epoch: u64,
        offset: u64,
        metadata: &str,
    ) -> Result<(), LogError> {
        self.core.check_open()?;
        let (log, commits) = self.partition(topic_partition)?;
        if epoch != EPOCH {
            return Err(LogError::Fenced {
                group: self.membership.group.clone(),
                topic_partition: topic_partition.clone(),
            });
        }
        let (earliest, end) = (log.earliest(), log.end());
        if offset > end {
            return Err(LogError::OutOfRange {
                topic_partition: topic_partition.clone(),
                offset,
                earliest,
                end,
            });
        }
        // Offsets above the commit may be in use too (a batch's end in the metadata): were the records
        // lost with the power, new ones would get the same offsets.
        if log.durable_end() < end {
            self.core.queue.sync().await?;
        }
        let (commits, metadata) = (Arc::clone(commits), metadata.to_owned());
        blocking(move || commits.commit(offset, &metadata)).await
    }

    async fn committed(&self, topic_partition: &TopicPartition) -> Result<Option<Committed>, LogError> {
        Ok(self.partition(topic_partition)?.1.current())
    }
}
