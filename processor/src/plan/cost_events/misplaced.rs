//! Events that stand in another partition than their own: producers that spread records their own
//! way wrote them, or the topic got more partitions. Only the owner of an event's partition may judge
//! it, so they are appended there and counted here as moved.

use std::collections::BTreeMap;

use arrow::array::{BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::{filter_record_batch, take_record_batch};
use arrow::error::ArrowError;
use bytes::Bytes;
use event_log::AppendRecord;
use schemas::codec::encode_events;
use schemas::topic;

use crate::batch::Batch;
use crate::dedupe::EventKeys;

/// Events of one record that is appended; bounds its size well below the log's limit.
const MAX_EVENTS: usize = 8_192;

/// Events for other partitions.
#[derive(Debug, Default)]
pub(super) struct Misplaced {
    pub(super) num_events: u64,
    /// Arrow records, each for the partition that its events belong to.
    pub(super) records: Vec<AppendRecord>,
}

/// Offset, and place within its record, of a row.
type Place = (u64, u32);

/// Returns the events of this batch's own partition with their places, and the others.
pub(super) fn split_off_misplaced(
    batch: &Batch,
    rows: RecordBatch,
    places: Vec<Place>,
) -> Result<(RecordBatch, Vec<Place>, Misplaced), ArrowError> {
    let own = batch.topic_partition.partition;
    let keys = EventKeys::of(&rows)?;
    let homes: Vec<u32> = (0..rows.num_rows())
        .map(|row| keys.event_id(row).partition(batch.num_partitions))
        .collect();
    if homes.iter().all(|home| *home == own) {
        return Ok((rows, places, Misplaced::default()));
    }
    let mut by_home: BTreeMap<u32, Vec<u64>> = BTreeMap::new();
    for (row, home) in (0_u64..).zip(&homes).filter(|(_, home)| **home != own) {
        by_home.entry(*home).or_default().push(row);
    }
    let mut moved = Misplaced::default();
    for (partition, indices) in by_home {
        moved.num_events += indices.len() as u64;
        for chunk in indices.chunks(MAX_EVENTS) {
            let events = take_record_batch(&rows, &UInt64Array::from(chunk.to_vec()))?;
            moved.records.push(AppendRecord {
                partition,
                key: Bytes::new(),
                headers: vec![(
                    topic::CONTENT_TYPE.to_owned(),
                    Bytes::from_static(topic::ARROW_STREAM.as_bytes()),
                )],
                value: encode_events(&events)?.into(),
            });
        }
    }
    let is_own: BooleanArray = homes.iter().map(|home| Some(*home == own)).collect();
    let own_places = places
        .into_iter()
        .zip(&homes)
        .filter(|(_, home)| **home == own)
        .map(|(place, _)| place)
        .collect();
    Ok((filter_record_batch(&rows, &is_own)?, own_places, moved))
}
