//! Learns from the log which events are known, where the processor runs in another process.
//!
//! The filter of known events starts with the ids in the warehouse, and takes those of every record
//! that any node appends. A record that the filter has not seen yet keeps its claims, so on this
//! node there is no gap; on others an event is known once its record was read there.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use arrow::buffer::Buffer;
use event_log::{EventLog, GroupMember, LogError, LogRecord, TopicPartition};
use known_events::KnownEvents;
use schemas::arrow::uuid_at;
use schemas::codec::decode_cost_events;
use schemas::id::EventId;
use schemas::topic;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;
use warehouse::Warehouse;

use crate::acceptor::Progress;

/// How often the processor's commits are read: how long a claim outlives its event's counting.
const COMMIT_INTERVAL: Duration = Duration::from_millis(250);
const READ_WAIT: Duration = Duration::from_secs(1);
const READ_BYTES: usize = 4 << 20;
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// What following the log needs.
#[derive(Debug, Clone)]
pub struct Follower {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// Holds the ids of what was counted before.
    pub warehouse: Warehouse,
    /// The filter to keep up to date.
    pub known: Arc<KnownEvents>,
    /// The processor's consumer group.
    pub processor_group: String,
}

impl Follower {
    /// Follows until `shutdown`. `progress` tells, by partition, below which offset events are both
    /// counted and in the filter. Failures of the log and the warehouse are repeated for ever.
    pub async fn run(self, progress: watch::Sender<Progress>, shutdown: CancellationToken) {
        tokio::select! {
            () = self.follow(&progress) => {}
            () = shutdown.cancelled() => {}
        }
    }

    async fn follow(&self, progress: &watch::Sender<Progress>) {
        // Taken before the ids are: what is counted in between is read from the log as well.
        let starts = retried("read the processor's commits", || self.counted()).await;
        retried("load the ids of known events", || {
            self.known.load_all(&self.warehouse)
        })
        .await;
        info!(
            num_ids = self.known.num_ids(),
            filter_bytes = self.known.num_bytes(),
            "loaded the ids of known events"
        );
        let read = Arc::new(watch::Sender::new(starts));
        let following = async {
            loop {
                let Err(error) = self.read_all(&read).await;
                warn!(%error, "following the log failed, will try again");
                tokio::time::sleep(RETRY_DELAY).await;
            }
        };
        let publishing = async {
            loop {
                tokio::time::sleep(COMMIT_INTERVAL).await;
                match self.counted().await {
                    Ok(counted) => publish(progress, counted, &read.borrow()),
                    Err(error) => warn!(%error, "reading the processor's commits failed, will try again"),
                }
            }
        };
        tokio::join!(following, publishing);
    }

    /// Reads all partitions, in a group of this process alone, until that fails.
    async fn read_all(
        &self,
        read: &Arc<watch::Sender<Progress>>,
    ) -> Result<std::convert::Infallible, LogError> {
        let group = format!("ingest-{}", Uuid::new_v4());
        let member: Arc<dyn GroupMember> = self.log.join(&group, &[topic::COST_EVENTS]).await?.into();
        let mut assignment = member.assignment();
        let mut readers = JoinSet::new();
        let mut started = BTreeMap::new();
        loop {
            let assigned = assignment.borrow_and_update().clone();
            for (place, epoch) in assigned {
                if started.insert(place.clone(), epoch) != Some(epoch) {
                    readers.spawn(read_partition(
                        Arc::clone(&member),
                        place,
                        Arc::clone(&self.known),
                        Arc::clone(read),
                    ));
                }
            }
            tokio::select! {
                changed = assignment.changed() => if changed.is_err() {
                    return Err(LogError::Closed);
                },
                Some(Ok(error)) = readers.join_next() => {
                    // Lost partitions come back with a new epoch; the group has no other member.
                    if !matches!(error, LogError::Fenced { .. }) {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Returns the next offset to count of each partition.
    async fn counted(&self) -> Result<Progress, LogError> {
        let mut counted = Progress::new();
        for partition in 0..self.log.num_partitions(topic::COST_EVENTS)? {
            let place = TopicPartition::new(topic::COST_EVENTS, partition);
            let position = self.log.position(&self.processor_group, &place).await?;
            let next = position
                .committed
                .map_or(position.earliest, |committed| committed.offset);
            counted.insert(place, next);
        }
        Ok(counted)
    }
}

/// Publishes what is both counted and read.
fn publish(progress: &watch::Sender<Progress>, counted: Progress, read: &Progress) {
    let both = counted.into_iter().map(|(place, next)| {
        let read = read.get(&place).copied().unwrap_or(0);
        (place, next.min(read))
    });
    let both: Progress = both.collect();
    progress.send_if_modified(|before| {
        let is_news = *before != both;
        *before = both;
        is_news
    });
}

/// Reads one partition until that fails.
async fn read_partition(
    member: Arc<dyn GroupMember>,
    place: TopicPartition,
    known: Arc<KnownEvents>,
    read: Arc<watch::Sender<Progress>>,
) -> LogError {
    let mut next = read.borrow().get(&place).copied().unwrap_or(0);
    loop {
        let records = match member.read(&place, next, READ_BYTES, READ_WAIT).await {
            Ok(records) => records,
            // Retention was faster; what it took was counted long ago.
            Err(LogError::OutOfRange { earliest, .. }) if next < earliest => {
                next = earliest;
                continue;
            }
            Err(error) => return error,
        };
        let Some(last) = records.last() else { continue };
        next = last.offset + 1;
        records.iter().for_each(|record| remember(&known, record));
        read.send_modify(|read| {
            read.insert(place.clone(), next);
        });
    }
}

/// Adds a record's ids. One that cannot be decoded has none; the processor deals with it.
fn remember(known: &KnownEvents, record: &LogRecord) {
    let content_type = record
        .headers
        .iter()
        .find(|(name, _)| name == topic::CONTENT_TYPE);
    let content_type = content_type.map_or(&b""[..], |(_, value)| value);
    let batches = decode_cost_events(content_type, Buffer::from(record.value.clone())).unwrap_or_default();
    for batch in batches {
        if let Some(ids) = batch.column_by_name("event_id") {
            let ids = ids.as_fixed_size_binary();
            known.insert_all((0..batch.num_rows()).map(|row| EventId(uuid_at(ids, row))));
        }
    }
}

/// Repeats `attempt` until it succeeds.
async fn retried<T, E, F>(action: &'static str, mut attempt: impl FnMut() -> F) -> T
where
    E: std::error::Error,
    F: Future<Output = Result<T, E>>,
{
    loop {
        match attempt().await {
            Ok(value) => return value,
            Err(error) => {
                warn!(%error, action, "failed, will try again");
                tokio::time::sleep(RETRY_DELAY).await;
            }
        }
    }
}
