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

/// Events of one record that is appended, at most.
const MAX_EVENTS: usize = 8_192;
/// A record of several events that is larger is split, so that it stays well below the log's limit.
const SPLIT_BYTES: usize = 4 << 20;
/// An event that is larger alone cannot be moved: it would leave no room within the log's limit.
const MAX_EVENT_BYTES: usize = 15 << 20;

/// Events for other partitions.
#[derive(Debug, Default)]
pub(super) struct Misplaced {
    pub(super) num_events: u64,
    /// Arrow records, each for the partition that its events belong to.
    pub(super) records: Vec<AppendRecord>,
    /// Rows of events that are too large to be moved.
    pub(super) too_large: Vec<usize>,
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
        for chunk in indices.chunks(MAX_EVENTS) {
            move_events(&mut moved, &rows, partition, chunk)?;
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

/// Adds a record of the rows `indices`, or several where one would be too large.
fn move_events(
    moved: &mut Misplaced,
    rows: &RecordBatch,
    partition: u32,
    indices: &[u64],
) -> Result<(), ArrowError> {
    let events = take_record_batch(rows, &UInt64Array::from(indices.to_vec()))?;
    let value = encode_events(&events)?;
    if value.len() > SPLIT_BYTES && indices.len() > 1 {
        let (first, second) = indices.split_at(indices.len() / 2);
        move_events(moved, rows, partition, first)?;
        return move_events(moved, rows, partition, second);
    }
    if value.len() > MAX_EVENT_BYTES {
        let too_large = indices.iter().filter_map(|row| usize::try_from(*row).ok());
        moved.too_large.extend(too_large);
        return Ok(());
    }
    moved.num_events += indices.len() as u64;
    moved.records.push(AppendRecord {
        partition,
        key: Bytes::new(),
        headers: vec![(
            topic::CONTENT_TYPE.to_owned(),
            Bytes::from_static(topic::ARROW_STREAM.as_bytes()),
        )],
        value: value.into(),
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use event_log::TopicPartition;
    use schemas::arrow::CostEventBuilder;
    use schemas::cost_event::{CostEvent, EventType, Source};
    use schemas::id::{EventId, OrgId};
    use schemas::time::TimestampMs;
    use uuid::Uuid;

    use super::*;

    fn rows(num_events: u32, text_bytes: usize) -> RecordBatch {
        let mut builder = CostEventBuilder::default();
        for number in 0..num_events {
            let request_id = number.to_string();
            let event = CostEvent {
                event_id: EventId::derive(OrgId(Uuid::nil()), &request_id, "p"),
                request_id: Cow::Owned(request_id),
                org_id: OrgId(Uuid::nil()),
                api_key_id: None,
                provider: Cow::Borrowed("p"),
                model: Cow::Borrowed("m"),
                event_type: EventType::Llm,
                source: Source::Api,
                input_tokens: 0,
                output_tokens: 0,
                cached_input_tokens: 0,
                reasoning_tokens: 0,
                cost_microdollars: 1,
                cost_breakdown: None,
                duration_ms: None,
                session_id: Cow::Owned("s".repeat(text_bytes)),
                trace_id: Cow::Borrowed(""),
                tool_name: Cow::Borrowed(""),
                tool_server: Cow::Borrowed(""),
                customer_id: Cow::Borrowed(""),
                tags: Vec::new(),
                created_at: TimestampMs(0),
                received_at: TimestampMs(0),
            };
            builder.append(&event).unwrap();
        }
        builder.finish().unwrap()
    }

    fn split(rows: RecordBatch, num_partitions: u32) -> (RecordBatch, Misplaced) {
        let places = (0..rows.num_rows() as u32).map(|row| (0, row)).collect();
        let batch = Batch {
            topic_partition: TopicPartition::new("cost-events", 0),
            start: 0,
            end: 1,
            num_partitions,
            records: Vec::new(),
        };
        let (own, places, moved) = split_off_misplaced(&batch, rows, places).unwrap();
        assert_eq!(own.num_rows(), places.len());
        (own, moved)
    }

    #[test]
    fn every_event_stays_or_is_moved_home_once() {
        let (own, moved) = split(rows(1_000, 10), 3);
        assert_eq!(own.num_rows() as u64 + moved.num_events, 1_000);
        assert_eq!(moved.records.len(), 2);
        for record in &moved.records {
            let value = record.value.to_vec().into();
            let batches = schemas::codec::decode_cost_events(topic::ARROW_STREAM.as_bytes(), value).unwrap();
            for batch in batches {
                let keys = EventKeys::of(&batch).unwrap();
                assert!((0..batch.num_rows()).all(|row| keys.event_id(row).partition(3) == record.partition));
            }
        }
        let (own, moved) = split(rows(100, 10), 1);
        assert_eq!((own.num_rows(), moved.num_events), (100, 0));
    }

    #[test]
    fn large_events_are_moved_in_more_records_and_too_large_ones_are_not() {
        let (own, moved) = split(rows(60, 1 << 20), 2);
        assert_eq!(own.num_rows() as u64 + moved.num_events, 60);
        assert!(moved.records.len() > 5, "{}", moved.records.len());
        assert!(
            moved
                .records
                .iter()
                .all(|record| record.value.len() <= SPLIT_BYTES)
        );
        let (own, moved) = split(rows(4, MAX_EVENT_BYTES + 1), 2);
        assert_eq!((own.num_rows() + moved.too_large.len(), moved.num_events), (4, 0));
        assert!(!moved.too_large.is_empty());
    }
}
