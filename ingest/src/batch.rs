//! Many events in columns, as they go into one record per partition.

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use event_log::AppendRecord;
use schemas::arrow::CostEventBuilder;
use schemas::codec::encode_events;
use schemas::cost_event::CostEvent;
use schemas::id::{EventId, OrgId};
use schemas::time::TimestampMs;
use schemas::topic;

use crate::acceptor::content_type;

/// Events in the order of their request.
#[derive(Debug)]
pub(crate) struct EventBatch {
    rows: RecordBatch,
    org_id: OrgId,
    keys: Vec<(EventId, TimestampMs, u64)>,
}

/// Collects events of one organization.
#[derive(Debug)]
pub(crate) struct EventBatchBuilder {
    rows: CostEventBuilder,
    org_id: OrgId,
    keys: Vec<(EventId, TimestampMs, u64)>,
}

impl EventBatchBuilder {
    pub(crate) fn new(org_id: OrgId, capacity: usize) -> Self {
        Self {
            rows: CostEventBuilder::with_capacity(capacity),
            org_id,
            keys: Vec::with_capacity(capacity),
        }
    }

    pub(crate) fn append(&mut self, event: &CostEvent<'_>) -> Result<(), ArrowError> {
        debug_assert!(event.org_id == self.org_id, "a request has one organization");
        let content_hash = self.rows.append(event)?;
        self.keys.push((event.event_id, event.created_at, content_hash));
        Ok(())
    }

    pub(crate) fn finish(mut self) -> Result<EventBatch, ArrowError> {
        Ok(EventBatch {
            rows: self.rows.finish()?,
            org_id: self.org_id,
            keys: self.keys,
        })
    }
}

impl EventBatch {
    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// Returns id, event time and content hash of each event.
    pub(crate) fn keys(&self) -> impl Iterator<Item = (EventId, TimestampMs, u64)> + '_ {
        self.keys.iter().copied()
    }

    pub(crate) fn ids_where(&self, keep: impl Fn(usize) -> bool) -> Vec<EventId> {
        self.keys
            .iter()
            .enumerate()
            .filter(|(row, _)| keep(*row))
            .map(|(_, (id, ..))| *id)
            .collect()
    }

    pub(crate) fn org_and_ids_where(&self, keep: impl Fn(usize) -> bool) -> Vec<(OrgId, EventId)> {
        self.ids_where(keep)
            .into_iter()
            .map(|id| (self.org_id, id))
            .collect()
    }

    /// Encodes the events to append: at most one record per partition, none where there is none.
    pub(crate) fn records(
        &self,
        is_appended: &[bool],
        num_partitions: u32,
    ) -> Result<Vec<AppendRecord>, ArrowError> {
        let mut records = Vec::new();
        for partition in 0..num_partitions {
            let rows = self.keys.iter().zip(is_appended);
            let mask: BooleanArray = rows
                .map(|((id, ..), keep)| Some(*keep && id.partition(num_partitions) == partition))
                .collect();
            if mask.true_count() == 0 {
                continue;
            }
            let is_whole = mask.true_count() == self.len();
            let rows = if is_whole {
                self.rows.clone()
            } else {
                filter_record_batch(&self.rows, &mask)?
            };
            records.push(AppendRecord {
                partition,
                key: Bytes::new(),
                headers: content_type(topic::ARROW_STREAM),
                value: encode_events(&rows)?.into(),
            });
        }
        debug_assert!(
            records.len() <= num_partitions as usize,
            "one record per partition at most"
        );
        Ok(records)
    }
}
