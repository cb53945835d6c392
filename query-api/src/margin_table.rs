//! The margin table: mappings joined with cost and revenue, in exact integers
//! (`../spec/margins.md` §2-4).
#![deny(clippy::float_arithmetic, clippy::as_conversions)]

use std::cmp::Reverse;
use std::collections::HashMap;

use schemas::api::margins::{
    MarginDetail, MarginRow, MarginSummary, MarginTable, ModelCost, RevenuePoint, SparklinePoint,
};
use schemas::mapping::CustomerMapping;
use schemas::margin::{HealthTier, Margin, project};
use schemas::money::{Microdollars, MoneyError};
use schemas::period::Period;

/// Amounts of three consecutive months, oldest first, in microdollars.
pub type MonthlyAmounts = [i64; 3];

/// What `syncStatus` says where no Stripe account is connected.
const DISCONNECTED: &str = "disconnected";

/// Builds the table of `period`: one row per mapping with revenue or cost in that month, worst
/// margin first.
///
/// `costs` is keyed by customer id (the mapping's tag value), `revenues` and `names` by Stripe
/// customer id; what is missing there is zero or has no name. Amounts are those of the three
/// months that end at `period`. Customers without a mapping appear nowhere. `mappings` are those
/// of the tag key `customer`.
///
/// # Errors
/// [`MoneyError::Overflow`] where a sum or a margin does not fit 64 bits.
pub fn build_margin_table(
    period: Period,
    mappings: &[CustomerMapping],
    costs: &HashMap<String, MonthlyAmounts>,
    revenues: &HashMap<String, MonthlyAmounts>,
    names: &HashMap<String, String>,
) -> Result<MarginTable, MoneyError> {
    let mut customers = Vec::with_capacity(mappings.len());
    for mapping in mappings {
        let cost = costs.get(&mapping.tag_value).copied().unwrap_or_default();
        let revenue = revenues
            .get(&mapping.stripe_customer_id)
            .copied()
            .unwrap_or_default();
        let name = names.get(&mapping.stripe_customer_id).cloned();
        customers.extend(build_row(period, mapping, margins_of(revenue, cost), name)?);
    }
    // Tag values are unique among these mappings, so the order is total.
    customers.sort_by(|a, b| sort_key(a).cmp(&sort_key(b)));
    Ok(MarginTable {
        summary: summarize(&customers)?,
        customers,
    })
}

/// Builds one customer's detail. A month without revenue and cost is no reason to refuse it.
pub(crate) fn build_margin_detail(
    period: Period,
    mapping: CustomerMapping,
    months: [Margin; 3],
    customer_name: Option<String>,
    model_breakdown: Vec<ModelCost>,
) -> MarginDetail {
    let [_, _, current] = months;
    let revenue_over_time = period.window_of_three().into_iter().zip(months);
    MarginDetail {
        stripe_customer_id: mapping.stripe_customer_id,
        customer_name,
        avatar_url: None,
        tag_value: mapping.tag_value,
        health_tier: current.tier(),
        margin_percent: current.percent(),
        revenue_microdollars: current.revenue,
        cost_microdollars: current.cost,
        revenue_over_time: revenue_over_time
            .map(|(period, margin)| RevenuePoint {
                period,
                revenue: margin.revenue,
                cost: margin.cost,
            })
            .collect(),
        model_breakdown,
    }
}

/// Pairs revenue and cost month by month.
pub(crate) fn margins_of(revenue: MonthlyAmounts, cost: MonthlyAmounts) -> [Margin; 3] {
    let ([r1, r2, r3], [c1, c2, c3]) = (revenue, cost);
    [(r1, c1), (r2, c2), (r3, c3)].map(|(revenue, cost)| Margin { revenue, cost })
}

/// None where the period has neither revenue nor cost.
fn build_row(
    period: Period,
    mapping: &CustomerMapping,
    months: [Margin; 3],
    customer_name: Option<String>,
) -> Result<Option<MarginRow>, MoneyError> {
    let [_, _, current] = months;
    if current.is_empty() {
        return Ok(None);
    }
    let health_tier = current.tier();
    let (sparkline, projected_tier) = build_sparkline(period, months);
    Ok(Some(MarginRow {
        stripe_customer_id: mapping.stripe_customer_id.clone(),
        customer_name,
        avatar_url: None,
        tag_value: mapping.tag_value.clone(),
        revenue_microdollars: current.revenue,
        cost_microdollars: current.cost,
        margin_microdollars: i64::try_from(current.amount()).map_err(|_| MoneyError::Overflow)?,
        margin_percent: current.percent(),
        health_tier,
        sparkline,
        projected_tier_worsening: projected_tier.is_some_and(|projected| projected > health_tier),
        budget_suggestion_microdollars: current.budget_suggestion().map(|amount| amount.0),
    }))
}

/// Returns the three months, and where all of them have data, the projected next one with its tier.
fn build_sparkline(period: Period, months: [Margin; 3]) -> (Vec<SparklinePoint>, Option<HealthTier>) {
    let percents = months.map(Margin::sparkline_percent);
    let mut points = Vec::with_capacity(4);
    points.extend(
        period
            .window_of_three()
            .into_iter()
            .zip(percents)
            .map(|(period, margin_percent)| SparklinePoint {
                period,
                margin_percent,
                projected: false,
            }),
    );
    if !months.iter().all(|month| month.revenue > 0 || month.cost > 0) {
        return (points, None);
    }
    let margin_percent = project(percents);
    points.push(SparklinePoint {
        period: period.next(),
        margin_percent,
        projected: true,
    });
    (points, Some(HealthTier::of_percent(margin_percent)))
}

/// Worst first; ties by tier, then by cost, both descending, then by tag value.
fn sort_key(row: &MarginRow) -> impl Ord + '_ {
    (
        row.margin_percent,
        Reverse(row.health_tier),
        Reverse(row.cost_microdollars),
        row.tag_value.as_str(),
    )
}

fn summarize(customers: &[MarginRow]) -> Result<MarginSummary, MoneyError> {
    let mut revenue = Microdollars::ZERO;
    let mut cost = Microdollars::ZERO;
    for row in customers {
        revenue = revenue.checked_add(Microdollars(row.revenue_microdollars))?;
        cost = cost.checked_add(Microdollars(row.cost_microdollars))?;
    }
    let count_tier = |tier| customers.iter().filter(|row| row.health_tier == tier).count();
    Ok(MarginSummary {
        blended_margin_percent: Margin {
            revenue: revenue.0,
            cost: cost.0,
        }
        .percent(),
        total_revenue_microdollars: revenue.0,
        total_cost_microdollars: cost.0,
        critical_count: count_tier(HealthTier::Critical),
        at_risk_count: count_tier(HealthTier::AtRisk),
        last_sync_at: None,
        sync_status: DISCONNECTED,
        skipped_currencies: None,
    })
}

#[cfg(test)]
mod tests;
