//! Event log in, ClickHouse out: exact batches, DataFusion roll-ups (architecture §3).
//!
//! [`pipeline`] is the loop. What a batch of one topic becomes is decided by that topic's plan
//! ([`plan`]): cost events, invoices, or changes of the control store.

mod alone;
mod batch;
pub mod completeness;
mod dead_letter;
mod dead_letter_limit;
pub mod dead_letters;
mod dedupe;
mod error;
mod lag;
pub mod layout;
mod lease;
mod members;
mod metrics;
mod pause;
mod pipeline;
mod plan;
pub mod reconcile;
pub mod replay;
mod rollup;
mod schedule;
mod stats;
mod writer;

use std::collections::BTreeMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

use dead_letter_limit::DeadLetterLimit;
use event_log::{EventLog, TopicPartition};
use known_events::KnownEvents;
use schedule::Schedule;
use schemas::topic;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;
use warehouse::Warehouse;

pub use alone::Alone;
pub use error::ProcessorError;
pub use lag::Lag;
pub use metrics::METRICS;
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
    /// Over how many partitions cost events are spread ([`layout`]).
    pub num_partitions: u32,
    /// Time between two comparisons of roll-ups and raw rows ([`reconcile::run_beside`]); none: never.
    pub reconcile_every: Option<Duration>,
    /// Bytes of table `dead_letters`, before compression, above which its oldest rows go; none: no limit.
    pub dead_letters_max_bytes: Option<NonZeroU64>,
    /// Whether a stop first counts all that the log holds by then.
    pub drains_at_stop: bool,
}

impl Default for ProcessorConfig {
    fn default() -> Self {
        Self {
            group: "processor".to_owned(),
            max_batch_bytes: 24 * 1024 * 1024,
            max_batch_age: Duration::from_millis(200),
            num_partitions: 1,
            reconcile_every: None,
            dead_letters_max_bytes: None,
            drains_at_stop: true,
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
    lag: watch::Sender<Lag>,
}

impl Processor {
    /// Makes a processor, which shares the partitions with others of its group and loads the ids of
    /// counted events of those that it gets.
    #[must_use]
    pub fn new(config: ProcessorConfig, log: Arc<dyn EventLog>, warehouse: Warehouse) -> Self {
        let known = Arc::new(KnownEvents::new(config.num_partitions));
        known_events::metrics::show(&known);
        metrics::show_retries();
        Self {
            known,
            config,
            log,
            warehouse,
            progress: watch::Sender::new(Progress::new()),
            pauser: Pauser::default(),
            stats: Arc::new(ProcessorStats::default()),
            lag: watch::Sender::default(),
        }
    }

    /// Loads the ids of all events that were counted, for a processor that is the only one of its
    /// group, and for those who share its filter. The warehouse must be migrated.
    ///
    /// # Errors
    /// [`ProcessorError`] where the warehouse cannot be read.
    pub async fn load_known_events(&self) -> Result<(), ProcessorError> {
        self.known.load_all(&self.warehouse).await?;
        known_events::metrics::show(&self.known);
        info!(
            num_ids = self.known.num_ids(),
            filter_bytes = self.known.num_bytes(),
            "loaded the ids of known events"
        );
        Ok(())
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

    /// Returns how far the processor is behind, as sampled every two seconds while it runs.
    #[must_use]
    pub fn lag(&self) -> watch::Receiver<Lag> {
        self.lag.subscribe()
    }

    /// Processes until `shutdown`, and then what is left in the log.
    ///
    /// # Errors
    /// [`ProcessorError`] that retrying cannot mend; the process must end and start clean.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), ProcessorError> {
        let member = self.log.join(&self.config.group, &topic::PROCESSED).await?;
        let (log, group) = (Arc::clone(&self.log), self.config.group.clone());
        let following = lag::follow(log, group, self.progress(), self.lag.clone());
        let schedule = Schedule {
            log: Arc::clone(&self.log),
            group: self.config.group.clone(),
            warehouse: self.warehouse.clone(),
            every: self.config.reconcile_every,
            progress: self.progress(),
        };
        let dead_letters = DeadLetterLimit {
            warehouse: self.warehouse.clone(),
            max_bytes: self.config.dead_letters_max_bytes,
            progress: self.progress(),
        };
        tokio::select! {
            outcome = members::run(self, Arc::from(member), shutdown) => outcome,
            never = following => match never {},
            never = schedule.follow() => match never {},
            never = dead_letters.follow() => match never {},
        }
    }
}
