//! Raw events: a page of them, or one.
//!
//! The list walks the table's key, `(org_id, created_at, event_id)`, backwards. ClickHouse orders
//! UUIDs by their second half first; order and comparison agree with each other, which is what a
//! walk by cursor needs.

mod filter;

use std::collections::HashMap;

use clickhouse::Row;
use schemas::api::cost_events::CostEventView;
use schemas::cost_event::CostBreakdown;
use schemas::id::{ApiKeyId, EventId, OrgId};
use schemas::time::TimestampMs;
use serde::Deserialize;
use uuid::Uuid;
use warehouse::Warehouse;

pub(crate) use filter::EventFilter;

use super::{ReadError, fetch_all, read};

const COST_EVENT: &str = include_str!("cost_event.sql");

/// Fetches the newest events that pass `filter`, newest first: at most `filter.limit`, and one
/// more where there are more.
pub(crate) async fn fetch_page(
    warehouse: &Warehouse,
    org: OrgId,
    filter: &EventFilter,
) -> Result<Vec<CostEventRow>, ReadError> {
    let (sql, params) = filter.to_sql(org);
    let mut query = read(warehouse, &sql);
    for (name, value) in params {
        query = query.param(name, value);
    }
    if !filter.tags.is_empty() {
        let (keys, values): (Vec<_>, Vec<_>) = filter.tags.iter().map(|(key, value)| (key, value)).unzip();
        query = query.param("tag_keys", keys).param("tag_values", values);
    }
    fetch_all("list cost events", query).await
}

/// Fetches one event, if the organization has it.
pub(crate) async fn fetch_by_id(
    warehouse: &Warehouse,
    org: OrgId,
    id: EventId,
) -> Result<Option<CostEventRow>, ReadError> {
    let query = read(warehouse, COST_EVENT)
        .param("org", org.0)
        .param("event_id", id.0);
    let rows = fetch_all("read a cost event", query).await?;
    Ok(rows.into_iter().next())
}

/// A row of `cost_events`, in the columns that reads show. Empty texts and a nil key mean none.
#[derive(Debug, Row, Deserialize)]
pub(crate) struct CostEventRow {
    #[serde(with = "clickhouse::serde::uuid")]
    event_id: Uuid,
    request_id: String,
    #[serde(with = "clickhouse::serde::uuid")]
    api_key_id: Uuid,
    provider: String,
    model: String,
    source: String,
    input_tokens: i64,
    output_tokens: i64,
    cached_input_tokens: i64,
    reasoning_tokens: i64,
    cost_microdollars: i64,
    cost_breakdown_input: Option<i64>,
    cost_breakdown_output: Option<i64>,
    cost_breakdown_cached: Option<i64>,
    cost_breakdown_reasoning: Option<i64>,
    cost_breakdown_tool_definition: Option<i64>,
    duration_ms: Option<i64>,
    session_id: String,
    trace_id: String,
    customer_id: String,
    tags: Vec<(String, String)>,
    created_at: i64,
    received_at: i64,
}

impl CostEventRow {
    /// Returns what a read shows. `budgetStatus`, `stopReason` and the estimate are the gateway's,
    /// and none of its traffic is stored.
    pub(crate) fn into_view(self, key_names: &HashMap<ApiKeyId, String>) -> CostEventView {
        let cost_breakdown = self.cost_breakdown();
        let api_key_id = Some(self.api_key_id).filter(|id| !id.is_nil()).map(ApiKeyId);
        CostEventView {
            id: EventId(self.event_id),
            request_id: self.request_id,
            api_key_id,
            provider: self.provider,
            model: self.model,
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            cached_input_tokens: self.cached_input_tokens,
            reasoning_tokens: self.reasoning_tokens,
            cost_microdollars: self.cost_microdollars,
            duration_ms: self.duration_ms,
            created_at: TimestampMs(self.created_at),
            source: self.source,
            trace_id: non_empty(self.trace_id),
            session_id: non_empty(self.session_id),
            tags: self.tags.into_iter().collect(),
            customer_id: non_empty(self.customer_id),
            key_name: api_key_id.and_then(|id| key_names.get(&id).cloned()),
            budget_status: None,
            stop_reason: None,
            estimated_cost_microdollars: None,
            cost_breakdown,
            received_at: TimestampMs(self.received_at),
        }
    }

    /// The first three parts are stated together or not at all.
    fn cost_breakdown(&self) -> Option<CostBreakdown> {
        Some(CostBreakdown {
            input: self.cost_breakdown_input?,
            output: self.cost_breakdown_output?,
            cached: self.cost_breakdown_cached?,
            reasoning: self.cost_breakdown_reasoning,
            tool_definition: self.cost_breakdown_tool_definition,
        })
    }
}

fn non_empty(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
