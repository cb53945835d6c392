//! Sums for the summary: from roll-ups, but for traces.

use clickhouse::Row;
use serde::Deserialize;
use warehouse::Warehouse;

use super::attribution::AttributionScope;
use super::{ReadError, fetch_all, read};

const DAYS: &str = include_str!("summary_days.sql");
const KINDS: &str = include_str!("summary_kinds.sql");
const TRACES: &str = include_str!("summary_traces.sql");

/// The sums of one day.
#[derive(Debug, Clone, Row, Deserialize)]
pub(crate) struct DayRow {
    pub(crate) day: String,
    pub(crate) cost: i128,
    pub(crate) request_count: i128,
    pub(crate) input_cost: i128,
    pub(crate) output_cost: i128,
    pub(crate) cached_cost: i128,
    pub(crate) reasoning_cost: i128,
}

/// The sums of the events of one provider, model and source that are tool calls, or are not.
#[derive(Debug, Clone, Row, Deserialize)]
pub(crate) struct KindRow {
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) source: String,
    pub(crate) is_tool: bool,
    pub(crate) cost: i128,
    pub(crate) request_count: i128,
    pub(crate) input_tokens: i128,
    pub(crate) output_tokens: i128,
    pub(crate) cached_input_tokens: i128,
    pub(crate) reasoning_tokens: i128,
    pub(crate) duration_ms: i128,
    pub(crate) requests_with_duration: i128,
}

/// The sums of one trace.
#[derive(Debug, Clone, Row, Deserialize)]
pub(crate) struct TraceRow {
    pub(crate) trace_id: String,
    pub(crate) cost: i128,
    pub(crate) request_count: i128,
}

/// Fetches the days that have events, oldest first.
pub(crate) async fn fetch_days(
    warehouse: &Warehouse,
    scope: AttributionScope,
) -> Result<Vec<DayRow>, ReadError> {
    fetch_all("read cost by day", scope.bind_window(read(warehouse, DAYS))).await
}

/// Fetches all kinds of events, in no order.
pub(crate) async fn fetch_kinds(
    warehouse: &Warehouse,
    scope: AttributionScope,
) -> Result<Vec<KindRow>, ReadError> {
    fetch_all("read cost by kind", scope.bind_window(read(warehouse, KINDS))).await
}

/// Fetches the dearest traces, at most `limit`.
pub(crate) async fn fetch_traces(
    warehouse: &Warehouse,
    scope: AttributionScope,
    limit: usize,
) -> Result<Vec<TraceRow>, ReadError> {
    let query = scope.bind_window(read(warehouse, TRACES)).param("limit", limit);
    fetch_all("read cost by trace", query).await
}
