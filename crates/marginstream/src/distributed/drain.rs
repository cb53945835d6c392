//! Counts what the log holds, for a command that must be alone with the warehouse.

use std::sync::Arc;

use event_log::EventLog;
use processor::{Processor, ProcessorConfig, layout};
use tokio_util::sync::CancellationToken;
use warehouse::Warehouse;

use super::{open_log, open_warehouse, refuse_running_processors};
use crate::config::{BackendArgs, BatchConfig, RetentionArgs};
use crate::error::CommandError;
use crate::storage::{ends, wait_until_processed};

/// A warehouse that no batch is being written to. What ingest takes meanwhile waits in the log.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) warehouse: Warehouse,
    log: Arc<dyn EventLog>,
}

impl Held {
    pub(crate) async fn release(self) -> Result<(), CommandError> {
        Ok(self.log.shutdown().await?)
    }
}

/// Refuses while processors run; then counts all that the log holds now, and stops.
pub(crate) async fn drain(
    backends: &BackendArgs,
    retention: &RetentionArgs,
    batch: &BatchConfig,
) -> Result<Held, CommandError> {
    let log = open_log(backends, retention).await?;
    refuse_running_processors(&*log, "what they are writing would be counted twice").await?;
    let warehouse = open_warehouse(backends).await?;
    let config = ProcessorConfig {
        num_partitions: layout::num_partitions(&*log, &warehouse).await?,
        drains_at_stop: false,
        ..batch.processor()
    };
    let ends = ends(&*log, &config.group).await?;
    let processor = Processor::new(config, Arc::clone(&log), warehouse.clone());
    let progress = processor.progress();
    let stop = CancellationToken::new();
    let running = tokio::spawn(processor.run(stop.clone()));
    wait_until_processed(progress, &ends).await;
    stop.cancel();
    running
        .await
        .map_err(|error| CommandError::Runtime(error.into()))??;
    Ok(Held { warehouse, log })
}
