//! `marginstream migrate`: topics and tables, before the services of a new version start.

use processor::layout;

use super::{open_control, open_log, open_warehouse};
use crate::config::MigrateConfig;
use crate::error::CommandError;

/// Brings all three backends to the newest version; says what each is now.
pub(crate) async fn migrate(config: &MigrateConfig) -> Result<String, CommandError> {
    let log = open_log(&config.backends, &config.retention).await?;
    let control = open_control(&config.backends).await?;
    control.close().await;
    let warehouse = open_warehouse(&config.backends).await?;
    let num_partitions = layout::num_partitions(&*log, &warehouse).await?;
    log.shutdown().await?;
    Ok(format!(
        "topics, control store and warehouse are ready; cost events are spread over {num_partitions} partitions"
    ))
}
