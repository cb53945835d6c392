//! Rebuilds every roll-up from the raw rows, beside the live table, and swaps them.
//!
//! The live tables are read by others until the very swap. No batch may be in flight: its roll-ups
//! would be in the rebuilt tables already, which know none of its tokens.

use clickhouse::Row;
use serde::{Deserialize, Serialize};
use tracing::info;
use warehouse::{Warehouse, WarehouseError};

use crate::alone::Alone;
use crate::error::ProcessorError;
use crate::reconcile::checks::{Check, ROLL_UPS};

/// What became of one table.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayedTable {
    /// The table.
    pub table: String,
    /// Rows that it had, before merges of equal keys or after.
    pub rows_before: u64,
    /// Rows that it has now: one per key.
    pub rows_after: u64,
}

#[derive(Debug, Row, Deserialize)]
struct Count {
    rows: u64,
}

/// Rebuilds all roll-ups, one after the other. A failure leaves the tables that were not swapped as they
/// were. `alone` is asked before each swap, where other processes might process.
///
/// # Errors
/// [`ProcessorError::Warehouse`]; [`ProcessorError::Replay`] where a rebuilt table does not sum to the raw
/// rows, which is not swapped then.
pub async fn run(
    warehouse: &Warehouse,
    alone: Option<Alone<'_>>,
) -> Result<Vec<ReplayedTable>, ProcessorError> {
    let mut tables = Vec::new();
    for check in &ROLL_UPS {
        let replayed = replay(warehouse, check, alone).await?;
        info!(
            table = check.table,
            rows_before = replayed.rows_before,
            rows_after = replayed.rows_after,
            "rebuilt"
        );
        tables.push(replayed);
    }
    Ok(tables)
}

async fn replay(
    warehouse: &Warehouse,
    check: &Check,
    alone: Option<Alone<'_>>,
) -> Result<ReplayedTable, ProcessorError> {
    let (live, rebuilt) = (check.table, format!("{}_rebuilt", check.table));
    let run = |sql: String| async move {
        let done = warehouse
            .client()
            .query(&sql)
            .with_setting("async_insert", "0")
            .execute()
            .await;
        done.map_err(|source| ProcessorError::from(WarehouseError::from_client("rebuild a roll-up", source)))
    };
    // A replay that was cut short may have left it.
    run(format!("DROP TABLE IF EXISTS {rebuilt} SYNC")).await?;
    run(format!("CREATE TABLE {rebuilt} AS {live}")).await?;
    run(format!(
        "INSERT INTO {rebuilt} ({}) {}",
        check.columns(),
        check.expected
    ))
    .await?;
    let rows_of = |table: &str| format!("SELECT toUInt64(count()) AS rows FROM {table}");
    let rows_before = fetch_count(warehouse, &rows_of(live)).await?;
    let rows_after = fetch_count(warehouse, &rows_of(&rebuilt)).await?;
    let differing = format!(
        "SELECT toUInt64(count()) AS rows FROM ({})",
        check.difference_to(&rebuilt, true)
    );
    if fetch_count(warehouse, &differing).await? > 0 {
        return Err(ProcessorError::Replay(live));
    }
    if let Some(alone) = alone {
        alone.check().await?;
    }
    run(format!("EXCHANGE TABLES {live} AND {rebuilt}")).await?;
    run(format!("DROP TABLE {rebuilt} SYNC")).await?;
    Ok(ReplayedTable {
        table: live.to_owned(),
        rows_before,
        rows_after,
    })
}

async fn fetch_count(warehouse: &Warehouse, sql: &str) -> Result<u64, ProcessorError> {
    let counted = warehouse.client().query(sql).fetch_one::<Count>().await;
    let counted = counted.map_err(|source| WarehouseError::from_client("count rows", source))?;
    Ok(counted.rows)
}
