//! Cost events: decode, remove duplicates, roll up.

mod misplaced;

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, UInt32Array, UInt64Array};
use arrow::buffer::Buffer;
use arrow::compute::{concat_batches, filter_record_batch};
use arrow::error::ArrowError;
use known_events::{BatchRange, KnownEvents, lookup_known_events};
use schemas::arrow::{cost_event_at, cost_event_schema};
use schemas::codec::{Rejected, decode_cost_events, encode_event};
use schemas::id::{EventId, OrgId};
use schemas::reject::RejectReason;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use warehouse::Warehouse;

use super::{Prepared, TableInsert, table};
use crate::batch::Batch;
use crate::dead_letter::{DeadLetters, content_type};
use crate::dedupe::{EventKeys, Verdict, judge};
use crate::error::ProcessorError;
use crate::rollup::{RollUpInput, roll_up_costs};
use crate::stats::TopicCounts;
use crate::writer::retrying;
use misplaced::{Misplaced, split_off_misplaced};

/// The plan of topic [`topic::COST_EVENTS`].
#[derive(Debug)]
pub(crate) struct CostEventPlan {
    warehouse: Warehouse,
    known: Arc<KnownEvents>,
}

/// The events of a batch, in the order of the log.
struct Decoded {
    rows: RecordBatch,
    /// Offset, and place within its record, of each row.
    places: Vec<(u64, u32)>,
    dead_letters: DeadLetters,
    moved: Misplaced,
}

impl CostEventPlan {
    pub(crate) const fn new(warehouse: Warehouse, known: Arc<KnownEvents>) -> Self {
        Self { warehouse, known }
    }

    pub(crate) async fn load(&self, partition: u32) -> Result<(), ProcessorError> {
        retrying("load the ids of known events", || async {
            Ok(self.known.load_partition(&self.warehouse, partition).await?)
        })
        .await
    }

    pub(crate) async fn prepare(&self, batch: Arc<Batch>) -> Result<Prepared, ProcessorError> {
        let decoding = Arc::clone(&batch);
        let decoded = spawn_blocking(move || decode(&decoding)).await??;
        let candidates = self.candidates(&batch, &decoded.rows)?;
        let ignoring = BatchRange {
            partition: batch.topic_partition.partition,
            start: batch.start,
            end: batch.end,
        };
        let known = lookup_known_events(&self.warehouse, &candidates, Some(ignoring)).await?;
        let runtime = Handle::current();
        spawn_blocking(move || {
            let verdicts = judge(&EventKeys::of(&decoded.rows)?, &known);
            finish(&batch, decoded, &verdicts, &runtime)
        })
        .await?
    }

    /// Returns the events that may have been counted before. The filter speaks for the layout in
    /// force; in the replay of a batch of an older one, all of them may.
    fn candidates(&self, batch: &Batch, rows: &RecordBatch) -> Result<Vec<(OrgId, EventId)>, ProcessorError> {
        let keys = EventKeys::of(rows)?;
        let ids = (0..rows.num_rows()).map(|row| (keys.event_id(row), keys.org_id(row)));
        let candidates = if batch.num_partitions == self.known.num_partitions() {
            self.known.maybe_known(ids)
        } else {
            ids.collect()
        };
        Ok(candidates.into_iter().map(|(event, org)| (org, event)).collect())
    }

    pub(crate) fn written(&self, prepared: &Prepared) {
        self.known.insert_all(prepared.new_ids.iter().copied());
    }
}

fn decode(batch: &Batch) -> Result<Decoded, ProcessorError> {
    let mut dead_letters = DeadLetters::new(&batch.topic_partition);
    let mut parts = Vec::with_capacity(batch.records.len());
    let mut places = Vec::new();
    for record in &batch.records {
        match decode_cost_events(content_type(record), Buffer::from(record.value.clone())) {
            Ok(batches) => {
                let mut row_index = 0;
                for part in batches {
                    places.extend((0..part.num_rows()).map(|_| {
                        row_index += 1;
                        (record.offset, row_index - 1)
                    }));
                    parts.push(part);
                }
            }
            Err(rejected) => dead_letters.push_record(record, rejected),
        }
    }
    let rows = concat_batches(&cost_event_schema(), &parts)?;
    let (all, all_places) = (rows.clone(), places.clone());
    let (rows, places, moved) = split_off_misplaced(batch, rows, places)?;
    for row in &moved.too_large {
        keep_too_large(&mut dead_letters, &all, *row, all_places[*row])?;
    }
    Ok(Decoded {
        rows,
        places,
        dead_letters,
        moved,
    })
}

/// Keeps the new events, and turns conflicts into dead letters.
fn finish(
    batch: &Batch,
    decoded: Decoded,
    verdicts: &[Verdict],
    runtime: &Handle,
) -> Result<Prepared, ProcessorError> {
    let Decoded {
        rows,
        places,
        mut dead_letters,
        moved,
    } = decoded;
    let mut counts = TopicCounts {
        moved: moved.num_events,
        ..TopicCounts::default()
    };
    for (row, verdict) in verdicts.iter().enumerate() {
        match verdict {
            Verdict::New => counts.inserted += 1,
            Verdict::Duplicate => counts.duplicates += 1,
            Verdict::Conflict => keep_conflict(&mut dead_letters, &rows, row, places[row])?,
        }
    }
    let is_new: BooleanArray = verdicts
        .iter()
        .map(|verdict| Some(*verdict == Verdict::New))
        .collect();
    let all_new = counts.inserted == verdicts.len() as u64;
    let new_rows = if all_new {
        rows
    } else {
        filter_record_batch(&rows, &is_new)?
    };
    let offsets = places
        .iter()
        .zip(verdicts)
        .filter(|(_, verdict)| **verdict == Verdict::New);
    let offsets: Vec<u64> = offsets.map(|((offset, _), _)| *offset).collect();
    let keys = EventKeys::of(&new_rows)?;
    let new_ids = (0..new_rows.num_rows()).map(|row| keys.event_id(row)).collect();
    let ids = id_rows(&new_rows, batch.topic_partition.partition, offsets)?;
    let deltas = runtime.block_on(roll_up_costs(&RollUpInput::of(&new_rows)?))?;
    // The ids come before the rows they stand for: a row without its id could be counted again.
    let mut inserts = vec![
        TableInsert {
            table: "cost_event_ids",
            rows: ids,
        },
        TableInsert {
            table: "cost_events",
            rows: new_rows,
        },
    ];
    inserts.extend(
        deltas
            .into_iter()
            .map(|(table, rows)| TableInsert { table, rows }),
    );
    let prepared = Prepared::new(batch, inserts, dead_letters, counts, new_ids)?;
    Ok(Prepared {
        moved: moved.records,
        ..prepared
    })
}

/// The rows of `cost_event_ids`.
fn id_rows(rows: &RecordBatch, partition: u32, offsets: Vec<u64>) -> Result<RecordBatch, ProcessorError> {
    let column = |name: &'static str| -> Result<(&'static str, ArrayRef), ProcessorError> {
        Ok((name, Arc::clone(rows.column(rows.schema().index_of(name)?))))
    };
    let partitions = UInt32Array::from(vec![partition; rows.num_rows()]);
    Ok(table(vec![
        column("org_id")?,
        column("event_id")?,
        column("created_at")?,
        column("content_hash")?,
        ("log_partition", Arc::new(partitions)),
        ("log_offset", Arc::new(UInt64Array::from(offsets))),
    ])?)
}

/// Lists an event that belongs to another partition and does not fit a record that would move it.
fn keep_too_large(
    dead_letters: &mut DeadLetters,
    rows: &RecordBatch,
    row: usize,
    place: (u64, u32),
) -> Result<(), ProcessorError> {
    let rejected = Rejected {
        reason: RejectReason::InvalidValue,
        detail: "the event stands in another partition than its own, and is too large to be moved".to_owned(),
    };
    keep_event(dead_letters, rows, row, place, rejected)
}

/// Lists an event that reuses a key for other content. The raw bytes are the event alone, as a
/// plain JSON record.
fn keep_conflict(
    dead_letters: &mut DeadLetters,
    rows: &RecordBatch,
    row: usize,
    place: (u64, u32),
) -> Result<(), ProcessorError> {
    let keys = EventKeys::of(rows)?;
    let rejected = Rejected {
        reason: RejectReason::IdempotencyConflict,
        detail: format!(
            "event {} was counted before with other content",
            keys.event_id(row)
        ),
    };
    keep_event(dead_letters, rows, row, place, rejected)
}

fn keep_event(
    dead_letters: &mut DeadLetters,
    rows: &RecordBatch,
    row: usize,
    place: (u64, u32),
    rejected: Rejected,
) -> Result<(), ProcessorError> {
    let keys = EventKeys::of(rows)?;
    let event = cost_event_at(rows, row)?;
    let raw = encode_event(&event).map_err(|error| ArrowError::JsonError(error.to_string()))?;
    dead_letters.push_event(keys.org_id(row), place, rejected, raw, keys.received_at_ms(row));
    Ok(())
}
