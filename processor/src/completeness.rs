//! Up to when everything that was received is counted.

use clickhouse::Row;
use event_log::{EventLog, TopicPartition};
use schemas::time::TimestampMs;
use schemas::topic;
use serde::{Deserialize, Serialize};
use warehouse::{Warehouse, WarehouseError};

use crate::error::ProcessorError;

/// How far one partition is counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartitionState {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The next offset to count: all below it are counted.
    pub next_offset: u64,
    /// Offsets in the log that are not counted yet.
    pub lag: u64,
    /// All that the log took before this instant is counted; none where nothing ever was.
    pub complete_to: Option<TimestampMs>,
}

/// How far all is counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Completeness {
    /// All that any partition took before this instant is counted; none where that cannot be told.
    pub complete_to: Option<TimestampMs>,
    /// Each partition.
    pub partitions: Vec<PartitionState>,
}

#[derive(Debug, Row, Deserialize)]
struct Newest {
    topic: String,
    log_partition: u32,
    oldest_received_at: i64,
}

/// Compares what the processors of `group` have committed with the ends of the log.
///
/// # Errors
/// [`ProcessorError::Log`] and [`ProcessorError::Warehouse`].
pub async fn fetch(
    log: &dyn EventLog,
    group: &str,
    warehouse: &Warehouse,
    now: TimestampMs,
) -> Result<Completeness, ProcessorError> {
    let newest = newest_batches(warehouse).await?;
    let mut partitions = Vec::new();
    for name in topic::PROCESSED {
        for partition in 0..log.num_partitions(name)? {
            let place = TopicPartition::new(name, partition);
            let position = log.position(group, &place).await?;
            let lag = position.lag();
            let of_place = |batch: &&Newest| batch.topic == name && batch.log_partition == partition;
            let newest_at = newest
                .iter()
                .find(of_place)
                .map(|batch| TimestampMs(batch.oldest_received_at));
            partitions.push(PartitionState {
                topic: name.to_owned(),
                partition,
                next_offset: position.end.saturating_sub(lag),
                lag,
                // Without a lag, nothing that came before the question is missing.
                complete_to: if lag == 0 { Some(now) } else { newest_at },
            });
        }
    }
    let is_known = partitions.iter().all(|state| state.complete_to.is_some());
    let earliest = partitions.iter().filter_map(|state| state.complete_to).min();
    Ok(Completeness {
        complete_to: earliest.filter(|_| is_known),
        partitions,
    })
}

/// Returns, by partition, when the log took the oldest record of the newest batch.
async fn newest_batches(warehouse: &Warehouse) -> Result<Vec<Newest>, ProcessorError> {
    let fetched = warehouse
        .client()
        .query(
            "SELECT toString(topic) AS topic, log_partition, \
             toUnixTimestamp64Milli(argMax(oldest_received_at, end_offset)) AS oldest_received_at \
             FROM batches GROUP BY topic, log_partition",
        )
        .fetch_all::<Newest>()
        .await;
    Ok(fetched.map_err(|source| WarehouseError::from_client("read the newest batches", source))?)
}
