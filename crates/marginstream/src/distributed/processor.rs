//! `marginstream processor`: Kafka in, ClickHouse out. Several share the partitions.

use std::sync::Arc;
use std::time::Duration;

use marginstream_http::health::Health;
use marginstream_http::{health_router, internal_router};
use processor::{Processor, layout};
use query_api::warehouse_check;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{open_log, open_warehouse};
use crate::config::{BatchConfig, ProcessorConfig};
use crate::error::CommandError;
use crate::health::{event_log_check, processor_check};
use crate::serve;
use crate::tasks::{Deadlines, Part, Tasks};

/// How long a stop waits for requests of health and metrics.
const HEALTH_DEADLINE: Duration = Duration::from_secs(2);

/// Runs until `shutdown`, or until a part fails.
pub(crate) async fn run(config: ProcessorConfig, shutdown: CancellationToken) -> Result<(), CommandError> {
    let listener = serve::listen(config.listen).await?;
    let log = open_log(&config.backends, &config.retention).await?;
    let warehouse = open_warehouse(&config.backends).await?;
    let num_partitions = layout::num_partitions(&*log, &warehouse).await?;
    let batches = processor::ProcessorConfig {
        num_partitions,
        drains_at_stop: false,
        ..config.batch.processor()
    };
    let processor = Processor::new(batches, Arc::clone(&log), warehouse.clone());
    let checks = vec![
        event_log_check(Arc::clone(&log), BatchConfig::GROUP.to_owned(), None),
        warehouse_check(warehouse),
        processor_check(processor.lag()),
    ];
    let health = Health::new(checks, None);
    let router = health_router(health.clone()).merge(internal_router(health));

    let mut tasks = Tasks::default();
    tasks.spawn(
        Part::Processor,
        |stop| async move { Ok(processor.run(stop).await?) },
    );
    let address = listener.local_addr().map_err(CommandError::Runtime)?;
    tasks.spawn(Part::Api, |stop| serve::serve(listener, router, stop));
    info!(%address, num_partitions, "ready");
    let deadlines = Deadlines::new(HEALTH_DEADLINE, config.drain_deadline());
    let outcome = tasks.run_until(shutdown, deadlines).await;
    let closed = log.shutdown().await;
    outcome.and(closed.map_err(CommandError::from))
}
