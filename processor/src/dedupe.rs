//! Which events of a batch are new. Decided by the batch and by what was durable before it, so a
//! replay decides the same.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use arrow::array::{AsArray, FixedSizeBinaryArray, RecordBatch, TimestampMillisecondArray, UInt64Array};
use arrow::datatypes::{TimestampMillisecondType, UInt64Type};
use arrow::error::ArrowError;
use known_events::KnownEvent;
use schemas::arrow::uuid_at;
use schemas::id::{EventId, OrgId};

/// What becomes of one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Counts.
    New,
    /// Was counted, with the same content.
    Duplicate,
    /// Was counted with other content: the first one wins.
    Conflict,
}

/// The columns that identify the events of a batch.
#[derive(Debug)]
pub(crate) struct EventKeys<'a> {
    event_ids: &'a FixedSizeBinaryArray,
    org_ids: &'a FixedSizeBinaryArray,
    content_hashes: &'a UInt64Array,
    received_at: &'a TimestampMillisecondArray,
}

impl<'a> EventKeys<'a> {
    pub(crate) fn of(rows: &'a RecordBatch) -> Result<Self, ArrowError> {
        let column = |name: &str| Ok::<_, ArrowError>(rows.column(rows.schema_ref().index_of(name)?));
        Ok(Self {
            event_ids: column("event_id")?.as_fixed_size_binary(),
            org_ids: column("org_id")?.as_fixed_size_binary(),
            content_hashes: column("content_hash")?.as_primitive::<UInt64Type>(),
            received_at: column("received_at")?.as_primitive::<TimestampMillisecondType>(),
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.content_hashes.values().len()
    }

    pub(crate) fn event_id(&self, row: usize) -> EventId {
        EventId(uuid_at(self.event_ids, row))
    }

    pub(crate) fn org_id(&self, row: usize) -> OrgId {
        OrgId(uuid_at(self.org_ids, row))
    }

    fn content_hash(&self, row: usize) -> u64 {
        self.content_hashes.value(row)
    }

    pub(crate) fn received_at_ms(&self, row: usize) -> i64 {
        self.received_at.value(row)
    }
}

/// Judges the events in order: the first of an id counts, unless it is among `known`.
pub(crate) fn judge(keys: &EventKeys<'_>, known: &HashMap<EventId, KnownEvent>) -> Vec<Verdict> {
    let mut first_in_batch: HashMap<EventId, u64> = HashMap::with_capacity(keys.len());
    let repeated = |first: u64, hash: u64| {
        if first == hash {
            Verdict::Duplicate
        } else {
            Verdict::Conflict
        }
    };
    (0..keys.len())
        .map(|row| {
            let (id, hash) = (keys.event_id(row), keys.content_hash(row));
            if let Some(counted) = known.get(&id) {
                return repeated(counted.content_hash, hash);
            }
            match first_in_batch.entry(id) {
                Entry::Occupied(first) => repeated(*first.get(), hash),
                Entry::Vacant(slot) => {
                    slot.insert(hash);
                    Verdict::New
                }
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;
    use schemas::arrow::CostEventBuilder;
    use schemas::cost_event::{CostEvent, EventType, Source};
    use schemas::time::TimestampMs;
    use uuid::Uuid;

    use super::*;

    fn rows(events: &[(u128, i64)]) -> RecordBatch {
        let mut builder = CostEventBuilder::default();
        for (id, cost) in events {
            let text = Cow::Borrowed("x");
            let event = CostEvent {
                event_id: EventId(Uuid::from_u128(*id)),
                request_id: text.clone(),
                org_id: OrgId(Uuid::nil()),
                api_key_id: None,
                provider: text.clone(),
                model: text.clone(),
                event_type: EventType::Llm,
                source: Source::Api,
                input_tokens: 0,
                output_tokens: 0,
                cached_input_tokens: 0,
                reasoning_tokens: 0,
                cost_microdollars: *cost,
                cost_breakdown: None,
                duration_ms: None,
                session_id: text.clone(),
                trace_id: text.clone(),
                tool_name: text.clone(),
                tool_server: text.clone(),
                customer_id: text,
                tags: Vec::new(),
                created_at: TimestampMs(0),
                received_at: TimestampMs(0),
            };
            builder.append(&event).unwrap();
        }
        builder.finish().unwrap()
    }

    proptest! {
        /// However a stream of events is cut into batches, the first of each id counts, once, and
        /// exactly the later ones of other content are conflicts.
        #[test]
        fn the_first_of_an_id_counts_once(
            events in prop::collection::vec((0_u128..20, 0_i64..3), 1..80),
            batch_size in 1_usize..80,
        ) {
            let mut known = HashMap::new();
            let mut first: HashMap<u128, i64> = HashMap::new();
            for batch in events.chunks(batch_size) {
                let rows = rows(batch);
                let keys = EventKeys::of(&rows).unwrap();
                let verdicts = judge(&keys, &known);
                for (row, ((id, cost), verdict)) in batch.iter().zip(&verdicts).enumerate() {
                    let expected = match first.get(id) {
                        None => Verdict::New,
                        Some(first_cost) if first_cost == cost => Verdict::Duplicate,
                        Some(_) => Verdict::Conflict,
                    };
                    prop_assert_eq!(*verdict, expected);
                    first.entry(*id).or_insert(*cost);
                    if *verdict == Verdict::New {
                        let event = KnownEvent { created_at: TimestampMs(0), content_hash: keys.content_hash(row) };
                        known.insert(keys.event_id(row), event);
                    }
                }
            }
        }
    }
}
