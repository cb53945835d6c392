//! The loop over one partition, and nothing else: receive, commit the intent, prepare, write,
//! commit the end. A crash between any two steps replays the same batch, whose inserts the
//! warehouse then drops by their tokens.
//!
//! A partition that was lost to another member ends the loop: the batch in hand is abandoned, and
//! its new owner replays it.

use std::sync::Arc;
use std::time::Duration;

use event_log::{EventLog, GroupMember, LogRecord, TopicPartition};
use schemas::time::TimestampMs;
use schemas::topic;
use telemetry::crash_point;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::batch::{Batch, Intent};
use crate::error::ProcessorError;
use crate::lease::Lease;
use crate::metrics::TopicMetrics;
use crate::pause::Pauser;
use crate::plan::{Plan, Prepared};
use crate::stats::ProcessorStats;
use crate::writer::{PREPARE, Writer, retrying};
use crate::{ProcessorConfig, Progress};

/// How long a read waits for a first record before it looks for a shutdown again.
const IDLE_WAIT: Duration = Duration::from_secs(1);

/// Batches of full size that a process holds records for at once; with more partitions each is smaller.
const LARGE_BATCHES: usize = 4;
const MIN_BATCH_BYTES: usize = 256 << 10;

/// What the loop over one partition needs.
#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) topic_partition: TopicPartition,
    /// Of the ownership under which this loop works.
    pub(crate) epoch: u64,
    pub(crate) config: ProcessorConfig,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) member: Arc<dyn GroupMember>,
    pub(crate) plan: Plan,
    pub(crate) writer: Writer,
    pub(crate) pauser: Pauser,
    pub(crate) progress: watch::Sender<Progress>,
    pub(crate) stats: Arc<ProcessorStats>,
    pub(crate) metrics: TopicMetrics,
}

impl Pipeline {
    /// Processes until `shutdown`, or until another member owns the partition.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) -> Result<(), ProcessorError> {
        match self.run_while_owner(shutdown).await {
            Err(error) if error.is_fenced() => {
                info!(partition = %self.topic_partition, epoch = self.epoch, "another member owns the partition");
                Ok(())
            }
            ended => ended,
        }
    }

    async fn run_while_owner(&mut self, shutdown: CancellationToken) -> Result<(), ProcessorError> {
        // One that is lost meanwhile must leave no ids behind: the next owner adds others.
        let resumed = tokio::select! {
            next = self.resume() => Some(next?),
            () = shutdown.cancelled() => None,
        };
        let Some(mut next) = resumed else {
            return Ok(());
        };
        loop {
            let batch = tokio::select! {
                batch = self.cut(next, IDLE_WAIT) => batch?,
                () = shutdown.cancelled() => break,
            };
            next = match batch {
                Some(batch) => self.process(batch).await?,
                None => self.skip_gap(next).await?,
            };
        }
        // What is acknowledged by now is counted too, but not what others go on to append.
        let end = self.end_of_log().await?;
        while next < end && self.config.drains_at_stop {
            let Some(batch) = self.cut(next, Duration::ZERO).await? else {
                break;
            };
            next = self.process(batch).await?;
        }
        Ok(())
    }

    /// Finishes the batch that was under way when the last owner of the partition stopped.
    async fn resume(&mut self) -> Result<u64, ProcessorError> {
        let committed = retrying("read the group's commit", || async {
            Ok(self.member.committed(&self.topic_partition).await?)
        })
        .await?;
        let start = committed.as_ref().map_or(0, |committed| committed.offset);
        let metadata = committed.map(|committed| committed.metadata).unwrap_or_default();
        // From here on it counts as owned: one that cannot get on shows in lag and health.
        self.publish_progress(start);
        self.check_layout().await?;
        self.plan.load(self.topic_partition.partition).await?;
        let next = match Intent::decode(&self.topic_partition, start, &metadata)? {
            Some(intent) => {
                info!(partition = %self.topic_partition, start, end = intent.end, "replaying an unfinished batch");
                let batch = self.read_exactly(start, intent).await?;
                self.process(batch).await?
            }
            None => start,
        };
        self.publish_progress(next);
        Ok(next)
    }

    /// Reads the records of `[start, intent.end)`.
    async fn read_exactly(&self, start: u64, intent: Intent) -> Result<Batch, ProcessorError> {
        let end = intent.end;
        let mut records = Vec::new();
        let mut next = start;
        while next < end {
            let read = self.read(next, self.config.max_batch_bytes, IDLE_WAIT).await?;
            let is_behind = read.first().is_some_and(|record| record.offset >= end);
            let is_gone =
                read.is_empty() && self.member.empty_reads_prove_gaps() && self.end_of_log().await? >= end;
            if is_behind || is_gone {
                warn!(partition = %self.topic_partition, next, end, "records of an unfinished batch are gone");
                break;
            }
            records.extend(read.into_iter().take_while(|record| record.offset < end));
            next = records.last().map_or(next, |record| record.offset + 1);
        }
        Ok(Batch {
            topic_partition: self.topic_partition.clone(),
            start,
            end,
            num_partitions: intent.num_partitions,
            records,
        })
    }

    /// Makes sure that this process spreads events as all others do. The number may have changed while
    /// this one was cut off from its group.
    async fn check_layout(&self) -> Result<(), ProcessorError> {
        if &*self.topic_partition.topic != topic::COST_EVENTS {
            return Ok(());
        }
        retrying("check how events are spread", || {
            self.writer.check_layout(self.config.num_partitions)
        })
        .await
    }

    /// Returns the bytes of a batch: all partitions of this process share the memory of a few large ones.
    fn max_batch_bytes(&self) -> usize {
        let num_owned = self.progress.borrow().len().max(1);
        let share = LARGE_BATCHES * self.config.max_batch_bytes / num_owned;
        share.min(self.config.max_batch_bytes).max(MIN_BATCH_BYTES)
    }

    /// Cuts the next batch on bytes or age; none where no record came within `wait`.
    async fn cut(&self, start: u64, wait: Duration) -> Result<Option<Batch>, ProcessorError> {
        let max_bytes = self.max_batch_bytes();
        let mut records = self.read(start, max_bytes, wait).await?;
        let num_bytes = |records: &[LogRecord]| -> usize {
            records
                .iter()
                .map(|record| record.value.len() + record.key.len())
                .sum()
        };
        let deadline = Instant::now() + self.config.max_batch_age;
        let mut bytes = num_bytes(&records);
        while let Some(last) = records.last().map(|record| record.offset) {
            if bytes >= max_bytes || Instant::now() >= deadline || wait.is_zero() {
                let place = self.topic_partition.clone();
                return Ok(Some(Batch {
                    topic_partition: place,
                    start,
                    end: last + 1,
                    num_partitions: self.config.num_partitions,
                    records,
                }));
            }
            let patience = deadline.saturating_duration_since(Instant::now());
            let more = self.read(last + 1, max_bytes - bytes, patience).await?;
            bytes += num_bytes(&more);
            records.extend(more);
        }
        Ok(None)
    }

    /// Commits what the batch will be, then makes it so. Returns the next offset.
    async fn process(&mut self, batch: Batch) -> Result<u64, ProcessorError> {
        let pauser = self.pauser.clone();
        let _in_flight = pauser.enter_batch().await;
        crash_point("processor-before-intent");
        let lease = retrying("commit the intent of a batch", || async {
            Ok(Lease::take(Arc::clone(&self.member), self.epoch, &batch).await?)
        })
        .await?;
        crash_point("processor-after-intent");
        self.finish(batch, &lease).await
    }

    /// Prepares and writes a batch whose intent is committed, and commits its end.
    async fn finish(&mut self, batch: Batch, lease: &Lease) -> Result<u64, ProcessorError> {
        let started = Instant::now();
        let batch = Arc::new(batch);
        let plan = &self.plan;
        let prepared = retrying(PREPARE, || async {
            lease.check().await?;
            plan.prepare(Arc::clone(&batch)).await
        })
        .await?;
        self.metrics.prepared(started.elapsed());
        crash_point("processor-prepared");
        self.append_moved(&prepared).await?;
        self.writer.write(&batch, &prepared, lease).await?;
        self.metrics.queryable(&batch, TimestampMs::now());
        self.append_dead_letters(&prepared).await?;
        retrying("commit a batch", || async {
            let end = self
                .member
                .commit(&self.topic_partition, self.epoch, batch.end, "");
            Ok(end.await?)
        })
        .await?;
        crash_point("processor-after-commit");
        self.plan.written(&prepared);
        self.metrics.committed(&batch, &prepared);
        self.stats.record(&self.topic_partition.topic, prepared.counts);
        self.publish_progress(batch.end);
        debug!(
            partition = %self.topic_partition,
            start = batch.start,
            end = batch.end,
            consumed = prepared.counts.consumed,
            inserted = prepared.counts.inserted,
            duplicates = prepared.counts.duplicates,
            dead_lettered = prepared.counts.dead_lettered,
            moved = prepared.counts.moved,
            duration_ms = started.elapsed().as_secs_f64() * 1e3,
            "batch written"
        );
        Ok(batch.end)
    }

    /// Appends the events of other partitions there, before this partition moves on.
    async fn append_moved(&self, prepared: &Prepared) -> Result<(), ProcessorError> {
        if prepared.moved.is_empty() {
            return Ok(());
        }
        retrying("move events to their partitions", || async {
            self.log
                .append(&self.topic_partition.topic, prepared.moved.clone())
                .await?;
            Ok(())
        })
        .await?;
        crash_point("processor-moved");
        Ok(())
    }

    /// Publishes what could not be counted. The table has it exactly once; a crash before the
    /// commit publishes it again, under the same key.
    async fn append_dead_letters(&self, prepared: &Prepared) -> Result<(), ProcessorError> {
        if prepared.dead_letters.len() == 0 {
            return Ok(());
        }
        let num_partitions = self.log.num_partitions(topic::DEAD_LETTERS)?;
        let records = prepared.dead_letters.records(num_partitions);
        retrying("publish dead letters", || async {
            self.log.append(topic::DEAD_LETTERS, records.clone()).await?;
            Ok(())
        })
        .await?;
        crash_point("processor-dead-letters");
        Ok(())
    }

    /// Passes offsets that no record has, which a repair of the log may leave before its end.
    async fn skip_gap(&self, next: u64) -> Result<u64, ProcessorError> {
        if !self.member.empty_reads_prove_gaps() {
            return Ok(next);
        }
        let end = self.end_of_log().await?;
        if end <= next {
            return Ok(next);
        }
        // A record may have come since the last read; only a read after the end was taken tells.
        let records = self.read(next, 1, Duration::ZERO).await?;
        if !records.is_empty() {
            return Ok(next);
        }
        info!(partition = %self.topic_partition, next, end, "passing offsets that hold no record");
        self.publish_progress(end);
        Ok(end)
    }

    /// Reads records, however long the log does not answer.
    async fn read(
        &self,
        from: u64,
        max_bytes: usize,
        wait: Duration,
    ) -> Result<Vec<LogRecord>, ProcessorError> {
        retrying("read records", || async {
            Ok(self
                .member
                .read(&self.topic_partition, from, max_bytes, wait)
                .await?)
        })
        .await
    }

    async fn end_of_log(&self) -> Result<u64, ProcessorError> {
        let position = retrying("look up the end of the log", || async {
            Ok(self
                .log
                .position(&self.config.group, &self.topic_partition)
                .await?)
        });
        Ok(position.await?.end)
    }

    fn publish_progress(&self, next: u64) {
        self.progress.send_modify(|progress| {
            progress.insert(self.topic_partition.clone(), next);
        });
    }
}
