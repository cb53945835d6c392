//! The event log and the processor's batches.

use std::num::NonZeroU64;
use std::path::Path;
use std::time::Duration;

use clap::Args;
use event_log::{LocalLogConfig, SyncPolicy, TopicSpec};
use processor::ProcessorConfig;
use schemas::topic;

/// Dead letters that the topic keeps, in bytes.
pub(super) const DEAD_LETTERS_RETENTION_BYTES: u64 = 1 << 30;

/// The event log.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Event log")]
pub struct EventLogConfig {
    /// When an event counts as durable and is acknowledged: `commit`, after the disk has it, which
    /// survives power loss; or `interval:100ms`, after the write, with a sync at most that much later,
    /// which survives the process but may lose that much to a power loss.
    #[arg(long, env = "MARGINSTREAM_EVENT_LOG_SYNC", value_name = "POLICY", default_value_t = SyncPolicy::EveryCommit)]
    pub event_log_sync: SyncPolicy,

    /// Partitions of the topic of cost events; each is processed on its own. May grow later, never
    /// shrink. More than the machine has cores only makes batches smaller.
    #[arg(long, env = "MARGINSTREAM_EVENT_LOG_PARTITIONS", value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    pub event_log_partitions: u32,

    /// How long cost events stay.
    #[command(flatten)]
    pub retention: RetentionArgs,

    /// Size at which a file of the log is closed and the next one begun, in bytes. Retention frees
    /// whole files.
    #[arg(long, env = "MARGINSTREAM_EVENT_LOG_SEGMENT_BYTES", value_name = "BYTES", default_value_t = 128 << 20, value_parser = clap::value_parser!(u64).range(1 << 20..=4 << 30))]
    pub event_log_segment_bytes: u64,
}

/// How long cost events stay in the log.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Event log")]
pub struct RetentionArgs {
    /// Bytes of cost events that each partition keeps for a replay; 0 keeps all. The local log keeps
    /// what is not processed yet in any case; Kafka does not know what is processed, so there it must
    /// hold what comes in while no processor runs, and a topic that keeps more already is left as it is.
    #[arg(long, env = "MARGINSTREAM_EVENT_LOG_RETENTION_BYTES", value_name = "BYTES", default_value_t = 4 << 30)]
    pub event_log_retention_bytes: u64,

    /// Age, in hours since arrival, after which cost events leave the log; 0 keeps them. What is not
    /// processed yet is treated as above.
    #[arg(
        long,
        env = "MARGINSTREAM_EVENT_LOG_RETENTION_HOURS",
        value_name = "HOURS",
        default_value_t = 168
    )]
    pub event_log_retention_hours: u32,
}

impl RetentionArgs {
    pub(super) fn bytes(&self) -> Option<u64> {
        (self.event_log_retention_bytes > 0).then_some(self.event_log_retention_bytes)
    }

    pub(super) fn age(&self) -> Option<Duration> {
        let hours = u64::from(self.event_log_retention_hours);
        (hours > 0).then_some(Duration::from_secs(hours * 3600))
    }
}

impl EventLogConfig {
    /// Returns the settings of the log in `dir`.
    pub(crate) fn local(&self, dir: &Path) -> LocalLogConfig {
        let cost_events = TopicSpec {
            name: topic::COST_EVENTS.to_owned(),
            partitions: self.event_log_partitions,
            retention_bytes: self.retention.bytes(),
            retention: self.retention.age(),
            waits_for_groups: true,
        };
        // Few and small, and all that a rebuild of revenue and mappings needs.
        let kept = |name: &str| TopicSpec {
            name: name.to_owned(),
            partitions: 1,
            retention_bytes: None,
            retention: None,
            waits_for_groups: true,
        };
        // Nobody here consumes it, so a limit alone decides; the table has one of its own.
        let dead_letters = TopicSpec {
            retention_bytes: Some(DEAD_LETTERS_RETENTION_BYTES),
            waits_for_groups: false,
            ..kept(topic::DEAD_LETTERS)
        };
        let topics = vec![
            cost_events,
            kept(topic::INVOICES),
            kept(topic::DIMENSIONS),
            dead_letters,
        ];
        LocalLogConfig {
            sync: self.event_log_sync,
            segment_bytes: self.event_log_segment_bytes,
            ..LocalLogConfig::new(dir, topics)
        }
    }
}

/// How the processor cuts batches.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Batches")]
pub struct BatchConfig {
    /// Size of log records at which a batch ends, in bytes. Larger batches cost less for each event and
    /// more memory.
    #[arg(long, env = "MARGINSTREAM_BATCH_MAX_BYTES", value_name = "BYTES", default_value_t = 24 << 20, value_parser = clap::value_parser!(u64).range(1 << 16..=1 << 30))]
    pub batch_max_bytes: u64,

    /// Longest wait for more events before a batch is written, in milliseconds: the larger part of the
    /// time from an event's acknowledgement until queries show it.
    #[arg(long, env = "MARGINSTREAM_BATCH_MAX_AGE_MS", value_name = "MILLISECONDS", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=60_000))]
    pub batch_max_age_ms: u64,

    /// Minutes between two comparisons of all roll-ups with the raw events, while everything runs; the
    /// result stands in the metrics and, where they differ, in an error line. 0: never.
    #[arg(long, env = "MARGINSTREAM_RECONCILE_EVERY_MINS", value_name = "MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=10_080))]
    pub reconcile_every_mins: u64,

    /// Bytes of dead letters that the warehouse keeps, before compression. When there are more, the oldest
    /// go, whether they were sent again or not, until three quarters are left. 0: all stay.
    #[arg(long, env = "MARGINSTREAM_DEAD_LETTERS_MAX_BYTES", value_name = "BYTES", default_value_t = DEAD_LETTERS_RETENTION_BYTES)]
    pub dead_letters_max_bytes: u64,
}

impl BatchConfig {
    /// The processors' consumer group.
    pub(crate) const GROUP: &str = topic::PROCESSOR_GROUP;

    pub(crate) fn processor(&self) -> ProcessorConfig {
        ProcessorConfig {
            max_batch_bytes: usize::try_from(self.batch_max_bytes).unwrap_or(usize::MAX),
            max_batch_age: Duration::from_millis(self.batch_max_age_ms),
            reconcile_every: (self.reconcile_every_mins > 0)
                .then(|| Duration::from_secs(self.reconcile_every_mins * 60)),
            dead_letters_max_bytes: NonZeroU64::new(self.dead_letters_max_bytes),
            group: Self::GROUP.to_owned(),
            ..ProcessorConfig::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn table_and_topic_keep_as_many_dead_letters_unless_0_lifts_the_limit() {
        let root = std::path::PathBuf::from("unused");
        let mut batch = Config::on_free_ports(root).unwrap().batch;
        let limit = |batch: &BatchConfig| batch.processor().dead_letters_max_bytes.map(NonZeroU64::get);
        assert_eq!(limit(&batch), Some(DEAD_LETTERS_RETENTION_BYTES));
        batch.dead_letters_max_bytes = 0;
        assert_eq!(limit(&batch), None);
    }
}
