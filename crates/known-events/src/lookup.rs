//! Exact look-ups in table `cost_event_ids`.

use std::collections::HashMap;
use std::time::Instant;

use clickhouse::query::RowCursor;
use clickhouse::{Client, Row};
use schemas::id::{EventId, OrgId};
use schemas::time::TimestampMs;
use serde::Deserialize;
use uuid::Uuid;
use warehouse::{Warehouse, WarehouseError};

use crate::metrics::count_lookup;

/// Ids that one query asks for; keeps its text well under the server's limits.
const IDS_PER_QUERY: usize = 4_000;

/// The records of one partition that a batch is made of: offsets in `[start, end)`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRange {
    /// Partition of the topic of cost events.
    pub partition: u32,
    /// First offset.
    pub start: u64,
    /// Offset after the last one.
    pub end: u64,
}

/// What is known of an event that was counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownEvent {
    /// Event time of the first one.
    pub created_at: TimestampMs,
    /// Content of the first one.
    pub content_hash: u64,
}

#[derive(Debug, Row, Deserialize)]
struct KnownRow {
    #[serde(with = "clickhouse::serde::uuid")]
    event_id: Uuid,
    created_at: i64,
    content_hash: u64,
}

/// A row of ids alone.
#[derive(Debug, Row, Deserialize)]
pub(crate) struct IdRow {
    #[serde(with = "clickhouse::serde::uuid")]
    event_id: Uuid,
}

pub(crate) fn all_event_ids(warehouse: &Warehouse) -> Result<RowCursor<IdRow>, WarehouseError> {
    client(warehouse)
        .query("SELECT event_id FROM cost_event_ids")
        .fetch::<IdRow>()
        .map_err(|source| WarehouseError::from_client("read known events", source))
}

/// The ids that [`EventId::partition`] puts into `partition`: the first eight bytes, as a big-endian
/// number, modulo the number of partitions.
pub(crate) fn event_ids_of_partition(
    warehouse: &Warehouse,
    partition: u32,
    num_partitions: u32,
) -> Result<RowCursor<IdRow>, WarehouseError> {
    client(warehouse)
        .query(
            "SELECT event_id FROM cost_event_ids WHERE \
             reinterpretAsUInt64(reverse(substring(UUIDStringToNum(toString(event_id)), 1, 8))) \
             % {num_partitions:UInt32} = {partition:UInt32}",
        )
        .param("num_partitions", num_partitions)
        .param("partition", partition)
        .fetch::<IdRow>()
        .map_err(|source| WarehouseError::from_client("read known events", source))
}

pub(crate) async fn next_event_id(ids: &mut RowCursor<IdRow>) -> Result<Option<EventId>, WarehouseError> {
    let row = ids
        .next()
        .await
        .map_err(|source| WarehouseError::from_client("read known events", source))?;
    Ok(row.map(|row| EventId(row.event_id)))
}

fn client(warehouse: &Warehouse) -> Client {
    warehouse.client().clone()
}

/// Returns what the warehouse knows of `ids`; unknown ones are absent.
///
/// Rows of the batch `ignoring` are passed over: when a batch is replayed, its own rows must not
/// make its events duplicates.
///
/// # Errors
/// [`WarehouseError`] where the ids cannot be looked up.
pub async fn lookup_known_events(
    warehouse: &Warehouse,
    ids: &[(OrgId, EventId)],
    ignoring: Option<BatchRange>,
) -> Result<HashMap<EventId, KnownEvent>, WarehouseError> {
    let started = Instant::now();
    let mut known = HashMap::new();
    // An empty range ignores nothing.
    let range = ignoring.unwrap_or(BatchRange {
        partition: 0,
        start: 0,
        end: 0,
    });
    for chunk in ids.chunks(IDS_PER_QUERY) {
        let rows = client(warehouse)
            .query(
                "SELECT event_id, created_at, content_hash FROM cost_event_ids \
                 WHERE org_id IN {orgs:Array(UUID)} AND event_id IN {ids:Array(UUID)} \
                 AND NOT (log_partition = {partition:UInt32} AND log_offset >= {start:UInt64} AND log_offset < {end:UInt64})",
            )
            .param("orgs", uuid_list(chunk.iter().map(|(org, _)| org.0)))
            .param("ids", uuid_list(chunk.iter().map(|(_, id)| id.0)))
            .param("partition", range.partition)
            .param("start", range.start)
            .param("end", range.end)
            .fetch_all::<KnownRow>()
            .await
            .map_err(|source| WarehouseError::from_client("look up known events", source))?;
        known.extend(rows.into_iter().map(|row| {
            let event = KnownEvent {
                created_at: TimestampMs(row.created_at),
                content_hash: row.content_hash,
            };
            (EventId(row.event_id), event)
        }));
    }
    count_lookup(ids.len(), known.len(), started.elapsed());
    Ok(known)
}

fn uuid_list(ids: impl Iterator<Item = Uuid>) -> Vec<String> {
    let mut texts: Vec<_> = ids.map(|id| id.to_string()).collect();
    texts.sort_unstable();
    texts.dedup();
    texts
}
