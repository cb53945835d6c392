//! Writes a prepared batch: one insert per table, each under the batch's token.

use std::future::Future;
use std::time::{Duration, Instant};

use telemetry::crash_point;
use tracing::{error, warn};
use warehouse::Warehouse;

use crate::batch::Batch;
use crate::error::ProcessorError;
use crate::layout;
use crate::lease::Lease;
use crate::metrics::{count_insert, count_retry};
use crate::plan::Prepared;

/// The actions that are repeated, as log lines and metrics name them.
pub(crate) const PREPARE: &str = "prepare a batch";
pub(crate) const INSERT: &str = "insert a batch";

/// The first pause between two attempts; it doubles up to [`MAX_BACKOFF`].
const MIN_BACKOFF: Duration = Duration::from_millis(100);
/// The longest pause between two attempts.
const MAX_BACKOFF: Duration = Duration::from_secs(10);

/// The writing edge of the pipeline.
#[derive(Debug, Clone)]
pub(crate) struct Writer {
    warehouse: Warehouse,
}

impl Writer {
    pub(crate) const fn new(warehouse: Warehouse) -> Self {
        Self { warehouse }
    }

    /// Makes sure that events are spread over `num_partitions`.
    ///
    /// # Errors
    /// [`ProcessorError::LayoutChanged`] where they are not: the process must start anew.
    pub(crate) async fn check_layout(&self, num_partitions: u32) -> Result<(), ProcessorError> {
        match layout::in_force(&self.warehouse).await? {
            Some(in_force) if in_force != num_partitions => Err(ProcessorError::LayoutChanged {
                known: num_partitions,
                in_force,
            }),
            _ => Ok(()),
        }
    }

    /// Inserts every table's rows, in order. Repeats what can be repeated until it succeeds: the
    /// partition does not move on without its rows.
    ///
    /// # Errors
    /// [`ProcessorError::Log`] with [`event_log::LogError::Fenced`] where another member owns the
    /// partition; others that repeating cannot mend.
    pub(crate) async fn write(
        &self,
        batch: &Batch,
        prepared: &Prepared,
        lease: &Lease,
    ) -> Result<(), ProcessorError> {
        for insert in prepared
            .inserts
            .iter()
            .filter(|insert| insert.rows.num_rows() > 0)
        {
            let token = batch.token(insert.table);
            let rows = std::slice::from_ref(&insert.rows);
            let started = Instant::now();
            retrying(INSERT, || async {
                lease.check().await?;
                self.warehouse.insert_arrow(insert.table, rows, &token).await?;
                Ok(())
            })
            .await?;
            count_insert(insert.table, started.elapsed());
            crash_point("processor-between-inserts");
        }
        Ok(())
    }
}

/// Repeats `attempt` with capped backoff until it succeeds or fails for good.
pub(crate) async fn retrying<T, F, A>(action: &'static str, mut attempt: A) -> Result<T, ProcessorError>
where
    F: Future<Output = Result<T, ProcessorError>>,
    A: FnMut() -> F,
{
    let mut backoff = MIN_BACKOFF;
    let mut attempts = 1_u32;
    loop {
        match attempt().await {
            Err(error) if error.is_retryable() => {
                count_retry(action);
                warn!(error = %chain(&error), attempts, action, "failed, will try again");
                tokio::time::sleep(backoff).await;
                backoff = (backoff * 2).min(MAX_BACKOFF);
                attempts = attempts.saturating_add(1);
            }
            // No failure: the partition has another owner now.
            Err(error) if error.is_fenced() => return Err(error),
            Err(error) => {
                error!(error = %chain(&error), attempts, action, "failed for good");
                return Err(error);
            }
            Ok(value) => return Ok(value),
        }
    }
}

/// Joins an error's text with those of its sources.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
