//! Reconciling at intervals, with the result as metrics.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use event_log::{EventLog, TopicPartition};
use schemas::time::TimestampMs;
use schemas::topic;
use tokio::sync::watch;
use tracing::{error, info, warn};
use warehouse::Warehouse;

use crate::error::ProcessorError;
use crate::metrics::{COMPLETE_TO, RECONCILE_DIFFERENCES, RECONCILE_RUNS, RECONCILED_AT};
use crate::{Progress, completeness, reconcile};

/// What a scheduled reconcile needs.
#[derive(Debug, Clone)]
pub(crate) struct Schedule {
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) group: String,
    pub(crate) warehouse: Warehouse,
    /// Time between two runs; none: never.
    pub(crate) every: Option<Duration>,
    /// What this process owns: the owner of the first partition reconciles for all.
    pub(crate) progress: watch::Receiver<Progress>,
}

impl Schedule {
    /// Reconciles at intervals for as long as the future is polled; it never ends by itself.
    pub(crate) async fn follow(self) -> Infallible {
        self.show();
        let Some(every) = self.every else {
            return std::future::pending().await;
        };
        let first = TopicPartition::new(topic::COST_EVENTS, 0);
        loop {
            tokio::time::sleep(every).await;
            if !self.progress.borrow().contains_key(&first) {
                continue;
            }
            let outcome = match self.run().await {
                Ok(0) => "clean",
                Ok(_) => "differences",
                Err(error) => {
                    warn!(%error, "scheduled reconcile failed");
                    "failed"
                }
            };
            RECONCILE_RUNS.counter_of(&[outcome]).increment(1);
        }
    }

    /// Shows metrics that have no value before the first run.
    fn show(&self) {
        for outcome in ["clean", "differences", "failed"] {
            RECONCILE_RUNS.counter_of(&[outcome]).increment(0);
        }
        for table in reconcile::tables() {
            RECONCILE_DIFFERENCES.gauge_of(&[table]).set(f64::NAN);
        }
        for instant in [RECONCILED_AT, COMPLETE_TO] {
            instant.gauge_of(&[]).set(f64::NAN);
        }
    }

    /// Returns the number of differences.
    async fn run(&self) -> Result<u64, ProcessorError> {
        let report = reconcile::run_beside(&self.warehouse).await?;
        let mut by_table = std::collections::BTreeMap::<&str, u64>::new();
        for table in &report.tables {
            *by_table.entry(&table.table).or_default() += table.differences;
        }
        for (table, differences) in by_table {
            RECONCILE_DIFFERENCES.gauge_of(&[table]).set(differences as f64);
        }
        let now = TimestampMs::now();
        RECONCILED_AT.gauge_of(&[]).set(now.0 as f64 / 1e3);
        let completeness = completeness::fetch(&*self.log, &self.group, &self.warehouse, now).await?;
        if let Some(complete_to) = completeness.complete_to {
            COMPLETE_TO.gauge_of(&[]).set(complete_to.0 as f64 / 1e3);
        }
        let differences = report.num_differences();
        if differences > 0 {
            error!(
                differences,
                "roll-ups differ from the raw events; `marginstream reconcile` shows where"
            );
        } else {
            info!(complete_to = ?completeness.complete_to, "reconciled, no differences");
        }
        Ok(differences)
    }
}
