//! The margin table as an operator sees it: of any organization, without signing in.

use std::collections::HashMap;

use control::ControlStore;
use query_api::{MonthlyAmounts, build_margin_table};
use schemas::api::margins::MarginTable;
use schemas::id::OrgId;
use schemas::period::Period;
use serde::Deserialize;
use warehouse::{Warehouse, WarehouseError};

use crate::error::CommandError;

const FACTS: &str = "
    SELECT 'cost' AS kind, customer_id AS id, toString(toDate(month)) AS day, toString(sum(cost_microdollars)) AS value
    FROM cost_by_customer_month
    WHERE org_id = {org:UUID} AND toDate(month) BETWEEN {first:Date} AND {last:Date} AND customer_id != ''
    GROUP BY id, day
    UNION ALL
    SELECT 'revenue', stripe_customer_id, toString(toDate(month)), toString(sum(revenue_microdollars))
    FROM revenue_by_month
    WHERE org_id = {org:UUID} AND toDate(month) BETWEEN {first:Date} AND {last:Date}
    GROUP BY stripe_customer_id, month
    UNION ALL
    SELECT 'name', stripe_customer_id, '', argMax(customer_name, (month, version))
    FROM stripe_customer_names
    WHERE org_id = {org:UUID} AND toDate(month) <= {last:Date} AND customer_name != ''
    GROUP BY stripe_customer_id";

#[derive(Deserialize)]
struct Fact {
    kind: String,
    id: String,
    day: String,
    value: String,
}

/// Fetches the table of `period`.
///
/// # Errors
/// [`CommandError::Warehouse`] and [`CommandError::Control`]; [`CommandError::Usage`] where a sum
/// does not fit 64 bits.
pub(crate) async fn fetch_table(
    warehouse: &Warehouse,
    control: &ControlStore,
    org: OrgId,
    period: Period,
) -> Result<MarginTable, CommandError> {
    let months = period.window_of_three();
    let mappings = control.list_customer_mappings(org).await?;
    let facts = fetch_facts(warehouse, org, months).await?;
    let mut costs = HashMap::<String, MonthlyAmounts>::new();
    let mut revenues = HashMap::<String, MonthlyAmounts>::new();
    let mut names = HashMap::new();
    for fact in facts {
        let amounts = match fact.kind.as_str() {
            "cost" => costs.entry(fact.id).or_default(),
            "revenue" => revenues.entry(fact.id).or_default(),
            _ => {
                names.insert(fact.id, fact.value);
                continue;
            }
        };
        let amount = fact.value.parse().map_err(|_| unusable())?;
        for (month, sum) in months.iter().zip(amounts) {
            if month.first_day().to_string() == fact.day {
                *sum = amount;
            }
        }
    }
    build_margin_table(period, &mappings, &costs, &revenues, &names).map_err(|_| unusable())
}

fn unusable() -> CommandError {
    CommandError::Usage("a sum does not fit 64 bits of microdollars".to_owned())
}

async fn fetch_facts(
    warehouse: &Warehouse,
    org: OrgId,
    months: [Period; 3],
) -> Result<Vec<Fact>, CommandError> {
    let failed = |source| WarehouseError::from_client("read margins", source);
    let [first, _, last] = months.map(|month| month.first_day().to_string());
    let query = warehouse.client().query_raw(FACTS).with_setting("readonly", "2");
    let query = query
        .param("org", org.0.to_string())
        .param("first", first)
        .param("last", last);
    let mut cursor = query.fetch_bytes("JSONEachRow").map_err(failed)?;
    let bytes = cursor.collect().await.map_err(failed)?;
    let rows = serde_json::Deserializer::from_slice(&bytes).into_iter::<Fact>();
    rows.collect::<Result<_, _>>().map_err(|_| unusable())
}
