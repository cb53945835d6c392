//! `GET /api/cost-events/summary` (`../spec/cost-events.md` §9). Amounts are microdollars.

use schemars::JsonSchema;
use serde::Serialize;

use crate::id::ApiKeyId;

/// What an organization spent in a window of days, seen from all sides.
#[derive(Debug, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CostSummary {
    /// Days with events, oldest first.
    pub daily: Vec<DailyCost>,
    /// The 100 dearest.
    pub models: Vec<ModelSummary>,
    /// The 25 dearest.
    pub providers: Vec<ProviderSummary>,
    /// The 100 dearest; events without a key are not here.
    pub keys: Vec<KeySummary>,
    /// The 100 dearest, of tool calls alone.
    pub tools: Vec<ToolSummary>,
    /// The 25 dearest.
    pub sources: Vec<SourceSummary>,
    /// The 25 dearest; events without a trace are not here.
    pub traces: Vec<TraceSummary>,
    /// Of all events.
    pub totals: SummaryTotals,
    /// Of the events that state it.
    pub cost_breakdown: BreakdownSums,
}

/// One day, UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the members are those of the spec, under the same names"
)]
pub struct DailyCost {
    pub date: String,
    pub total_cost_microdollars: i64,
}

/// One model of one provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the members are those of the spec, under the same names"
)]
pub struct ModelSummary {
    pub provider: String,
    pub model: String,
    pub total_cost_microdollars: i64,
    pub request_count: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cached_input_tokens: u64,
    pub reasoning_tokens: u64,
}

/// One provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the members are those of the spec, under the same names"
)]
pub struct ProviderSummary {
    pub provider: String,
    pub total_cost_microdollars: i64,
    pub request_count: u64,
}

/// One API key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the members are those of the spec, under the same names"
)]
pub struct KeySummary {
    pub api_key_id: ApiKeyId,
    pub key_name: String,
    pub total_cost_microdollars: i64,
    pub request_count: u64,
}

/// One tool, which stands in the model's place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the members are those of the spec, under the same names"
)]
pub struct ToolSummary {
    pub model: String,
    pub total_cost_microdollars: i64,
    pub request_count: u64,
    /// Over the calls that state one, in milliseconds, rounded half up; 0 where none does.
    pub avg_duration_ms: u64,
}

/// One way in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the members are those of the spec, under the same names"
)]
pub struct SourceSummary {
    pub source: String,
    pub total_cost_microdollars: i64,
    pub request_count: u64,
}

/// One trace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the members are those of the spec, under the same names"
)]
pub struct TraceSummary {
    pub trace_id: String,
    pub total_cost_microdollars: i64,
    pub request_count: u64,
}

/// Sums over all events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the members are those of the spec, under the same names"
)]
pub struct SummaryTotals {
    pub total_cost_microdollars: i64,
    pub total_requests: u64,
    /// `7d`, `30d` or `90d`.
    pub period: &'static str,
}

/// Sums of the parts of costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the members are those of the spec, under the same names"
)]
pub struct BreakdownSums {
    pub input_cost: i64,
    pub output_cost: i64,
    pub cached_cost: i64,
    pub reasoning_cost: i64,
}
