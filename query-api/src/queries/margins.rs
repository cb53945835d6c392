//! What margins are made of.

use std::collections::HashMap;

use clickhouse::Row;
use clickhouse::query::Query;
use schemas::api::margins::ModelCost;
use schemas::id::OrgId;
use schemas::mapping::CustomerMapping;
use schemas::money::Microdollars;
use schemas::period::Period;
use schemas::time::TimestampMs;
use serde::Deserialize;
use warehouse::Warehouse;

use super::{ReadError, fetch_all, read, to_amount, to_request_count, to_stored_ms};
use crate::margin_table::MonthlyAmounts;

const CUSTOMER_COSTS: &str = include_str!("customer_costs.sql");
const CUSTOMER_REVENUES: &str = include_str!("customer_revenues.sql");
const CUSTOMER_NAMES: &str = include_str!("customer_names.sql");
const CUSTOMER_MODELS: &str = include_str!("customer_models.sql");

/// Bound where a query means all Stripe customers; none has this id.
const ALL_CUSTOMERS: &str = "";

/// Cost, revenue and names of an organization's customers. Amounts are those of the three months
/// that end at the period asked for.
#[derive(Debug)]
pub(crate) struct MarginFacts {
    /// By customer id.
    pub(crate) costs: HashMap<String, MonthlyAmounts>,
    /// By Stripe customer id.
    pub(crate) revenues: HashMap<String, MonthlyAmounts>,
    /// By Stripe customer id, where there is a name.
    pub(crate) names: HashMap<String, String>,
}

/// The same of one customer, with its cost by model.
#[derive(Debug)]
pub(crate) struct CustomerFacts {
    pub(crate) costs: MonthlyAmounts,
    pub(crate) revenues: MonthlyAmounts,
    pub(crate) name: Option<String>,
    /// Of the period itself, dearest first.
    pub(crate) models: Vec<ModelCost>,
}

/// Fetches what the margin table of `period` is made of.
pub(crate) async fn fetch_margin_facts(
    warehouse: &Warehouse,
    org: OrgId,
    period: Period,
) -> Result<MarginFacts, ReadError> {
    let months = Months::ending_at(period);
    let (costs, revenues, names) = tokio::try_join!(
        fetch_amounts(
            "read costs by customer",
            months.bind(read(warehouse, CUSTOMER_COSTS), org)
        ),
        fetch_revenues(warehouse, org, months, ALL_CUSTOMERS),
        fetch_names(warehouse, org, months, ALL_CUSTOMERS),
    )?;
    Ok(MarginFacts {
        costs,
        revenues,
        names,
    })
}

/// Fetches what the detail of one mapped customer in `period` is made of.
pub(crate) async fn fetch_customer_facts(
    warehouse: &Warehouse,
    mapping: &CustomerMapping,
    period: Period,
) -> Result<CustomerFacts, ReadError> {
    let months = Months::ending_at(period);
    let (org, stripe_id) = (mapping.org_id, mapping.stripe_customer_id.as_str());
    let models = months
        .bind(read(warehouse, CUSTOMER_MODELS), org)
        .param("customer", &mapping.tag_value);
    let (models, mut revenues, mut names) = tokio::try_join!(
        fetch_all::<ModelRow>("read a customer's cost by model", models),
        fetch_revenues(warehouse, org, months, stripe_id),
        fetch_names(warehouse, org, months, stripe_id),
    )?;
    let (costs, models) = fold_models(months, models)?;
    Ok(CustomerFacts {
        costs,
        revenues: revenues.remove(stripe_id).unwrap_or_default(),
        name: names.remove(stripe_id),
        models,
    })
}

/// First instants of three consecutive months and of the month after, in milliseconds.
#[derive(Debug, Clone, Copy)]
struct Months {
    starts: [i64; 3],
    end: i64,
}

impl Months {
    fn ending_at(period: Period) -> Self {
        let start_ms = |month: Period| to_stored_ms(TimestampMs(month.start().timestamp_millis()));
        Self {
            starts: period.window_of_three().map(start_ms),
            end: start_ms(period.next()),
        }
    }

    fn bind(self, query: Query, org: OrgId) -> Query {
        let [first, second, third] = self.starts;
        query
            .param("org", org.0)
            .param("month_1", first)
            .param("month_2", second)
            .param("month_3", third)
            .param("end", self.end)
    }
}

#[derive(Debug, Row, Deserialize)]
struct AmountsRow {
    customer: String,
    amount_1: i128,
    amount_2: i128,
    amount_3: i128,
}

async fn fetch_amounts(
    action: &'static str,
    query: Query,
) -> Result<HashMap<String, MonthlyAmounts>, ReadError> {
    let rows = fetch_all::<AmountsRow>(action, query).await?;
    let narrow = |row: AmountsRow| {
        let amounts = [
            to_amount(row.amount_1)?,
            to_amount(row.amount_2)?,
            to_amount(row.amount_3)?,
        ];
        Ok((row.customer, amounts))
    };
    rows.into_iter().map(narrow).collect()
}

async fn fetch_revenues(
    warehouse: &Warehouse,
    org: OrgId,
    months: Months,
    customer: &str,
) -> Result<HashMap<String, MonthlyAmounts>, ReadError> {
    let query = months
        .bind(read(warehouse, CUSTOMER_REVENUES), org)
        .param("customer", customer);
    fetch_amounts("read revenue by customer", query).await
}

#[derive(Debug, Row, Deserialize)]
struct NameRow {
    customer: String,
    name: String,
}

async fn fetch_names(
    warehouse: &Warehouse,
    org: OrgId,
    months: Months,
    customer: &str,
) -> Result<HashMap<String, String>, ReadError> {
    let query = months
        .bind(read(warehouse, CUSTOMER_NAMES), org)
        .param("customer", customer);
    let rows = fetch_all::<NameRow>("read customer names", query).await?;
    Ok(rows.into_iter().map(|row| (row.customer, row.name)).collect())
}

#[derive(Debug, Row, Deserialize)]
struct ModelRow {
    /// First instant of the month, in milliseconds.
    month: i64,
    model: String,
    cost: i128,
    request_count: i128,
}

/// Sums the months up, and keeps the models of the last one.
fn fold_models(months: Months, rows: Vec<ModelRow>) -> Result<(MonthlyAmounts, Vec<ModelCost>), ReadError> {
    let [_, _, current] = months.starts;
    let mut costs = MonthlyAmounts::default();
    let mut models = Vec::new();
    for row in rows {
        let cost = to_amount(row.cost)?;
        for (start, sum) in months.starts.into_iter().zip(&mut costs) {
            if start == row.month {
                *sum = Microdollars(*sum).checked_add(Microdollars(cost))?.0;
            }
        }
        if row.month == current {
            models.push(ModelCost {
                model: row.model,
                cost,
                request_count: to_request_count(row.request_count)?,
            });
        }
    }
    Ok((costs, models))
}
