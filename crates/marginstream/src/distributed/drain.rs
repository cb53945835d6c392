//! Counts what the log holds, for a command that must be alone with the warehouse.

use std::sync::Arc;

use event_log::EventLog;
use processor::{Alone, PauseGuard, Processor, ProcessorConfig, ProcessorError, layout};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use warehouse::Warehouse;

use super::{open_log_once, open_warehouse, refuse_running_processors};
use crate::config::{BackendArgs, BatchConfig, RetentionArgs};
use crate::error::CommandError;
use crate::storage::{ends, wait_until_processed};

/// A warehouse that no batch is being written to, by this process or, as long as no other joins the
/// group, any. What ingest takes meanwhile waits in the log.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) warehouse: Warehouse,
    pub(crate) log: Arc<dyn EventLog>,
    /// The processor stays in its group, so that a second command refuses.
    running: JoinHandle<Result<(), ProcessorError>>,
    stop: CancellationToken,
    paused: PauseGuard,
}

impl Held {
    /// Returns what tells whether this process still is the only one of its group.
    pub(crate) fn alone(&self) -> Alone<'_> {
        Alone::new(&*self.log, BatchConfig::GROUP)
    }

    pub(crate) async fn release(self) -> Result<(), CommandError> {
        self.stop.cancel();
        drop(self.paused);
        let ended = self.running.await;
        ended.map_err(|error| CommandError::Runtime(error.into()))??;
        Ok(self.log.shutdown().await?)
    }
}

/// Refuses while processors run; then counts all that the log holds now, and waits.
pub(crate) async fn drain(
    backends: &BackendArgs,
    retention: &RetentionArgs,
    batch: &BatchConfig,
) -> Result<Held, CommandError> {
    let log = open_log_once(backends, retention).await?;
    refuse_running_processors(&*log, "what they are writing would be counted twice").await?;
    let warehouse = open_warehouse(backends).await?;
    let config = ProcessorConfig {
        num_partitions: layout::num_partitions(&*log, &warehouse).await?,
        drains_at_stop: false,
        reconcile_every: None,
        dead_letters_max_bytes: None,
        ..batch.processor()
    };
    let ends = ends(&*log, &config.group).await?;
    let processor = Processor::new(config, Arc::clone(&log), warehouse.clone());
    let (progress, pauser) = (processor.progress(), processor.pauser());
    let stop = CancellationToken::new();
    let running = tokio::spawn(processor.run(stop.clone()));
    wait_until_processed(progress, &ends).await;
    Ok(Held {
        warehouse,
        log,
        running,
        stop,
        paused: pauser.pause().await,
    })
}
