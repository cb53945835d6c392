//! Over how many partitions cost events are spread, as the warehouse remembers it.
//!
//! All copies of an event must be judged in one partition. Were the number of partitions taken from
//! the log, two processors that see it grow at different times could both count an event. So the
//! number is written down, and changes only while no processor runs.

use std::sync::Arc;

use arrow::array::{StringArray, TimestampMillisecondArray, UInt32Array};
use clickhouse::Row;
use event_log::EventLog;
use schemas::time::TimestampMs;
use schemas::topic;
use serde::Deserialize;
use tracing::{info, warn};
use warehouse::{Warehouse, WarehouseError};

use crate::alone::Alone;
use crate::error::ProcessorError;
use crate::plan::table;

const TABLE: &str = "log_layouts";

#[derive(Debug, Clone, Copy, Row, Deserialize)]
struct Layout {
    layout: u32,
    partitions: u32,
}

/// Returns the number of partitions in force; writes down the log's where there is none yet.
///
/// # Errors
/// [`ProcessorError::FewerPartitions`] where the log has fewer than events are spread over;
/// [`ProcessorError::Warehouse`] and [`ProcessorError::Log`].
pub async fn num_partitions(log: &dyn EventLog, warehouse: &Warehouse) -> Result<u32, ProcessorError> {
    let found = log.num_partitions(topic::COST_EVENTS)?;
    let in_force = match newest(warehouse).await? {
        Some(layout) => layout,
        None => add(warehouse, 1, found).await?,
    };
    if found < in_force.partitions {
        return Err(ProcessorError::FewerPartitions {
            found,
            needed: in_force.partitions,
        });
    }
    if found > in_force.partitions {
        warn!(
            found,
            in_use = in_force.partitions,
            "the topic of cost events has more partitions than are in use; stop all processors and run \
             `marginstream log use-partitions` to spread events over all of them"
        );
    }
    Ok(in_force.partitions)
}

/// Spreads events over all partitions that the log has, and returns how many these are. No processor
/// may run meanwhile, and no batch of the old layout may be unfinished.
///
/// # Errors
/// As [`num_partitions`], and [`ProcessorError::NotAlone`].
pub async fn use_all_partitions(
    log: &dyn EventLog,
    warehouse: &Warehouse,
    alone: Option<Alone<'_>>,
) -> Result<u32, ProcessorError> {
    let found = log.num_partitions(topic::COST_EVENTS)?;
    match newest(warehouse).await? {
        Some(layout) if layout.partitions > found => Err(ProcessorError::FewerPartitions {
            found,
            needed: layout.partitions,
        }),
        Some(layout) if layout.partitions == found => Ok(found),
        newest => {
            if let Some(alone) = alone {
                alone.check().await?;
            }
            let number = newest.map_or(1, |newest| newest.layout + 1);
            let added = add(warehouse, number, found).await?;
            info!(
                layout = added.layout,
                partitions = added.partitions,
                "cost events are spread anew"
            );
            Ok(added.partitions)
        }
    }
}

/// Returns over how many partitions events are spread; none where that was not written down yet.
pub(crate) async fn in_force(warehouse: &Warehouse) -> Result<Option<u32>, ProcessorError> {
    Ok(newest(warehouse).await?.map(|layout| layout.partitions))
}

async fn newest(warehouse: &Warehouse) -> Result<Option<Layout>, ProcessorError> {
    let found = warehouse
        .client()
        .query("SELECT layout, partitions FROM log_layouts WHERE topic = {topic:String} ORDER BY layout DESC LIMIT 1")
        .param("topic", topic::COST_EVENTS)
        .fetch_optional::<Layout>()
        .await;
    Ok(found.map_err(|source| WarehouseError::from_client("read the layout of the log", source))?)
}

/// Adds a layout unless another process was faster: both insert under the same token, and the
/// warehouse keeps the first.
async fn add(warehouse: &Warehouse, layout: u32, partitions: u32) -> Result<Layout, ProcessorError> {
    let row = table(vec![
        (
            "topic",
            Arc::new(StringArray::from_iter_values([topic::COST_EVENTS])),
        ),
        ("layout", Arc::new(UInt32Array::from(vec![layout]))),
        ("partitions", Arc::new(UInt32Array::from(vec![partitions]))),
        (
            "created_at",
            Arc::new(
                TimestampMillisecondArray::from_iter_values([TimestampMs::now().0]).with_timezone("UTC"),
            ),
        ),
    ])?;
    let token = format!("{}:layout:{layout}", topic::COST_EVENTS);
    warehouse.insert_arrow(TABLE, &[row], &token).await?;
    newest(warehouse).await?.ok_or(ProcessorError::LayoutMissing)
}
