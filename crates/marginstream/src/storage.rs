//! What every process that owns the data directory opens first, in this order.

use std::path::Path;
use std::sync::Arc;

use control::ControlStore;
use event_log::{EventLog, LocalLog, LogError, TopicPartition};
use processor::{Processor, ProcessorConfig, Progress, layout};
use schemas::topic;
use tokio::sync::watch;
use warehouse::Warehouse;

use crate::config::{BatchConfig, DataConfig, EventLogConfig};
use crate::data_dir::DataDir;
use crate::error::CommandError;

/// The data directory, its log, whose lock makes this process the only owner, and its control store.
#[derive(Debug, Clone)]
pub(crate) struct Storage {
    pub(crate) dir: DataDir,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) control: ControlStore,
}

impl Storage {
    /// Opens all three, for a server.
    pub(crate) async fn open(data: &DataConfig, event_log: &EventLogConfig) -> Result<Self, CommandError> {
        let dir = DataDir::prepare(&data.data)?;
        Self::open_parts(dir, event_log.clone()).await
    }

    /// Opens all three for one operation: with as many partitions as there are, and without removing
    /// old records, which is for the server's settings to decide.
    pub(crate) async fn open_once(dir: DataDir, event_log: &EventLogConfig) -> Result<Self, CommandError> {
        let mut event_log = event_log.clone();
        let partitions = count_partitions(&dir.log().join(topic::COST_EVENTS));
        event_log.event_log_partitions = event_log.event_log_partitions.max(partitions);
        event_log.retention.event_log_retention_bytes = 0;
        event_log.retention.event_log_retention_hours = 0;
        Self::open_parts(dir, event_log).await
    }

    async fn open_parts(dir: DataDir, event_log: EventLogConfig) -> Result<Self, CommandError> {
        let log = match open_log(event_log, &dir.log()).await {
            Err(CommandError::Log(LogError::Locked { pid, .. })) => {
                return Err(CommandError::InUse {
                    data: dir.path().to_path_buf(),
                    pid,
                });
            }
            opened => opened?,
        };
        let control = ControlStore::connect(&dir.control_url()).await?;
        Ok(Self { dir, log, control })
    }

    /// Starts a processor over the log. The warehouse must be served and migrated.
    pub(crate) async fn processor(
        &self,
        batch: &BatchConfig,
        warehouse: &Warehouse,
    ) -> Result<Processor, CommandError> {
        // The log's lock makes this the only processor, so it may spread events anew.
        let num_partitions = layout::use_all_partitions(&*self.log, warehouse, None).await?;
        let config = ProcessorConfig {
            num_partitions,
            ..batch.processor()
        };
        let processor = Processor::new(config, Arc::clone(&self.log), warehouse.clone());
        processor.load_known_events().await?;
        Ok(processor)
    }

    /// Writes out what the log was given, and closes.
    pub(crate) async fn close(self) -> Result<(), CommandError> {
        let outcome = self.log.shutdown().await;
        self.control.close().await;
        Ok(outcome?)
    }
}

/// Returns the end of every partition that has something left for `group`: what must be processed until
/// all that is acknowledged now is.
pub(crate) async fn ends(log: &dyn EventLog, group: &str) -> Result<Progress, CommandError> {
    let mut ends = Progress::new();
    for name in topic::PROCESSED {
        for partition in 0..log.num_partitions(name)? {
            let topic_partition = TopicPartition::new(name, partition);
            let position = log.position(group, &topic_partition).await?;
            if position.lag() > 0 {
                ends.insert(topic_partition, position.end);
            }
        }
    }
    Ok(ends)
}

/// Waits until the processor has passed `ends`. Returns false if it stopped before.
pub(crate) async fn wait_until_processed(mut progress: watch::Receiver<Progress>, ends: &Progress) -> bool {
    let has_passed = |progress: &Progress| {
        ends.iter()
            .all(|(partition, end)| progress.get(partition).is_some_and(|next| next >= end))
    };
    progress.wait_for(has_passed).await.is_ok()
}

async fn open_log(config: EventLogConfig, dir: &Path) -> Result<Arc<dyn EventLog>, CommandError> {
    let config = config.local(dir);
    let opened = tokio::task::spawn_blocking(|| LocalLog::open(config)).await;
    let log: Result<LocalLog, LogError> = opened.map_err(|error| CommandError::Runtime(error.into()))?;
    Ok(Arc::new(log?))
}

/// Counts the partitions of a topic on disk, at least 1.
fn count_partitions(topic_dir: &Path) -> u32 {
    let Ok(entries) = topic_dir.read_dir() else {
        return 1;
    };
    let numbers = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    numbers.max().map_or(1, |last| last.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_on_disk_are_counted() {
        let root = tempfile::tempdir().unwrap();
        assert_eq!(count_partitions(root.path()), 1);
        for name in ["0", "3", "x"] {
            std::fs::create_dir(root.path().join(name)).unwrap();
        }
        assert_eq!(count_partitions(root.path()), 4);
    }

    #[tokio::test]
    async fn waits_for_every_partition() {
        let partition = |number| TopicPartition::new("cost-events", number);
        let ends = Progress::from([(partition(0), 5), (partition(1), 3)]);
        let (sender, receiver) = watch::channel(Progress::from([(partition(0), 9)]));
        let waiting = tokio::spawn(async move { wait_until_processed(receiver, &ends).await });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        sender
            .send(Progress::from([(partition(0), 9), (partition(1), 3)]))
            .unwrap();
        assert!(waiting.await.unwrap());
    }

    #[tokio::test]
    async fn notices_a_processor_that_stopped() {
        let (sender, receiver) = watch::channel(Progress::new());
        drop(sender);
        let ends = Progress::from([(TopicPartition::new("invoices", 0), 1)]);
        assert!(!wait_until_processed(receiver, &ends).await);
    }
}
