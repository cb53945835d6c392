//! Event log in, ClickHouse out: exact batches, DataFusion roll-ups (architecture §3).
//!
//! [`pipeline`] is the loop. What a batch of one topic becomes is decided by that topic's plan
//! ([`plan`]): cost events, invoices, or changes of the control store.

mod batch;
mod dead_letter;
mod dedupe;
mod error;
mod members;
mod pause;
mod pipeline;
mod plan;
pub mod reconcile;
mod rollup;
mod stats;
mod writer;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use event_log::{EventLog, TopicPartition};
use known_events::KnownEvents;
use schemas::topic;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;
use warehouse::Warehouse;

pub use error::ProcessorError;
pub use pause::{PauseGuard, Pauser};
pub use stats::{ProcessorStats, TopicCounts};

/// The next offset to process of each partition, as committed.
pub type Progress = BTreeMap<TopicPartition, u64>;

/// How batches are cut.
#[derive(Debug, Clone)]
pub struct ProcessorConfig {
    /// The consumer group.
    pub group: String,
    /// A batch ends once it holds this many bytes of records. Soft: the last record may pass it.
    pub max_batch_bytes: usize,
    /// A batch ends this long after its first record was read.
    pub max_batch_age: Duration,
}

impl Default for ProcessorConfig {
    fn default() -> Self {
        Self {
            group: "processor".to_owned(),
            max_batch_bytes: 24 * 1024 * 1024,
            max_batch_age: Duration::from_millis(200),
        }
    }
}

/// A processor that knows what was counted already, ready to run.
#[derive(Debug)]
pub struct Processor {
    config: ProcessorConfig,
    log: Arc<dyn EventLog>,
    warehouse: Warehouse,
    known: Arc<KnownEvents>,
    progress: watch::Sender<Progress>,
    pauser: Pauser,
    stats: Arc<ProcessorStats>,
}

impl Processor {
    /// Loads the ids of all events that were counted. The warehouse must be migrated.
    ///
    /// # Errors
    /// [`ProcessorError`] where the warehouse cannot be read.
    pub async fn start(
        config: ProcessorConfig,
        log: Arc<dyn EventLog>,
        warehouse: Warehouse,
    ) -> Result<Self, ProcessorError> {
        let known = KnownEvents::load(&warehouse).await?;
        info!(
            num_ids = known.num_ids(),
            filter_bytes = known.num_bytes(),
            "loaded the ids of known events"
        );
        Ok(Self {
            config,
            log,
            warehouse,
            known: Arc::new(known),
            progress: watch::Sender::new(Progress::new()),
            pauser: Pauser::default(),
            stats: Arc::new(ProcessorStats::default()),
        })
    }

    /// Returns the filter of counted events, which this processor keeps up to date.
    #[must_use]
    pub fn known_events(&self) -> Arc<KnownEvents> {
        Arc::clone(&self.known)
    }

    /// Returns how far each partition was processed and committed, now and as it moves.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Returns what can hold the processor between two batches.
    #[must_use]
    pub fn pauser(&self) -> Pauser {
        self.pauser.clone()
    }

    /// Returns the counters of this process's life.
    #[must_use]
    pub fn stats(&self) -> Arc<ProcessorStats> {
        Arc::clone(&self.stats)
    }

    /// Processes until `shutdown`, and then what is left in the log.
    ///
    /// # Errors
    /// [`ProcessorError`] that retrying cannot mend; the process must end and start clean.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ProcessorError> {
        let member = self.log.join(&self.config.group, &topic::ALL).await?;
        members::run(self, Arc::from(member), shutdown).await
    }
}
