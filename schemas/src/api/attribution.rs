//! `GET /api/cost-events/attribution` (`../spec/cost-events.md` §10).

use schemars::JsonSchema;
use serde::Serialize;

use crate::id::ApiKeyId;

/// The answer. Amounts are microdollars.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Attribution {
    /// By cost, descending.
    pub groups: Vec<AttributionGroup>,
    /// `7d`, `30d` or `90d`.
    pub period: &'static str,
    /// As asked for.
    pub group_by: String,
    /// Number of groups returned, not of all.
    pub total_groups: usize,
    /// True where there are more groups than returned.
    pub has_more: bool,
    /// Of the whole organization in the window.
    pub totals: AttributionTotals,
}

/// One key, customer or tag value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttributionGroup {
    /// Key name, tag value, `(none)` or `(no key)`.
    pub key: String,
    /// Only where grouped by API key.
    pub key_id: Option<ApiKeyId>,
    /// Sum of costs.
    pub total_cost_microdollars: i64,
    /// Number of events.
    pub request_count: u64,
    /// Cost by events, rounded half up; 0 where there are none.
    pub avg_cost_microdollars: i64,
}

/// Sums over all groups, also those not returned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttributionTotals {
    /// Sum of costs.
    pub total_cost_microdollars: i64,
    /// Number of events.
    pub total_requests: u64,
}
