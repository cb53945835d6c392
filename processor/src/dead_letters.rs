//! What operators do with dead letters: look at them, and send them through the log again.

use std::fmt;
use std::str::FromStr;

use bytes::Bytes;
use clickhouse::Row;
use event_log::{AppendRecord, EventLog};
use schemas::topic;
use serde::{Deserialize, Serialize};
use warehouse::{Warehouse, WarehouseError};

use crate::error::ProcessorError;

/// Dead letters that one listing shows at most.
pub const MAX_LISTED: u32 = 10_000;

/// Where a dead letter came from; shown as `topic:partition:offset:row`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Place {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The record's offset.
    pub offset: u64,
    /// The event within the record, from 0.
    pub row_index: u32,
}

/// A text that names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no place of a dead letter, which is like cost-events:0:1234:0")]
pub struct InvalidPlace(String);

impl FromStr for Place {
    type Err = InvalidPlace;

    fn from_str(text: &str) -> Result<Self, InvalidPlace> {
        let invalid = || InvalidPlace(text.to_owned());
        let parts: Vec<&str> = text.split(':').collect();
        let [topic, partition, offset, row_index] = parts[..] else {
            return Err(invalid());
        };
        if !topic::PROCESSED.contains(&topic) {
            return Err(invalid());
        }
        Ok(Self {
            topic: topic.to_owned(),
            partition: partition.parse().map_err(|_| invalid())?,
            offset: offset.parse().map_err(|_| invalid())?,
            row_index: row_index.parse().map_err(|_| invalid())?,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}:{}",
            self.topic, self.partition, self.offset, self.row_index
        )
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

impl TryFrom<String> for Place {
    type Error = InvalidPlace;

    fn try_from(text: String) -> Result<Self, InvalidPlace> {
        text.parse()
    }
}

/// Which dead letters to list or send again.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Selection {
    /// Those at these places; all if empty.
    #[serde(default)]
    pub places: Vec<Place>,
    /// Those of this reason.
    pub reason: Option<String>,
    /// Those of this topic.
    pub topic: Option<String>,
    /// Also those that were sent again already.
    #[serde(default)]
    pub with_redriven: bool,
    /// How many at most, the newest first.
    pub limit: u32,
}

/// One dead letter.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Where it came from.
    pub place: Place,
    /// The stable code.
    pub reason: String,
    /// What is wrong, for people.
    pub detail: String,
    /// The organization; the nil UUID where it cannot be told.
    pub org_id: String,
    /// Content type of the bytes; empty: none.
    pub content_type: String,
    /// When the log took the record, as ClickHouse prints it, UTC.
    pub received_at: String,
    /// Size of the bytes.
    pub raw_bytes: u64,
    /// The bytes as received, as text; what is no UTF-8 is replaced.
    pub raw: String,
    /// When it was last sent again; empty: never.
    pub redriven_at: String,
}

#[derive(Debug, Row, Deserialize)]
struct LetterRow {
    topic: String,
    log_partition: u32,
    log_offset: u64,
    row_index: u32,
    reason: String,
    detail: String,
    org_id: String,
    content_type: String,
    received_at: String,
    raw_bytes: u64,
    #[serde(with = "serde_bytes_vec")]
    raw: Vec<u8>,
    redriven_at: String,
}

/// ClickHouse's strings are bytes.
mod serde_bytes_vec {
    use std::fmt;

    use serde::Deserializer;
    use serde::de::{Error, Visitor};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

/// Returns the selected dead letters, newest first.
///
/// # Errors
/// [`ProcessorError::Warehouse`].
pub async fn list(warehouse: &Warehouse, selection: &Selection) -> Result<Vec<DeadLetter>, ProcessorError> {
    let rows = fetch(warehouse, selection).await?;
    Ok(rows
        .into_iter()
        .map(|row| DeadLetter {
            place: place_of(&row),
            raw: String::from_utf8_lossy(&row.raw).into_owned(),
            reason: row.reason,
            detail: row.detail,
            org_id: row.org_id,
            content_type: row.content_type,
            received_at: row.received_at,
            raw_bytes: row.raw_bytes,
            redriven_at: row.redriven_at,
        })
        .collect())
}

/// Appends the selected dead letters to their topics again, byte for byte, and remembers that. Returns
/// how many. What was mended since is counted; what was not becomes a dead letter again. After a failure
/// some may have been sent; sending a cost event twice is harmless.
///
/// # Errors
/// [`ProcessorError::Log`] and [`ProcessorError::Warehouse`].
pub async fn redrive(
    log: &dyn EventLog,
    warehouse: &Warehouse,
    selection: &Selection,
) -> Result<u64, ProcessorError> {
    let rows = fetch(warehouse, selection).await?;
    let mut num_redriven = 0;
    // The oldest first, as they came.
    for row in rows.iter().rev() {
        let num_partitions = log.num_partitions(&row.topic)?;
        let headers = if row.content_type.is_empty() {
            Vec::new()
        } else {
            vec![(
                topic::CONTENT_TYPE.to_owned(),
                row.content_type.clone().into_bytes().into(),
            )]
        };
        let record = AppendRecord {
            partition: row.log_partition % num_partitions.max(1),
            key: Bytes::new(),
            headers,
            value: row.raw.clone().into(),
        };
        log.append(&row.topic, vec![record]).await?;
        remember(warehouse, &place_of(row)).await?;
        num_redriven += 1;
    }
    Ok(num_redriven)
}

fn place_of(row: &LetterRow) -> Place {
    Place {
        topic: row.topic.clone(),
        partition: row.log_partition,
        offset: row.log_offset,
        row_index: row.row_index,
    }
}

async fn fetch(warehouse: &Warehouse, selection: &Selection) -> Result<Vec<LetterRow>, ProcessorError> {
    let places: Vec<String> = selection.places.iter().map(Place::to_string).collect();
    let rows = warehouse
        .client()
        .query(
            "WITH redriven AS (SELECT topic, log_partition, log_offset, row_index, max(redriven_at) AS at \
                 FROM dead_letter_redrives GROUP BY ALL), \
             letters AS (SELECT *, concat(toString(topic), ':', toString(log_partition), ':', toString(log_offset), \
                 ':', toString(row_index)) AS place FROM dead_letters) \
             SELECT toString(l.topic) AS topic, l.log_partition AS log_partition, l.log_offset AS log_offset, \
                 l.row_index AS row_index, toString(l.reason) AS reason, l.detail AS detail, \
                 toString(l.org_id) AS org_id, l.content_type AS content_type, \
                 toString(l.received_at) AS received_at, toUInt64(length(l.raw)) AS raw_bytes, l.raw AS raw, \
                 if(r.log_offset = l.log_offset AND toUnixTimestamp64Milli(r.at) > 0, toString(r.at), '') AS redriven_at \
             FROM letters AS l LEFT JOIN redriven AS r ON l.topic = r.topic \
                 AND l.log_partition = r.log_partition AND l.log_offset = r.log_offset AND l.row_index = r.row_index \
             WHERE (empty({places:Array(String)}) OR has({places:Array(String)}, l.place)) \
                 AND ({reason:String} = '' OR l.reason = {reason:String}) \
                 AND ({topic:String} = '' OR l.topic = {topic:String}) \
                 AND ({with_redriven:Bool} OR toUnixTimestamp64Milli(r.at) = 0) \
             ORDER BY l.received_at DESC, l.topic, l.log_partition, l.log_offset DESC, l.row_index DESC \
             LIMIT {limit:UInt32}",
        )
        .param("places", places)
        .param("reason", selection.reason.as_deref().unwrap_or_default())
        .param("topic", selection.topic.as_deref().unwrap_or_default())
        .param("with_redriven", selection.with_redriven)
        .param("limit", selection.limit.min(MAX_LISTED))
        .fetch_all::<LetterRow>()
        .await;
    Ok(rows.map_err(|source| WarehouseError::from_client("read dead letters", source))?)
}

async fn remember(warehouse: &Warehouse, place: &Place) -> Result<(), ProcessorError> {
    let done = warehouse
        .client()
        .query(
            "INSERT INTO dead_letter_redrives (topic, log_partition, log_offset, row_index) \
             SELECT {topic:String}, {partition:UInt32}, {offset:UInt64}, {row_index:UInt32}",
        )
        .param("topic", &place.topic)
        .param("partition", place.partition)
        .param("offset", place.offset)
        .param("row_index", place.row_index)
        .with_setting("async_insert", "0")
        .with_setting("insert_deduplicate", "0")
        .execute()
        .await;
    Ok(done.map_err(|source| WarehouseError::from_client("remember a redrive", source))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read_as_they_are_shown() {
        let place: Place = "cost-events:3:12345678901:7".parse().unwrap();
        assert_eq!(
            (place.partition, place.offset, place.row_index),
            (3, 12_345_678_901, 7)
        );
        assert_eq!(place.to_string(), "cost-events:3:12345678901:7");
        for bad in [
            "",
            "cost-events:1:2",
            "other:0:0:0",
            "cost-events:-1:0:0",
            "cost-events:0:0:0:0",
        ] {
            assert!(bad.parse::<Place>().is_err(), "{bad}");
        }
    }
}
