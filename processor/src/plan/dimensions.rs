//! Changes of the control store: rows of the dimension tables.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, UInt8Array, UInt64Array};
use arrow::error::ArrowError;
use schemas::arrow::UuidBuilder;
use schemas::codec::decode_record;
use schemas::mapping::MappingChange;
use uuid::Uuid;

use super::{Prepared, TableInsert, table, texts, times};
use crate::batch::Batch;
use crate::dead_letter::DeadLetters;
use crate::error::ProcessorError;
use crate::stats::TopicCounts;

pub(crate) fn prepare(batch: &Batch) -> Result<Prepared, ProcessorError> {
    let mut dead_letters = DeadLetters::new(&batch.topic_partition);
    let mut changes: Vec<MappingChange> = Vec::with_capacity(batch.records.len());
    for record in &batch.records {
        match decode_record(&record.value) {
            Ok(change) => changes.push(change),
            Err(rejected) => dead_letters.push_record(record, rejected),
        }
    }
    let counts = TopicCounts {
        inserted: changes.len() as u64,
        ..TopicCounts::default()
    };
    let inserts = vec![TableInsert {
        table: "customer_mappings",
        rows: mapping_rows(&changes)?,
    }];
    Prepared::new(batch, inserts, dead_letters, counts, Vec::new())
}

fn mapping_rows(changes: &[MappingChange]) -> Result<RecordBatch, ArrowError> {
    let uuids = |of: fn(&MappingChange) -> Uuid| -> ArrayRef {
        let mut column = UuidBuilder::with_capacity(changes.len());
        changes.iter().for_each(|change| column.append(of(change)));
        Arc::new(column.finish())
    };
    table(vec![
        ("org_id", uuids(|change| change.mapping.org_id.0)),
        ("mapping_id", uuids(|change| change.mapping.id)),
        (
            "stripe_customer_id",
            texts(changes.iter().map(|change| &*change.mapping.stripe_customer_id)),
        ),
        (
            "tag_key",
            texts(changes.iter().map(|change| &*change.mapping.tag_key)),
        ),
        (
            "tag_value",
            texts(changes.iter().map(|change| &*change.mapping.tag_value)),
        ),
        (
            "match_type",
            texts(changes.iter().map(|change| change.mapping.match_type.as_str())),
        ),
        (
            "created_at",
            times(changes.iter().map(|change| change.mapping.created_at.0)),
        ),
        (
            "deleted",
            Arc::new(UInt8Array::from_iter_values(
                changes.iter().map(|change| u8::from(change.deleted)),
            )),
        ),
        (
            "version",
            Arc::new(UInt64Array::from_iter_values(
                changes.iter().map(|change| change.version),
            )),
        ),
    ])
}
