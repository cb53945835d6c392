//! Takes validated events: decides which are new, appends those, and answers once they are
//! durable.
//!
//! What appends runs in a task of its own: a client that hangs up does not undo a claim whose
//! record is on its way to the log.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use event_log::{AppendRecord, EventLog, LogError, TopicPartition};
use known_events::{KnownEvent, KnownEvents};
use schemas::codec::encode_event;
use schemas::cost_event::CostEvent;
use schemas::id::{EventId, OrgId};
use schemas::time::TimestampMs;
use schemas::topic;
use telemetry::crash_point;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

use crate::IngestParts;
use crate::batch::EventBatch;
use crate::claims::{Claim, ClaimGroup, Claims};
use crate::error::IngestError;
use crate::lookups::Lookups;
use crate::metrics::{Appender, EventCounters, Tally};

/// How far the processor came: the next offset of each partition.
pub type Progress = BTreeMap<TopicPartition, u64>;

/// Chunks of streams that are parsed or appended at a time, over all requests; bounds memory.
const MAX_CHUNKS: usize = 8;

/// Accepts events on one node.
#[derive(Debug)]
pub struct Acceptor {
    log: Arc<dyn EventLog>,
    lookups: Lookups,
    known: Arc<KnownEvents>,
    progress: watch::Receiver<Progress>,
    claims: Claims,
    chunks: Arc<Semaphore>,
    counters: Arc<EventCounters>,
    appender: Appender,
    num_partitions: u32,
    max_unprocessed_events: usize,
}

/// What became of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted {
    pub(crate) id: EventId,
    /// That of the first copy.
    pub(crate) created_at: TimestampMs,
    pub(crate) is_new: bool,
}

/// What is to become of one event.
#[derive(Debug)]
enum Decision {
    /// It is new: its record is to be appended.
    New {
        accepted: Accepted,
        guard: ClaimGuard,
        record: AppendRecord,
    },
    /// It was known.
    Known(Accepted),
}

/// What became of a batch, event by event, in its order.
#[derive(Debug)]
pub(crate) struct BatchOutcome {
    pub(crate) events: Vec<Accepted>,
}

impl BatchOutcome {
    pub(crate) fn num_new(&self) -> u64 {
        self.events.iter().filter(|event| event.is_new).count() as u64
    }

    pub(crate) fn num_duplicates(&self) -> u64 {
        self.events.len() as u64 - self.num_new()
    }
}

impl Acceptor {
    pub(crate) fn new(parts: IngestParts) -> Result<Self, IngestError> {
        Ok(Self {
            num_partitions: parts.known.num_partitions(),
            log: parts.log,
            lookups: Lookups::new(parts.warehouse),
            known: parts.known,
            progress: parts.progress,
            claims: Claims::default(),
            chunks: Arc::new(Semaphore::new(MAX_CHUNKS)),
            counters: Arc::new(EventCounters::new()),
            appender: Appender::to(topic::COST_EVENTS),
            max_unprocessed_events: parts.max_unprocessed_events,
        })
    }

    /// Returns the number of events that are received but not processed.
    pub fn num_unprocessed(&self) -> usize {
        self.claims.len()
    }

    /// Returns when an append to the log failed last, in this process's life.
    pub fn last_append_failure(&self) -> Option<Instant> {
        self.appender.last_failure()
    }

    /// Counts events as received; what becomes of each is to be told to the tally.
    pub(crate) fn receive(&self, num_events: usize) -> Tally {
        self.counters.receive(num_events)
    }

    /// Follows the processor and forgets what it has passed; ends with the processor.
    pub async fn forget_processed(&self) {
        let mut progress = self.progress.clone();
        loop {
            let reached = progress.borrow_and_update().clone();
            let of_events = reached
                .into_iter()
                .filter(|(place, _)| &*place.topic == topic::COST_EVENTS);
            self.claims
                .forget_processed(of_events.map(|(place, next)| (place.partition, next)).collect());
            if progress.changed().await.is_err() {
                return;
            }
        }
    }

    /// Refuses more events while too many wait for the processor.
    pub(crate) fn check_room(&self) -> Result<(), IngestError> {
        if self.claims.len() >= self.max_unprocessed_events {
            Err(IngestError::Behind)
        } else {
            Ok(())
        }
    }

    /// Waits until a chunk of a stream may be taken on: for room among the unprocessed events, and
    /// for a share of memory, which is held until the result is dropped.
    pub(crate) async fn enter_chunk(&self) -> Result<OwnedSemaphorePermit, IngestError> {
        self.claims
            .wait_until_fewer_than(self.max_unprocessed_events)
            .await;
        // The semaphore is never closed; if it were, nothing could be accepted any more.
        Arc::clone(&self.chunks)
            .acquire_owned()
            .await
            .map_err(|_closed| IngestError::Behind)
    }

    /// Accepts one event.
    pub(crate) async fn accept(
        self: &Arc<Self>,
        event: CostEvent<'_>,
        mut tally: Tally,
    ) -> Result<Accepted, IngestError> {
        let outcome = match self.decide(event).await {
            Ok(Decision::New {
                accepted,
                guard,
                record,
            }) => {
                let appended = self.append_claimed(guard, record, tally).await;
                return appended.map(|()| accepted);
            }
            Ok(Decision::Known(accepted)) => Ok(accepted),
            Err(error) => Err(error),
        };
        match &outcome {
            Ok(_) => tally.accept(0, 1),
            Err(error) => tally.reject_all(error.into()),
        }
        outcome
    }

    /// Claims an event, or finds its first copy. A copy with other content goes into the log.
    async fn decide(self: &Arc<Self>, event: CostEvent<'_>) -> Result<Decision, IngestError> {
        self.check_room()?;
        let (id, org_id, content_hash) = (event.event_id, event.org_id, event.content_hash());
        let group = ClaimGroup::new();
        let standing = self
            .claims
            .claim(&group, [(id, event.created_at, content_hash)].into_iter());
        let record = self.record(&event)?;
        let claim = standing.into_iter().next().flatten();
        let guard = ClaimGuard::new(self, group, if claim.is_none() { vec![id] } else { Vec::new() });
        if let Some(claim) = &claim
            && !claim.group.is_durable().await
        {
            return Err(IngestError::FirstCopyFailed);
        }
        // A claim may itself be a copy of an event that was counted long ago.
        let known = self
            .look_up(&[(org_id, id)])
            .await
            .remove(&id)
            .map(|known| (known.created_at, known.content_hash));
        let first = known.or_else(|| claim.map(|claim| (claim.created_at, claim.content_hash)));
        let Some((created_at, first_hash)) = first else {
            let accepted = Accepted {
                id,
                created_at: event.created_at,
                is_new: true,
            };
            return Ok(Decision::New {
                accepted,
                guard,
                record,
            });
        };
        guard.settle_as_known();
        if first_hash != content_hash {
            // The processor lists it as a conflict; the first one counts.
            self.append(vec![record]).await?;
        }
        Ok(Decision::Known(Accepted {
            id,
            created_at,
            is_new: false,
        }))
    }

    /// Appends the only record of a claim, whatever becomes of the caller.
    async fn append_claimed(
        self: &Arc<Self>,
        guard: ClaimGuard,
        record: AppendRecord,
        mut tally: Tally,
    ) -> Result<(), IngestError> {
        let acceptor = Arc::clone(self);
        let append = tokio::spawn(async move {
            crash_point("ingest-before-append");
            let partition = record.partition;
            let appended = acceptor.append(vec![record]).await.map_err(IngestError::from);
            let offsets = appended.inspect_err(|error| tally.reject_all(error.into()))?;
            crash_point("ingest-after-append");
            tally.accept(1, 0);
            guard.settle(
                offsets
                    .into_iter()
                    .map(|offset| (partition, offset + 1))
                    .collect(),
            );
            Ok(())
        });
        append.await?
    }

    async fn append(&self, records: Vec<AppendRecord>) -> Result<Vec<u64>, LogError> {
        self.appender.append(&*self.log, records).await
    }

    fn record(&self, event: &CostEvent<'_>) -> Result<AppendRecord, IngestError> {
        Ok(AppendRecord {
            partition: event.event_id.partition(self.num_partitions),
            key: Bytes::copy_from_slice(event.event_id.0.as_bytes()),
            headers: content_type(topic::JSON),
            value: encode_event(event)?.into(),
        })
    }

    async fn look_up(&self, events: &[(OrgId, EventId)]) -> HashMap<EventId, KnownEvent> {
        let maybe = self.known.maybe_known(events.iter().map(|(org, id)| (*id, *org)));
        let ids: Vec<_> = maybe.into_iter().map(|(id, org)| (org, id)).collect();
        self.lookups.look_up(&ids).await
    }

    /// Claims the events of a batch that no request has brought yet. To be followed by
    /// [`Acceptor::accept_claimed`]; dropping the result gives the claims up.
    pub(crate) fn claim(self: &Arc<Self>, batch: EventBatch) -> ClaimedBatch {
        let group = ClaimGroup::new();
        let standing = self.claims.claim(&group, batch.keys());
        let guard = ClaimGuard::new(self, group, batch.ids_where(|row| standing[row].is_none()));
        ClaimedBatch {
            guard,
            standing,
            batch,
        }
    }

    /// Appends the new events of a claimed batch, whatever becomes of the caller, and answers once
    /// they are durable.
    pub(crate) async fn accept_claimed(
        self: &Arc<Self>,
        claimed: ClaimedBatch,
        mut tally: Tally,
    ) -> Result<BatchOutcome, IngestError> {
        let acceptor = Arc::clone(self);
        let append = tokio::spawn(async move {
            let outcome = acceptor.append_batch(claimed).await;
            match &outcome {
                Ok(outcome) => tally.accept(outcome.num_new(), outcome.num_duplicates()),
                Err(error) => tally.reject_all(error.into()),
            }
            outcome
        });
        append.await?
    }

    async fn append_batch(&self, claimed: ClaimedBatch) -> Result<BatchOutcome, IngestError> {
        let ClaimedBatch {
            mut guard,
            standing,
            batch,
        } = claimed;
        let known = self
            .look_up(&batch.org_and_ids_where(|row| standing[row].is_none()))
            .await;
        let mut events = Vec::with_capacity(batch.len());
        let mut is_conflict = vec![false; batch.len()];
        for (row, (id, created_at, hash)) in batch.keys().enumerate() {
            let first = match &standing[row] {
                Some(claim) => Some((claim.created_at, claim.content_hash)),
                None => known.get(&id).map(|known| (known.created_at, known.content_hash)),
            };
            is_conflict[row] = first.is_some_and(|(_, first_hash)| first_hash != hash);
            let created_at = first.map_or(created_at, |(first_created_at, _)| first_created_at);
            events.push(Accepted {
                id,
                created_at,
                is_new: first.is_none(),
            });
        }
        let is_new: Vec<bool> = events.iter().map(|event| event.is_new).collect();
        crash_point("ingest-before-append");
        let processed_at = self.append_rows(&batch, &is_new).await?;
        crash_point("ingest-after-append");
        guard.release(known.keys().copied().collect());
        guard.settle(processed_at);
        // First copies that other requests brought must be durable before this one is answered, and
        // stand in the log before any copy with other content: the first one counts.
        for claim in standing.iter().flatten() {
            if !claim.group.is_durable().await {
                return Err(IngestError::FirstCopyFailed);
            }
        }
        self.append_rows(&batch, &is_conflict).await?;
        Ok(BatchOutcome { events })
    }

    /// Appends some rows; returns the next offset after them, by partition.
    async fn append_rows(&self, batch: &EventBatch, keep: &[bool]) -> Result<Vec<(u32, u64)>, IngestError> {
        let records = batch.records(keep, self.num_partitions)?;
        if records.is_empty() {
            return Ok(Vec::new());
        }
        let partitions: Vec<u32> = records.iter().map(|record| record.partition).collect();
        let offsets = self.append(records).await?;
        Ok(partitions
            .into_iter()
            .zip(offsets.into_iter().map(|offset| offset + 1))
            .collect())
    }
}

/// Returns the headers of a record.
pub(crate) fn content_type(name: &'static str) -> Vec<(String, Bytes)> {
    vec![(
        topic::CONTENT_TYPE.to_owned(),
        Bytes::from_static(name.as_bytes()),
    )]
}

/// A batch whose new events are claimed.
#[derive(Debug)]
pub(crate) struct ClaimedBatch {
    guard: ClaimGuard,
    /// The standing claim of each event that is not new to this node.
    standing: Vec<Option<Claim>>,
    batch: EventBatch,
}

/// The claims of one append, given up unless they are settled.
#[derive(Debug)]
struct ClaimGuard {
    acceptor: Arc<Acceptor>,
    group: Arc<ClaimGroup>,
    ids: Vec<EventId>,
    is_settled: bool,
}

impl ClaimGuard {
    fn new(acceptor: &Arc<Acceptor>, group: Arc<ClaimGroup>, ids: Vec<EventId>) -> Self {
        Self {
            acceptor: Arc::clone(acceptor),
            group,
            ids,
            is_settled: false,
        }
    }

    /// Gives up single claims: their events turned out to be known.
    fn release(&mut self, known: Vec<EventId>) {
        self.acceptor.claims.release(&known);
        if !known.is_empty() {
            let known: std::collections::HashSet<_> = known.into_iter().collect();
            self.ids.retain(|id| !known.contains(id));
        }
    }

    /// Settles claims whose events were counted before.
    fn settle_as_known(mut self) {
        self.release(self.ids.clone());
        self.settle(Vec::new());
    }

    /// Keeps the claims until the processor has passed the records.
    fn settle(mut self, processed_at: Vec<(u32, u64)>) {
        self.is_settled = true;
        let ids = std::mem::take(&mut self.ids);
        self.acceptor.claims.settle(&self.group, ids, processed_at);
    }
}

impl Drop for ClaimGuard {
    fn drop(&mut self) {
        if !self.is_settled {
            self.acceptor.claims.fail(&self.group, &self.ids);
        }
    }
}
