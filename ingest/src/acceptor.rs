//! Takes validated events: decides which are new, appends those, and answers once they are
//! durable.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use event_log::{AppendRecord, EventLog, TopicPartition};
use known_events::{KnownEvents, lookup_known_events};
use schemas::codec::encode_event;
use schemas::cost_event::CostEvent;
use schemas::id::{EventId, OrgId};
use schemas::time::TimestampMs;
use schemas::topic;
use telemetry::crash_point;
use tokio::sync::watch;
use warehouse::Warehouse;

use crate::IngestParts;
use crate::batch::EventBatch;
use crate::claims::{Claim, ClaimGroup, Claims};
use crate::error::IngestError;

/// How far the processor came: the next offset of each partition.
pub type Progress = BTreeMap<TopicPartition, u64>;

/// Accepts events on one node.
#[derive(Debug)]
pub struct Acceptor {
    log: Arc<dyn EventLog>,
    warehouse: Warehouse,
    known: Arc<KnownEvents>,
    progress: watch::Receiver<Progress>,
    claims: Claims,
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

/// What became of a batch, event by event, in its order.
#[derive(Debug)]
pub(crate) struct BatchOutcome {
    pub(crate) events: Vec<Accepted>,
}

impl BatchOutcome {
    pub(crate) fn num_new(&self) -> u64 {
        self.events.iter().filter(|event| event.is_new).count() as u64
    }
}

impl Acceptor {
    pub(crate) fn new(parts: IngestParts) -> Result<Self, IngestError> {
        Ok(Self {
            num_partitions: parts.log.num_partitions(topic::COST_EVENTS)?,
            log: parts.log,
            warehouse: parts.warehouse,
            known: parts.known,
            progress: parts.progress,
            claims: Claims::default(),
            max_unprocessed_events: parts.max_unprocessed_events,
        })
    }

    /// Returns the number of events that are received but not processed.
    pub fn num_unprocessed(&self) -> usize {
        self.claims.len()
    }

    /// Follows the processor and forgets what it has passed; ends with the processor.
    pub async fn forget_processed(&self) {
        let mut progress = self.progress.clone();
        while progress.changed().await.is_ok() {
            let reached = progress.borrow_and_update().clone();
            let next_offset = |partition| {
                reached
                    .get(&TopicPartition::new(topic::COST_EVENTS, partition))
                    .copied()
                    .unwrap_or(0)
            };
            self.claims.forget_processed(next_offset);
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

    /// Waits for room, for senders that can be slowed down.
    pub(crate) async fn wait_for_room(&self) -> Result<(), IngestError> {
        let mut progress = self.progress.clone();
        while self.check_room().is_err() {
            // A processor that is gone makes no room any more.
            progress.changed().await.map_err(|_closed| IngestError::Behind)?;
            tokio::task::yield_now().await;
        }
        Ok(())
    }

    /// Accepts one event.
    pub(crate) async fn accept(&self, event: CostEvent<'_>) -> Result<Accepted, IngestError> {
        self.check_room()?;
        let (id, content_hash) = (event.event_id, event.content_hash());
        let guard = PendingGroup::new(&self.claims);
        let standing = self
            .claims
            .claim(&guard.group, [(id, event.created_at, content_hash)].into_iter())
            .pop();
        let known = match standing.flatten() {
            Some(claim) => Some(self.follow(&claim).await?),
            None => {
                let guard = guard.with_ids(vec![id]);
                match self.look_up(&[(event.org_id, id)]).await?.remove(&id) {
                    Some(known) => Some((known.created_at, known.content_hash)),
                    None => return self.append_one(guard, &event).await,
                }
            }
        };
        let (created_at, first_hash) = known.unwrap_or((event.created_at, content_hash));
        if first_hash != content_hash {
            // The processor lists it as a conflict; the first one counts.
            self.append_record(&event).await?;
        }
        Ok(Accepted {
            id,
            created_at,
            is_new: false,
        })
    }

    async fn append_one(
        &self,
        guard: PendingGroup<'_>,
        event: &CostEvent<'_>,
    ) -> Result<Accepted, IngestError> {
        crash_point("ingest-before-append");
        let position = self.append_record(event).await?;
        crash_point("ingest-after-append");
        guard.settle(vec![position]);
        Ok(Accepted {
            id: event.event_id,
            created_at: event.created_at,
            is_new: true,
        })
    }

    async fn append_record(&self, event: &CostEvent<'_>) -> Result<(u32, u64), IngestError> {
        let partition = event.event_id.partition(self.num_partitions);
        let record = AppendRecord {
            partition,
            key: Bytes::copy_from_slice(event.event_id.0.as_bytes()),
            headers: content_type(topic::JSON),
            value: encode_event(event)?.into(),
        };
        let offsets = self.log.append(topic::COST_EVENTS, vec![record]).await?;
        Ok((partition, offsets.last().map_or(0, |offset| offset + 1)))
    }

    /// Waits for the first copy; answers with its time and content.
    async fn follow(&self, claim: &Claim) -> Result<(TimestampMs, u64), IngestError> {
        if claim.group.is_durable().await {
            Ok((claim.created_at, claim.content_hash))
        } else {
            Err(IngestError::FirstCopyFailed)
        }
    }

    async fn look_up(
        &self,
        events: &[(OrgId, EventId)],
    ) -> Result<std::collections::HashMap<EventId, known_events::KnownEvent>, IngestError> {
        let maybe = self.known.maybe_known(events.iter().map(|(org, id)| (*id, *org)));
        let ids: Vec<_> = maybe.into_iter().map(|(id, org)| (org, id)).collect();
        Ok(lookup_known_events(&self.warehouse, &ids, None).await?)
    }

    /// Claims the events of a batch that no request has brought yet. To be followed by
    /// [`Acceptor::accept_claimed`]; dropping the result gives the claims up.
    pub(crate) fn claim(self: &Arc<Self>, batch: EventBatch) -> ClaimedBatch {
        let group = ClaimGroup::new();
        let standing = self.claims.claim(&group, batch.keys());
        let ids = batch.ids_where(|row| standing[row].is_none());
        ClaimedBatch {
            acceptor: Arc::clone(self),
            group,
            standing,
            ids,
            batch,
            is_settled: false,
        }
    }

    /// Appends the new events of a claimed batch and answers once they are durable.
    pub(crate) async fn accept_claimed(
        &self,
        mut claimed: ClaimedBatch,
    ) -> Result<BatchOutcome, IngestError> {
        let orgs_and_ids = claimed
            .batch
            .org_and_ids_where(|row| claimed.standing[row].is_none());
        let known = self.look_up(&orgs_and_ids).await?;
        let mut events = Vec::with_capacity(claimed.batch.len());
        let mut is_appended = Vec::with_capacity(claimed.batch.len());
        for (row, (id, created_at, hash)) in claimed.batch.keys().enumerate() {
            let first = match &claimed.standing[row] {
                Some(claim) => Some((claim.created_at, claim.content_hash)),
                None => known.get(&id).map(|known| (known.created_at, known.content_hash)),
            };
            // A conflict is appended too: the processor lists it, and the first one counts.
            is_appended.push(first.is_none_or(|(_, first_hash)| first_hash != hash));
            let created_at = first.map_or(created_at, |(first_created_at, _)| first_created_at);
            events.push(Accepted {
                id,
                created_at,
                is_new: first.is_none(),
            });
        }
        crash_point("ingest-before-append");
        let records = claimed.batch.records(&is_appended, self.num_partitions)?;
        let partitions: Vec<u32> = records.iter().map(|record| record.partition).collect();
        let offsets = if records.is_empty() {
            Vec::new()
        } else {
            self.log.append(topic::COST_EVENTS, records).await?
        };
        crash_point("ingest-after-append");
        let processed_at = partitions
            .into_iter()
            .zip(offsets.into_iter().map(|offset| offset + 1))
            .collect();
        claimed.settle(known.keys().copied().collect(), processed_at);
        // Copies that other requests brought first must be durable too before this one is answered.
        for claim in claimed.standing.iter().flatten() {
            self.follow(claim).await?;
        }
        Ok(BatchOutcome { events })
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
    acceptor: Arc<Acceptor>,
    group: Arc<ClaimGroup>,
    /// The standing claim of each event that is not new to this node.
    standing: Vec<Option<Claim>>,
    /// The claimed events.
    ids: Vec<EventId>,
    batch: EventBatch,
    is_settled: bool,
}

impl ClaimedBatch {
    /// Keeps the claims until the processor has passed the records, but for `known` events.
    fn settle(&mut self, known: Vec<EventId>, processed_at: Vec<(u32, u64)>) {
        self.is_settled = true;
        self.acceptor.claims.release(&known);
        let ids = std::mem::take(&mut self.ids);
        self.acceptor.claims.settle(&self.group, ids, processed_at);
    }
}

impl Drop for ClaimedBatch {
    fn drop(&mut self) {
        if !self.is_settled {
            self.acceptor.claims.fail(&self.group, &self.ids);
        }
    }
}

/// The claim of a single event, given up unless it is settled.
struct PendingGroup<'a> {
    claims: &'a Claims,
    group: Arc<ClaimGroup>,
    ids: Vec<EventId>,
}

impl<'a> PendingGroup<'a> {
    fn new(claims: &'a Claims) -> Self {
        Self {
            claims,
            group: ClaimGroup::new(),
            ids: Vec::new(),
        }
    }

    fn with_ids(mut self, ids: Vec<EventId>) -> Self {
        self.ids = ids;
        self
    }

    fn settle(mut self, processed_at: Vec<(u32, u64)>) {
        let ids = std::mem::take(&mut self.ids);
        self.claims.settle(&self.group, ids, processed_at);
    }
}

impl Drop for PendingGroup<'_> {
    fn drop(&mut self) {
        if !self.ids.is_empty() {
            self.claims.fail(&self.group, &self.ids);
        }
    }
}
