//! What cannot be counted, with its raw bytes, its place in the log and a stable reason.

use std::sync::Arc;

use arrow::array::{
    BinaryArray, RecordBatch, StringArray, TimestampMillisecondArray, UInt32Array, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use bytes::Bytes;
use event_log::{AppendRecord, LogRecord, TopicPartition};
use schemas::arrow::{UUID, UuidBuilder, timestamp};
use schemas::codec::Rejected;
use schemas::dead_letter::{DeadLetterHeaders, MAX_TEXT_BYTES};
use schemas::id::OrgId;
use schemas::topic;
use uuid::Uuid;

/// The log's limit of a record. What is larger came compressed, or became so when an event was written as
/// JSON again; it could not be sent through the log again either.
const MAX_RAW_BYTES: usize = 16 << 20;
/// A longer value leaves no room for the headers within that limit.
const MAX_VALUE_BYTES: usize = MAX_RAW_BYTES - (64 << 10);

/// The dead letters of one batch.
#[derive(Debug)]
pub(crate) struct DeadLetters {
    topic_partition: TopicPartition,
    rows: Vec<DeadLetter>,
}

#[derive(Debug)]
struct DeadLetter {
    headers: DeadLetterHeaders,
    raw: Bytes,
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
        let content_type = String::from_utf8_lossy(content_type(record));
        let headers = self.headers(None, (record.offset, 0), rejected, &content_type);
        self.push(headers, record.value.clone(), record.timestamp_ms);
    }

    /// Keeps one event of a record, as a JSON record of its own.
    pub(crate) fn push_event(
        &mut self,
        org_id: OrgId,
        place: (u64, u32),
        rejected: Rejected,
        raw: Vec<u8>,
        received_at_ms: i64,
    ) {
        let headers = self.headers(Some(org_id), place, rejected, topic::JSON);
        self.push(headers, raw.into(), received_at_ms);
    }

    /// Leaves bytes out that are more than any dead letter may have.
    fn push(&mut self, mut headers: DeadLetterHeaders, raw: Bytes, received_at_ms: i64) {
        headers.value_omitted = raw.len() > MAX_RAW_BYTES;
        if headers.value_omitted {
            let detail = format!("its {} bytes are too many to keep; {}", raw.len(), headers.detail);
            shortened(&detail).clone_into(&mut headers.detail);
        }
        self.rows.push(DeadLetter {
            raw: if headers.value_omitted { Bytes::new() } else { raw },
            headers,
            received_at_ms,
        });
    }

    fn headers(
        &self,
        org_id: Option<OrgId>,
        (offset, row_index): (u64, u32),
        rejected: Rejected,
        content_type: &str,
    ) -> DeadLetterHeaders {
        DeadLetterHeaders {
            topic: self.topic_partition.topic.to_string(),
            partition: self.topic_partition.partition,
            offset,
            row_index,
            reason: rejected.reason.as_str().to_owned(),
            detail: shortened(&rejected.detail).to_owned(),
            org_id,
            content_type: shortened(content_type).to_owned(),
            value_omitted: false,
        }
    }

    pub(crate) fn len(&self) -> u64 {
        self.rows.len() as u64
    }

    /// Returns the records of topic [`topic::DEAD_LETTERS`], which has `num_partitions` partitions.
    pub(crate) fn records(&self, num_partitions: u32) -> Vec<AppendRecord> {
        let records = self.rows.iter().map(|row| {
            let value_omitted = row.headers.value_omitted || row.raw.len() > MAX_VALUE_BYTES;
            let headers = DeadLetterHeaders {
                value_omitted,
                ..row.headers.clone()
            };
            let key = headers.key();
            AppendRecord {
                partition: topic::partition_of_key(key.as_bytes(), num_partitions),
                key: key.into(),
                headers: headers
                    .encode()
                    .into_iter()
                    .map(|(name, value)| (name, value.into()))
                    .collect(),
                value: if value_omitted {
                    Bytes::new()
                } else {
                    row.raw.clone()
                },
            }
        });
        records.collect()
    }

    /// Returns the rows of table `dead_letters`.
    pub(crate) fn rows(&self) -> Result<RecordBatch, ArrowError> {
        let mut org_ids = UuidBuilder::with_capacity(self.rows.len());
        for row in &self.rows {
            org_ids.append(row.headers.org_id.map_or_else(Uuid::nil, |org| org.0));
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
            required("content_type", DataType::Utf8),
            required("raw", DataType::Binary),
            required("received_at", timestamp()),
        ]);
        let text = |of: fn(&DeadLetterHeaders) -> &str| {
            Arc::new(StringArray::from_iter_values(
                self.rows.iter().map(|row| of(&row.headers)),
            ))
        };
        let rows = &self.rows;
        let received = rows.iter().map(|row| row.received_at_ms);
        RecordBatch::try_new(
            Arc::new(schema),
            vec![
                Arc::new(org_ids.finish()),
                text(|headers| &headers.topic),
                Arc::new(UInt32Array::from_iter_values(
                    rows.iter().map(|row| row.headers.partition),
                )),
                Arc::new(UInt64Array::from_iter_values(
                    rows.iter().map(|row| row.headers.offset),
                )),
                Arc::new(UInt32Array::from_iter_values(
                    rows.iter().map(|row| row.headers.row_index),
                )),
                text(|headers| &headers.reason),
                text(|headers| &headers.detail),
                text(|headers| &headers.content_type),
                Arc::new(BinaryArray::from_iter_values(rows.iter().map(|row| &row.raw))),
                Arc::new(TimestampMillisecondArray::from_iter_values(received).with_timezone("UTC")),
            ],
        )
    }
}

/// Returns a record's content type; empty where it names none.
pub(crate) fn content_type(record: &LogRecord) -> &[u8] {
    record
        .headers
        .iter()
        .find(|(name, _)| name == topic::CONTENT_TYPE)
        .map_or(&b""[..], |(_, value)| value)
}

/// Cuts a text to what a header takes, between two characters.
fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(MAX_TEXT_BYTES)]
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use schemas::reject::RejectReason;

    use super::*;

    #[test]
    fn a_value_that_leaves_no_room_for_headers_stays_in_the_table_alone() {
        let mut letters = DeadLetters::new(&TopicPartition::new("cost-events", 3));
        for (offset, size) in [(7, 5), (8, MAX_VALUE_BYTES + 1)] {
            let record = LogRecord {
                offset,
                timestamp_ms: 1,
                key: Bytes::new(),
                headers: vec![],
                value: vec![b'x'; size].into(),
            };
            let rejected = Rejected {
                reason: RejectReason::Undecodable,
                detail: "é".repeat(MAX_TEXT_BYTES),
            };
            letters.push_record(&record, rejected);
        }
        let records = letters.records(2);
        let headers: Vec<_> = records
            .iter()
            .map(|record| {
                let headers = record
                    .headers
                    .iter()
                    .map(|(name, value)| (name.as_str(), &**value));
                DeadLetterHeaders::decode(headers).unwrap()
            })
            .collect();
        assert_eq!(headers[0].key(), "cost-events:3:7:0");
        assert_eq!(headers[0].detail.len(), MAX_TEXT_BYTES);
        assert_eq!((records[0].value.len(), headers[0].value_omitted), (5, false));
        assert_eq!((records[1].value.len(), headers[1].value_omitted), (0, true));
        assert_eq!(letters.rows().unwrap().num_rows(), 2);
    }

    #[test]
    fn a_value_that_no_record_holds_is_left_out_and_its_place_kept() {
        let mut letters = DeadLetters::new(&TopicPartition::new("cost-events", 3));
        let rejected = |detail: &str| Rejected {
            reason: RejectReason::IdempotencyConflict,
            detail: detail.to_owned(),
        };
        let org_id = OrgId(Uuid::nil());
        for (row_index, size) in [(0, MAX_RAW_BYTES), (1, MAX_RAW_BYTES + 1)] {
            letters.push_event(org_id, (7, row_index), rejected("why"), vec![b'x'; size], 1);
        }
        let rows = letters.rows().unwrap();
        let raw = rows.column_by_name("raw").unwrap().as_binary::<i32>();
        assert_eq!((raw.value(0).len(), raw.value(1).len()), (MAX_RAW_BYTES, 0));
        let detail = rows.column_by_name("detail").unwrap().as_string::<i32>();
        assert_eq!(detail.value(0), "why");
        assert_eq!(detail.value(1), "its 16777217 bytes are too many to keep; why");
        for record in letters.records(1) {
            assert!(record.value.is_empty());
            let headers = record
                .headers
                .iter()
                .map(|(name, value)| (name.as_str(), &**value));
            assert!(DeadLetterHeaders::decode(headers).unwrap().value_omitted);
        }
    }
}
