//! Opens the backends, waiting for those that are still starting.

use std::sync::Arc;
use std::time::Duration;

use control::ControlStore;
use event_log::{EventLog, KafkaLog, KafkaLogConfig};
use tokio::time::{Instant, sleep};
use tracing::{info, warn};
use warehouse::{Warehouse, WarehouseConfig};

use crate::clickhouse;
use crate::config::{BackendArgs, BatchConfig, RetentionArgs};
use crate::error::{CommandError, sentence};

/// How long a start waits for a backend that does not answer. Longer than a rolling restart of it.
const PATIENCE: Duration = Duration::from_secs(120);
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Opens Kafka, and creates or checks the topics.
pub(crate) async fn open_log(
    backends: &BackendArgs,
    retention: &RetentionArgs,
) -> Result<Arc<dyn EventLog>, CommandError> {
    open(backends.kafka_log(retention)?).await
}

/// Opens Kafka for one operation, whatever is kept there: that is for the services' settings to decide.
pub(crate) async fn open_log_once(
    backends: &BackendArgs,
    retention: &RetentionArgs,
) -> Result<Arc<dyn EventLog>, CommandError> {
    let config = KafkaLogConfig {
        checks_retention: false,
        ..backends.kafka_log(retention)?
    };
    open(config).await
}

async fn open(config: KafkaLogConfig) -> Result<Arc<dyn EventLog>, CommandError> {
    let log = waiting("Kafka", || async {
        let log = KafkaLog::open(config.clone()).await?;
        Ok(Arc::new(log) as Arc<dyn EventLog>)
    });
    log.await
}

/// Reaches the ClickHouse server, and brings its tables to the newest version.
pub(crate) async fn open_warehouse(backends: &BackendArgs) -> Result<Warehouse, CommandError> {
    let warehouse = Warehouse::new(WarehouseConfig::new(backends.warehouse()?))?;
    waiting("ClickHouse", || clickhouse::migrate(&warehouse)).await?;
    Ok(warehouse)
}

/// Reaches the control store, and brings its tables to the newest version.
pub(crate) async fn open_control(backends: &BackendArgs) -> Result<ControlStore, CommandError> {
    let url = backends.control()?;
    waiting("the control store", || async {
        Ok(ControlStore::connect(url).await?)
    })
    .await
}

/// Makes sure that no processor runs.
///
/// # Errors
/// [`CommandError::Usage`] where one does: `because` says why that matters.
pub(crate) async fn refuse_running_processors(log: &dyn EventLog, because: &str) -> Result<(), CommandError> {
    match log.num_members(BatchConfig::GROUP).await? {
        0 => Ok(()),
        running => Err(CommandError::Usage(format!(
            "{running} processors run; stop all of them first, since {because}"
        ))),
    }
}

/// Repeats `open` while its backend does not answer, up to [`PATIENCE`].
async fn waiting<T, F>(what: &'static str, mut open: impl FnMut() -> F) -> Result<T, CommandError>
where
    F: Future<Output = Result<T, CommandError>>,
{
    let deadline = Instant::now() + PATIENCE;
    loop {
        match open().await {
            Ok(opened) => {
                info!(backend = what, "reached");
                return Ok(opened);
            }
            Err(error) if error.is_retryable() && Instant::now() < deadline => {
                warn!(backend = what, error = %sentence(&error), "does not answer yet, will try again");
                sleep(RETRY_DELAY).await;
            }
            Err(error) => return Err(error),
        }
    }
}
