//! The one writer: takes what is queued, writes each partition's share at once, syncs once, answers all.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tokio::sync::{OwnedSemaphorePermit, oneshot};
use tracing::error;

use super::SyncPolicy;
use super::commits::CommitStore;
use super::partition_writer::PartitionWriter;
use super::queue::{AppendRequest, Command};
use super::retention;
use crate::LogError;

/// Bytes after which a group commit takes no more requests.
const MAX_GROUP_BYTES: u64 = 32 << 20;

/// Returns the log's clock, UTC milliseconds since the epoch.
pub(super) fn now_ms() -> i64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX)
}

/// A request whose records are staged.
#[derive(Debug)]
struct Waiter {
    offsets: Vec<u64>,
    /// Indices of the partitions its records went to.
    partitions: Vec<usize>,
    reply: oneshot::Sender<Result<Vec<u64>, LogError>>,
    _permit: OwnedSemaphorePermit,
}

/// Owner of all files that are written to.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) partitions: Vec<PartitionWriter>,
    pub(super) commits: Arc<CommitStore>,
    pub(super) policy: SyncPolicy,
    pub(super) segment_bytes: u64,
    /// The failed sync after which nothing is appended any more.
    failed: Option<LogError>,
    last_sync: Instant,
}

impl Writer {
    pub(super) fn new(
        partitions: Vec<PartitionWriter>,
        commits: Arc<CommitStore>,
        policy: SyncPolicy,
        segment_bytes: u64,
    ) -> Self {
        Self {
            partitions,
            commits,
            policy,
            segment_bytes,
            failed: None,
            last_sync: Instant::now(),
        }
    }

    /// Works until told to stop, or until all senders are gone.
    pub(super) fn run(mut self, commands: &Receiver<Command>) {
        loop {
            let first = match self.until_sync() {
                None => commands.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(timeout) => commands.recv_timeout(timeout),
            };
            let mut next = match first {
                Ok(command) => Some(command),
                Err(RecvTimeoutError::Timeout) => {
                    self.sync_unasked();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.sync_unasked();
                    return;
                }
            };
            let mut group = Vec::new();
            let mut group_bytes = 0;
            while let Some(Command::Append(request)) = next {
                group_bytes += request
                    .records
                    .iter()
                    .map(|(_, record)| record.frame_len())
                    .sum::<u64>();
                group.push(request);
                next = if group_bytes < MAX_GROUP_BYTES {
                    commands.try_recv().ok()
                } else {
                    None
                };
            }
            if !group.is_empty() {
                self.commit_group(group);
            }
            match next {
                Some(Command::Sync(reply)) => answer(reply, self.note_failure(Self::sync_all)),
                Some(Command::Stop(reply)) => return answer(reply, self.note_failure(Self::sync_all)),
                Some(Command::Append(_)) | None => {}
            }
        }
    }

    /// Returns how long acknowledged records may still stay unsynced; nothing if none are.
    fn until_sync(&self) -> Option<Duration> {
        let SyncPolicy::Interval(interval) = self.policy else {
            return None;
        };
        let is_due = self.failed.is_none() && self.partitions.iter().any(PartitionWriter::is_dirty);
        is_due.then(|| interval.saturating_sub(self.last_sync.elapsed()))
    }

    /// Appends the records of all requests, makes them durable as the policy says, and answers.
    fn commit_group(&mut self, group: Vec<AppendRequest>) {
        let timestamp_ms = now_ms();
        let mut waiters: Vec<Waiter> = Vec::with_capacity(group.len());
        for request in group {
            waiters.push(self.stage(request, timestamp_ms));
        }
        let touched: Vec<usize> = (0..self.partitions.len())
            .filter(|index| !self.partitions[*index].staged.is_empty())
            .collect();
        for index in &touched {
            let outcome = self.note_failure(|writer| writer.write_partition(*index, timestamp_ms));
            self.partitions[*index].outcome = outcome;
        }
        for index in &touched {
            self.finish_partition(*index);
        }
        for waiter in waiters {
            let failure = waiter
                .partitions
                .iter()
                .find_map(|index| self.partitions[*index].outcome.clone().err());
            answer(waiter.reply, failure.map_or(Ok(waiter.offsets), Err));
        }
        if let SyncPolicy::Interval(interval) = self.policy
            && self.last_sync.elapsed() >= interval
        {
            self.sync_unasked();
        }
    }

    fn stage(&mut self, request: AppendRequest, timestamp_ms: i64) -> Waiter {
        let mut offsets = Vec::with_capacity(request.records.len());
        let mut partitions = Vec::new();
        for (index, record) in request.records {
            offsets.push(self.partitions[index].stage(record, timestamp_ms));
            if !partitions.contains(&index) {
                partitions.push(index);
            }
        }
        Waiter {
            offsets,
            partitions,
            reply: request.reply,
            _permit: request._permit,
        }
    }

    /// Writes one partition's staged records, in a new segment if this one is full.
    fn write_partition(&mut self, index: usize, timestamp_ms: i64) -> Result<(), LogError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        let partition = &mut self.partitions[index];
        let is_full =
            partition.active.len > 0 && partition.active.len + partition.staged_bytes > self.segment_bytes;
        let written = match is_full {
            true => partition
                .roll()
                .and_then(|()| partition.write_staged(timestamp_ms)),
            false => partition.write_staged(timestamp_ms),
        };
        match &written {
            Ok(()) if is_full => self.apply_retention(index),
            // Groups may have moved on since the last segment was sealed: make room for the next attempt.
            Err(LogError::Full { .. }) => {
                (0..self.partitions.len()).for_each(|other| self.apply_retention(other))
            }
            _ => {}
        }
        written
    }

    fn apply_retention(&self, index: usize) {
        let partition = &self.partitions[index];
        retention::apply(
            &partition.log,
            partition.retention,
            self.commits.processed(&partition.log.id),
            now_ms(),
        );
    }

    /// Syncs one partition if the policy asks for it, and shows its new records to readers.
    fn finish_partition(&mut self, index: usize) {
        let num_staged = self.partitions[index].staged.len() as u64;
        if self.partitions[index].outcome.is_ok() {
            let outcome = self.note_failure(|writer| writer.sync_partition(index, num_staged));
            self.partitions[index].outcome = outcome;
        }
        let partition = &mut self.partitions[index];
        if partition.outcome.is_ok() {
            partition.publish();
        }
        partition.staged.clear();
        partition.staged_bytes = 0;
    }

    fn sync_partition(&mut self, index: usize, num_staged: u64) -> Result<(), LogError> {
        if self.policy != SyncPolicy::EveryCommit {
            return Ok(());
        }
        let staged_bytes = self.partitions[index].staged_bytes;
        let partition = &mut self.partitions[index];
        let synced = match &self.failed {
            Some(failed) => Err(failed.clone()),
            None => partition.sync(),
        };
        if synced.is_err() {
            // So that the next start does not take what was never acknowledged for durable.
            let (len, next_offset) = (
                partition.active.len - staged_bytes,
                partition.active.next_offset - num_staged,
            );
            partition.active.roll_back(len, next_offset)?;
        }
        synced
    }

    fn sync_all(&mut self) -> Result<(), LogError> {
        if let Some(failed) = &self.failed {
            return Err(failed.clone());
        }
        self.last_sync = Instant::now();
        self.partitions
            .iter()
            .filter(|partition| partition.is_dirty())
            .try_for_each(PartitionWriter::sync)
    }

    /// Syncs where nobody waits for it: a failure is logged, and answers the appends to come.
    fn sync_unasked(&mut self) {
        self.note_failure(Self::sync_all).ok();
    }

    /// Runs `step` and remembers a failed sync, after which the log refuses appends.
    fn note_failure(&mut self, step: impl FnOnce(&mut Self) -> Result<(), LogError>) -> Result<(), LogError> {
        let result = step(self);
        if let (Err(failed @ LogError::SyncFailed { .. }), None) = (&result, &self.failed) {
            error!(error = %failed, "log refuses appends until it is reopened");
            self.failed = Some(failed.clone());
        }
        result
    }
}

/// Answers a caller, if it is still there: what it asked for was done all the same.
fn answer<T>(reply: oneshot::Sender<T>, result: T) {
    drop(reply.send(result));
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::active::ActiveSegment;
    use super::super::frame::{EncodedRecord, encode_record};
    use super::super::partition::PartitionLog;
    use super::super::queue::AppendQueue;
    use super::super::retention::Retention;
    use super::*;
    use crate::{AppendRecord, TopicPartition};

    fn encoded() -> Vec<(usize, EncodedRecord)> {
        let record = AppendRecord {
            partition: 0,
            key: Bytes::new(),
            headers: vec![],
            value: Bytes::new(),
        };
        vec![(0, encode_record(record, 1000).unwrap())]
    }

    #[tokio::test]
    async fn after_a_failed_sync_nothing_is_acknowledged_shown_or_appended() {
        let dir = tempfile::tempdir().unwrap();
        let (log, _) = PartitionLog::open(dir.path(), TopicPartition::new("t", 0)).unwrap();
        // A device takes every write and refuses every sync.
        let device = ActiveSegment::on_device("/dev/null");
        let partition = PartitionWriter::new(
            Arc::clone(&log),
            device,
            Retention {
                max_bytes: None,
                max_age: None,
                waits_for_groups: true,
            },
        );
        let commits = Arc::new(CommitStore::load(dir.path()).unwrap());
        let queue = AppendQueue::start(Writer::new(
            vec![partition],
            commits,
            SyncPolicy::EveryCommit,
            1000,
        ))
        .unwrap();
        for _ in 0..2 {
            let error = queue
                .append(encoded(), queue.reserve(1).await.unwrap())
                .await
                .unwrap_err();
            assert!(
                matches!(error, LogError::SyncFailed { .. }) && !error.is_retryable(),
                "{error}"
            );
        }
        assert_eq!(log.end(), 0);
        assert!(matches!(queue.stop().await, Err(LogError::SyncFailed { .. })));
    }

    #[tokio::test]
    async fn appenders_wait_when_the_queue_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let commits = Arc::new(CommitStore::load(dir.path()).unwrap());
        let queue = AppendQueue::start(Writer::new(vec![], commits, SyncPolicy::EveryCommit, 1000)).unwrap();
        let permit = queue.reserve(usize::MAX).await.unwrap();
        assert!(
            tokio::time::timeout(Duration::ZERO, queue.reserve(1))
                .await
                .is_err(),
            "over the budget"
        );
        drop(permit);
        assert!(queue.reserve(1).await.is_ok());
    }
}
