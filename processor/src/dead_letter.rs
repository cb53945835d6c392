//! What cannot be counted, with its raw bytes, its place in the log and a stable reason.

use std::sync::Arc;

use arrow::array::{
    BinaryArray, RecordBatch, StringArray, TimestampMillisecondArray, UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use event_log::{LogRecord, TopicPartition};
use schemas::arrow::{UUID, UuidBuilder, timestamp};
use schemas::codec::Rejected;
use schemas::id::OrgId;
use uuid::Uuid;

/// The dead letters of one batch.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    topic_partition: TopicPartition,
    rows: Vec<DeadLetter>,
}

#[derive(Debug)]
struct DeadLetter {
    org_id: Option<OrgId>,
    offset: u64,
    row_index: u32,
    rejected: Rejected,
    raw: Vec<u8>,
    received_at_ms: i64,
}

impl DeadLetters {
    pub(crate) fn new(topic_partition: &TopicPartition) -> Self {
        Self {
            topic_partition: topic_partition.clone(),
            rows: Vec::new(),
        }
    }

    /// Keeps a whole record.
    pub(crate) fn push_record(&mut self, record: &LogRecord, rejected: Rejected) {
        self.rows.push(DeadLetter {
            org_id: None,
            offset: record.offset,
            row_index: 0,
            rejected,
            raw: record.value.to_vec(),
            received_at_ms: record.timestamp_ms,
        });
    }

    /// Keeps one event of a record, in the form `raw`.
    pub(crate) fn push_event(
        &mut self,
        org_id: OrgId,
        (offset, row_index): (u64, u32),
        rejected: Rejected,
        raw: Vec<u8>,
        received_at_ms: i64,
    ) {
        self.rows.push(DeadLetter {
            org_id: Some(org_id),
            offset,
            row_index,
            rejected,
            raw,
            received_at_ms,
        });
    }

    pub(crate) fn len(&self) -> u64 {
        self.rows.len() as u64
    }

    pub(crate) fn finish(self) -> Result<RecordBatch, ArrowError> {
        let mut org_ids = UuidBuilder::with_capacity(self.rows.len());
        for row in &self.rows {
            org_ids.append(row.org_id.map_or_else(Uuid::nil, |org| org.0));
        }
        let required = |name: &str, data_type: DataType| Field::new(name, data_type, false);
        let schema = Schema::new(vec![
            required("org_id", UUID),
            required("topic", DataType::Utf8),
            required("log_partition", DataType::UInt32),
            required("log_offset", DataType::UInt64),
            required("row_index", DataType::UInt32),
            required("reason", DataType::Utf8),
            required("detail", DataType::Utf8),
            required("raw", DataType::Binary),
            required("received_at", timestamp()),
        ]);
        let rows = &self.rows;
        let received = rows.iter().map(|row| row.received_at_ms);
        RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(org_ids.finish()),
                Arc::new(StringArray::from_iter_values(
                    rows.iter().map(|_| &*self.topic_partition.topic),
                )),
                Arc::new(UInt32Array::from_iter_values(
                    rows.iter().map(|_| self.topic_partition.partition),
                )),
                Arc::new(UInt64Array::from_iter_values(rows.iter().map(|row| row.offset))),
                Arc::new(UInt32Array::from_iter_values(
                    rows.iter().map(|row| row.row_index),
                )),
                Arc::new(StringArray::from_iter_values(
                    rows.iter().map(|row| row.rejected.reason.as_str()),
                )),
                Arc::new(StringArray::from_iter_values(
                    rows.iter().map(|row| row.rejected.detail.as_str()),
                )),
                Arc::new(BinaryArray::from_iter_values(rows.iter().map(|row| &row.raw))),
                Arc::new(TimestampMillisecondArray::from_iter_values(received).with_timezone("UTC")),
            ],
        )
    }
}
