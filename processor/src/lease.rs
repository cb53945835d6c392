//! The right to write one batch, asked for again where the last answer is old.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use event_log::{GroupMember, LogError, TopicPartition};
use tokio::time::Instant;

use crate::batch::{Batch, Intent};

/// Age at which the group's last word on the ownership is asked for again. Half of the shortest session
/// that may be set: a process that was stopped and woke up finds out before its next insert.
const MAX_AGE: Duration = Duration::from_millis(500);

/// The ownership of a partition, while a batch of it is written.
#[derive(Debug)]
pub(crate) struct Lease {
    member: Arc<dyn GroupMember>,
    topic_partition: TopicPartition,
    epoch: u64,
    start: u64,
    intent: Intent,
    confirmed_at: Mutex<Confirmed>,
}

/// When the group was asked last, by both clocks: the monotonic one stands still while the machine sleeps,
/// and the other may be set.
#[derive(Debug, Clone, Copy)]
struct Confirmed {
    monotonic: Instant,
    wall: SystemTime,
}

impl Confirmed {
    fn now() -> Self {
        Self {
            monotonic: Instant::now(),
            wall: SystemTime::now(),
        }
    }

    fn is_fresh(self) -> bool {
        // A clock that was set back tells nothing.
        let by_wall = self.wall.elapsed().is_ok_and(|age| age < MAX_AGE);
        by_wall && self.monotonic.elapsed() < MAX_AGE
    }
}

impl Lease {
    /// Commits the intent of `batch`: the group's leave to write it.
    ///
    /// # Errors
    /// [`LogError::Fenced`] where another member owns the partition; others as the log has them.
    pub(crate) async fn take(
        member: Arc<dyn GroupMember>,
        epoch: u64,
        batch: &Batch,
    ) -> Result<Self, LogError> {
        let lease = Self {
            member,
            topic_partition: batch.topic_partition.clone(),
            epoch,
            start: batch.start,
            intent: Intent {
                end: batch.end,
                num_partitions: batch.num_partitions,
            },
            confirmed_at: Mutex::new(Confirmed::now()),
        };
        lease.confirm().await?;
        Ok(lease)
    }

    /// Makes sure that the partition was this member's a moment ago.
    ///
    /// # Errors
    /// As [`Lease::take`].
    pub(crate) async fn check(&self) -> Result<(), LogError> {
        let confirmed_at = *self.confirmed_at.lock().unwrap_or_else(PoisonError::into_inner);
        if confirmed_at.is_fresh() {
            return Ok(());
        }
        self.confirm().await
    }

    async fn confirm(&self) -> Result<(), LogError> {
        // Taken before the call: its answer may be late.
        let asked_at = Confirmed::now();
        self.member
            .commit(
                &self.topic_partition,
                self.epoch,
                self.start,
                &self.intent.encode(),
            )
            .await?;
        *self.confirmed_at.lock().unwrap_or_else(PoisonError::into_inner) = asked_at;
        Ok(())
    }
}
