//! `GET /api/margins` and `/:customer` (`../spec/margins.md` §4-5).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use crate::margin::{HealthTier, Percent};
use crate::period::Period;
use crate::time::TimestampMs;

/// The margin table of one period. Amounts are microdollars.
#[derive(Debug, Serialize, JsonSchema)]
pub struct MarginTable {
    /// Sums over the listed customers.
    pub summary: MarginSummary,
    /// Worst margin first.
    pub customers: Vec<MarginRow>,
}

/// Sums over the listed customers, and the state of the Stripe connection.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the members are those of the spec's §4, under the same names"
)]
pub struct MarginSummary {
    pub blended_margin_percent: Percent,
    pub total_revenue_microdollars: i64,
    pub total_cost_microdollars: i64,
    pub critical_count: usize,
    pub at_risk_count: usize,
    pub last_sync_at: Option<TimestampMs>,
    pub sync_status: &'static str,
    pub skipped_currencies: Option<BTreeMap<String, u64>>,
}

/// One mapped customer with revenue or cost in the period.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the members are those of the spec's §4, under the same names"
)]
pub struct MarginRow {
    pub stripe_customer_id: String,
    pub customer_name: Option<String>,
    pub avatar_url: Option<String>,
    pub tag_value: String,
    pub revenue_microdollars: i64,
    pub cost_microdollars: i64,
    pub margin_microdollars: i64,
    pub margin_percent: Percent,
    pub health_tier: HealthTier,
    pub sparkline: Vec<SparklinePoint>,
    pub projected_tier_worsening: bool,
    pub budget_suggestion_microdollars: Option<i64>,
}

/// One month of a sparkline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SparklinePoint {
    /// The month.
    pub period: Period,
    /// Its margin.
    pub margin_percent: Percent,
    /// Present, and true, only on the projected month.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub projected: bool,
}

/// One customer in detail.
#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[expect(
    missing_docs,
    reason = "the members are those of the spec's §5, under the same names"
)]
pub struct MarginDetail {
    pub stripe_customer_id: String,
    pub customer_name: Option<String>,
    pub avatar_url: Option<String>,
    pub tag_value: String,
    pub health_tier: HealthTier,
    pub margin_percent: Percent,
    pub revenue_microdollars: i64,
    pub cost_microdollars: i64,
    pub revenue_over_time: Vec<RevenuePoint>,
    pub model_breakdown: Vec<ModelCost>,
}

/// Revenue and cost of one month, in microdollars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub struct RevenuePoint {
    /// The month.
    pub period: Period,
    /// Revenue.
    pub revenue: i64,
    /// Cost.
    pub cost: i64,
}

/// Cost of one model in the period.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelCost {
    /// The model's name; providers are merged.
    pub model: String,
    /// In microdollars.
    pub cost: i64,
    /// Number of events.
    pub request_count: u64,
}
