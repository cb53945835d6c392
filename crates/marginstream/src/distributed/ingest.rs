//! `marginstream ingest`: HTTP in, Kafka out; also publishes the outbox.

use std::sync::Arc;

use event_log::EventLog;
use ingest::{Follower, IngestParts, IngestState};
use known_events::KnownEvents;
use marginstream_http::health::Health;
use marginstream_http::{HealthCheck, HttpState, health_api, internal_router};
use processor::{Progress, layout};
use schemas::topic;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use warehouse::{Warehouse, WarehouseConfig};

use super::{open_control, open_log};
use crate::config::{BatchConfig, IngestConfig};
use crate::error::{CommandError, sentence};
use crate::health::event_log_check;
use crate::serve;
use crate::tasks::{Part, Tasks};

/// Runs until `shutdown`, or until a part fails.
pub(crate) async fn run(config: IngestConfig, shutdown: CancellationToken) -> Result<(), CommandError> {
    let listener = serve::listen(config.http.listen).await?;
    let log = open_log(&config.backends, &config.retention).await?;
    let control = open_control(&config.backends).await?;
    // Not waited for: what the warehouse knows only tells old duplicates from new events.
    let warehouse = Warehouse::new(WarehouseConfig::new(config.backends.warehouse()?))?;
    let num_partitions = num_partitions(&*log, &warehouse).await?;

    let known = Arc::new(KnownEvents::new(num_partitions));
    known_events::metrics::show(&known);
    let progress = watch::Sender::new(Progress::new());
    let http = HttpState::new(control.clone(), config.limits.http_config(&config.http)?);
    let parts = IngestParts {
        log: Arc::clone(&log),
        warehouse: warehouse.clone(),
        known: Arc::clone(&known),
        progress: progress.subscribe(),
        max_unprocessed_events: config.limits.max_unprocessed_events(),
    };
    let state = IngestState::new(http.clone(), parts)?;
    let acceptor = state.acceptor();
    let checks = vec![
        event_log_check(
            Arc::clone(&log),
            BatchConfig::GROUP.to_owned(),
            Some(Arc::clone(&acceptor)),
        ),
        HealthCheck::of_control(control.clone()),
    ];
    let health = Health::new(checks, config.http.health_secret());
    let api = ingest::api(state).merge(health_api(&http, health.clone()));
    let router = marginstream_http::apply(api, &http).merge(internal_router(health));

    let mut tasks = Tasks::default();
    let follower = Follower {
        log: Arc::clone(&log),
        warehouse,
        known,
        processor_group: BatchConfig::GROUP.to_owned(),
    };
    tasks.spawn(Part::Follower, |stop| async move {
        follower.run(progress, stop).await;
        Ok(())
    });
    let (outbox_control, outbox_log) = (control.clone(), Arc::clone(&log));
    tasks.spawn(Part::Outbox, |stop| async move {
        ingest::outbox::run(outbox_control, outbox_log, stop).await;
        Ok(())
    });
    let address = listener.local_addr().map_err(CommandError::Runtime)?;
    tasks.spawn(Part::Api, |stop| {
        serve::serve_ingest(listener, router, acceptor, stop)
    });
    info!(%address, num_partitions, "ready");
    let outcome = tasks.run_until(shutdown, config.http.deadlines()).await;
    let closed = log.shutdown().await;
    control.close().await;
    outcome.and(closed.map_err(CommandError::from))
}

/// Returns over how many partitions to spread events. Where the warehouse cannot tell, the log's
/// number does: the processor moves what stands elsewhere.
async fn num_partitions(log: &dyn EventLog, warehouse: &Warehouse) -> Result<u32, CommandError> {
    match layout::num_partitions(log, warehouse).await {
        Ok(num_partitions) => Ok(num_partitions),
        Err(error) if error.is_retryable() || matches!(error, processor::ProcessorError::Warehouse(_)) => {
            let error = CommandError::from(error);
            warn!(error = %sentence(&error), "the warehouse does not tell how events are spread, asking the log");
            Ok(log.num_partitions(topic::COST_EVENTS)?)
        }
        Err(error) => Err(error.into()),
    }
}
