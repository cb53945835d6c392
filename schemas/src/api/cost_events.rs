//! `GET /api/cost-events` and `/:id` (`../spec/cost-events.md` §5-6).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::cost_event::CostBreakdown;
use crate::id::{ApiKeyId, EventId};
use crate::tags::Tags;
use crate::time::TimestampMs;

/// One event as reads show it. All members are always present.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the members are those of the spec's §1 and §5.2, under the same names"
)]
pub struct CostEventView {
    pub id: EventId,
    pub request_id: String,
    pub api_key_id: Option<ApiKeyId>,
    pub provider: String,
    pub model: String,
    pub input_tokens: i64,
    pub output_tokens: i64,
    pub cached_input_tokens: i64,
    pub reasoning_tokens: i64,
    pub cost_microdollars: i64,
    pub duration_ms: Option<i64>,
    pub created_at: TimestampMs,
    pub source: String,
    pub trace_id: Option<String>,
    pub session_id: Option<String>,
    pub tags: Tags,
    pub customer_id: Option<String>,
    /// The key's current name.
    pub key_name: Option<String>,
    pub budget_status: Option<String>,
    pub stop_reason: Option<String>,
    pub estimated_cost_microdollars: Option<i64>,
    pub cost_breakdown: Option<CostBreakdown>,
    /// Additive: our clock at receipt (spec decision 2).
    pub received_at: TimestampMs,
}

/// Position in a list that is ordered by `createdAt`, then `id`, both descending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventCursor {
    /// The last returned row's time.
    pub created_at: TimestampMs,
    /// The last returned row's id.
    pub id: EventId,
}

/// One page of events.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CostEventPage {
    /// Newest first.
    pub data: Vec<CostEventView>,
    /// Where the next page starts; none on the last page.
    pub cursor: Option<EventCursor>,
}
