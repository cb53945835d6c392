//! Recomputes every roll-up from the raw rows, in ClickHouse's own SQL and so independently of the
//! DataFusion plans, and compares.

pub(crate) mod checks;

use std::collections::BTreeSet;
use std::time::Duration;

use clickhouse::Row;
use serde::{Deserialize, Serialize};
use tracing::info;
use warehouse::{Warehouse, WarehouseError};

use crate::alone::Alone;
use crate::completeness::Completeness;
use crate::error::ProcessorError;
use checks::{Check, INVARIANTS, Invariant, ROLL_UPS};

/// Differing keys that a report shows of each table.
const MAX_EXAMPLES: usize = 5;
/// Differing keys that are followed from one comparison to the next.
const MAX_FOLLOWED: usize = 100_000;
/// Comparisons beside running processors until a difference counts as one that stays.
const MAX_COMPARISONS: usize = 6;
/// Pause between two of them; longer than most batches take.
const BETWEEN_COMPARISONS: Duration = Duration::from_secs(1);

/// What reconciling found, table by table.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReconcileReport {
    /// One entry per roll-up and per invariant of the raw tables.
    pub tables: Vec<TableDifference>,
    /// Up to when everything is counted; none where the log was not asked.
    pub completeness: Option<Completeness>,
}

impl ReconcileReport {
    /// Returns the number of differences that remain.
    #[must_use]
    pub fn num_differences(&self) -> u64 {
        self.tables
            .iter()
            .filter(|table| !table.repaired)
            .map(|table| table.differences)
            .sum()
    }
}

/// What reconciling found in one table.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TableDifference {
    /// The table.
    pub table: String,
    /// What was compared, for people.
    pub compared: String,
    /// Keys that were compared.
    pub num_keys: u64,
    /// Keys whose sums differ, or rows that break the invariant.
    pub differences: u64,
    /// Some of them, as JSON objects: the key, and what the table lacks.
    pub examples: Vec<String>,
    /// True where the differences were added to the table.
    pub repaired: bool,
}

#[derive(Debug, Row, Deserialize)]
struct Counts {
    num_keys: u64,
    differences: u64,
}

/// Returns the tables that reports speak of, each once.
pub(crate) fn tables() -> BTreeSet<&'static str> {
    let roll_ups = ROLL_UPS.iter().map(|check| check.table);
    roll_ups
        .chain(INVARIANTS.iter().map(|invariant| invariant.table))
        .collect()
}

/// Compares all tables; with `repair`, adds to each roll-up what it lacks. The processor must be
/// held meanwhile ([`crate::Pauser`]), or batches in flight show as differences. `alone` is asked before each
/// repair, where other processes might process.
///
/// # Errors
/// [`ProcessorError`] where the warehouse cannot be read or written.
pub async fn run(
    warehouse: &Warehouse,
    repair: bool,
    alone: Option<Alone<'_>>,
) -> Result<ReconcileReport, ProcessorError> {
    let mut tables = Vec::new();
    for check in &ROLL_UPS {
        tables.push(compare(warehouse, check, repair, alone).await?);
    }
    for invariant in &INVARIANTS {
        tables.push(verify(warehouse, invariant).await?);
    }
    Ok(ReconcileReport {
        tables,
        completeness: None,
    })
}

/// Compares all tables while processors go on. A batch that is being written makes its keys differ for
/// a moment, so only what differs by the same amounts in each of several comparisons counts.
///
/// # Errors
/// [`ProcessorError`] where the warehouse cannot be read.
pub async fn run_beside(warehouse: &Warehouse) -> Result<ReconcileReport, ProcessorError> {
    let mut tables = Vec::new();
    for check in &ROLL_UPS {
        let mut table = compare(warehouse, check, false, None).await?;
        if table.differences > 0 {
            let lasting = lasting_differences(warehouse, check).await?;
            table.differences = lasting.len() as u64;
            table.examples = lasting.into_iter().take(MAX_EXAMPLES).collect();
        }
        tables.push(table);
    }
    for invariant in &INVARIANTS {
        tables.push(verify(warehouse, invariant).await?);
    }
    Ok(ReconcileReport {
        tables,
        completeness: None,
    })
}

/// Returns the keys, with what the table lacks, that differ alike in every comparison.
async fn lasting_differences(
    warehouse: &Warehouse,
    check: &Check,
) -> Result<BTreeSet<String>, ProcessorError> {
    let mut lasting = differing_rows(warehouse, &check.difference(true), MAX_FOLLOWED).await?;
    for _ in 1..MAX_COMPARISONS {
        if lasting.is_empty() {
            break;
        }
        tokio::time::sleep(BETWEEN_COMPARISONS).await;
        let now = differing_rows(warehouse, &check.difference(true), MAX_FOLLOWED).await?;
        lasting.retain(|row| now.contains(row));
    }
    Ok(lasting)
}

async fn compare(
    warehouse: &Warehouse,
    check: &Check,
    repair: bool,
    alone: Option<Alone<'_>>,
) -> Result<TableDifference, ProcessorError> {
    let sql = format!(
        "SELECT toUInt64(count()) AS num_keys, toUInt64(countIf({})) AS differences FROM ({})",
        check.differs(),
        check.difference(false)
    );
    let counts: Counts = fetch_one(warehouse, &sql).await?;
    let examples = if counts.differences == 0 {
        Vec::new()
    } else {
        let rows = differing_rows(warehouse, &check.difference(true), MAX_EXAMPLES).await?;
        rows.into_iter().collect()
    };
    let repaired = repair && counts.differences > 0;
    if repaired {
        let insert = format!(
            "INSERT INTO {} ({}) {}",
            check.table,
            check.columns(),
            check.difference(true)
        );
        if let Some(alone) = alone {
            alone.check().await?;
        }
        execute(warehouse, &insert).await?;
        info!(table = check.table, differences = counts.differences, "repaired");
    }
    Ok(TableDifference {
        table: check.table.to_owned(),
        compared: "sums by key, against the raw rows".to_owned(),
        num_keys: counts.num_keys,
        differences: counts.differences,
        examples,
        repaired,
    })
}

async fn verify(warehouse: &Warehouse, invariant: &Invariant) -> Result<TableDifference, ProcessorError> {
    let counts: Counts = fetch_one(warehouse, invariant.sql).await?;
    Ok(TableDifference {
        table: invariant.table.to_owned(),
        compared: invariant.compared.to_owned(),
        num_keys: counts.num_keys,
        differences: counts.differences,
        examples: Vec::new(),
        repaired: false,
    })
}

async fn fetch_one(warehouse: &Warehouse, sql: &str) -> Result<Counts, ProcessorError> {
    let row = warehouse.client().query(sql).fetch_one().await;
    Ok(row.map_err(|source| WarehouseError::from_client("reconcile", source))?)
}

async fn execute(warehouse: &Warehouse, sql: &str) -> Result<(), ProcessorError> {
    let done = warehouse
        .client()
        .query(sql)
        .with_setting("async_insert", "0")
        // The same damage may be repaired twice; the second repair must not be taken for a retry.
        .with_setting("insert_deduplicate", "0")
        .execute()
        .await;
    Ok(done.map_err(|source| WarehouseError::from_client("repair", source))?)
}

async fn differing_rows(
    warehouse: &Warehouse,
    difference: &str,
    limit: usize,
) -> Result<BTreeSet<String>, ProcessorError> {
    let failed = |source| WarehouseError::from_client("reconcile", source);
    let sql = format!("SELECT * FROM ({difference}) ORDER BY ALL LIMIT {limit}");
    let mut cursor = warehouse
        .client()
        .query(&sql)
        .fetch_bytes("JSONEachRow")
        .map_err(failed)?;
    let bytes = cursor.collect().await.map_err(failed)?;
    Ok(String::from_utf8_lossy(&bytes)
        .lines()
        .map(str::to_owned)
        .collect())
}
