//! The API of one process: ingest and queries on one port, over one state.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::serve::ListenerExt;
use control::ControlStore;
use event_log::EventLog;
use ingest::{Acceptor, IngestParts, IngestState};
use marginstream_http::HttpState;
use processor::Processor;
use query_api::QueryState;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::debug;
use warehouse::Warehouse;

use crate::config::Config;
use crate::error::CommandError;
use crate::storage::Storage;

/// What the API is made of.
pub(super) struct Parts<'a> {
    pub(super) config: &'a Config,
    pub(super) storage: &'a Storage,
    pub(super) warehouse: &'a Warehouse,
    pub(super) processor: &'a Processor,
}

/// Returns all routes. Limits, replays and caches are shared, so they hold over both services.
///
/// # Errors
/// [`CommandError::Ingest`] where the log lacks a topic.
pub(super) fn router(parts: Parts<'_>) -> Result<(Router, Arc<Acceptor>), CommandError> {
    let Parts {
        config,
        storage,
        warehouse,
        processor,
    } = parts;
    let http = HttpState::new(storage.control.clone(), config.limits.http_config(&config.http));
    let queries = query_api::router(QueryState::new(http.clone(), warehouse.clone(), Vec::new()));
    let parts = IngestParts {
        log: Arc::clone(&storage.log),
        warehouse: warehouse.clone(),
        known: processor.known_events(),
        progress: processor.progress(),
        max_unprocessed_events: config.limits.max_unprocessed_events(),
    };
    let state = IngestState::new(http.clone(), parts)?;
    let acceptor = state.acceptor();
    Ok((
        marginstream_http::apply(queries.merge(ingest::router(state)), &http),
        acceptor,
    ))
}

/// Serves the API until `shutdown` and open requests have ended.
pub(super) async fn serve(
    listener: TcpListener,
    (router, acceptor): (Router, Arc<Acceptor>),
    shutdown: CancellationToken,
) -> Result<(), CommandError> {
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "cannot set TCP_NODELAY");
        }
    });
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let serving = axum::serve(listener, service).with_graceful_shutdown(shutdown.cancelled_owned());
    let forgetting = async {
        acceptor.forget_processed().await;
        // It ends with the processor, whose end is dealt with elsewhere.
        std::future::pending::<()>().await;
    };
    tokio::select! {
        served = serving.into_future() => served.map_err(CommandError::Runtime),
        () = forgetting => Ok(()),
    }
}

/// Publishes changes of the control store until `shutdown`; it retries what fails.
pub(super) async fn run_outbox(
    control: ControlStore,
    log: Arc<dyn EventLog>,
    shutdown: CancellationToken,
) -> Result<(), CommandError> {
    ingest::outbox::run(control, log, shutdown).await;
    Ok(())
}
