//! The services of one process: ingest and queries on one port, the operator's socket, the outbox.

use std::path::Path;
use std::sync::Arc;

use axum::Router;
use ingest::{Acceptor, IngestParts, IngestState};
use marginstream_http::{HttpState, internal_router};
use processor::Processor;
use query_api::QueryState;
use tokio::net::TcpListener;
use warehouse::Warehouse;

use crate::config::Config;
use crate::error::CommandError;
use crate::health::{disk_check, event_log_check, processor_check};
use crate::operator::{self, OperatorState, Status};
use crate::serve;
use crate::storage::Storage;
use crate::tasks::{Part, Tasks};

/// The services, ready to start.
pub(super) struct Services {
    storage: Storage,
    router: Router,
    acceptor: Arc<Acceptor>,
    operator: OperatorState,
}

impl Services {
    /// Puts the services together. Limits, replays and caches are shared, so they hold over both APIs.
    ///
    /// # Errors
    /// [`CommandError::Ingest`] where the log lacks a topic.
    pub(super) fn new(
        config: &Config,
        storage: &Storage,
        warehouse: Warehouse,
        processor: &Processor,
        status: Status,
    ) -> Result<Self, CommandError> {
        let http = HttpState::new(storage.control.clone(), config.limits.http_config(&config.http)?);
        let parts = IngestParts {
            log: Arc::clone(&storage.log),
            warehouse: warehouse.clone(),
            known: processor.known_events(),
            progress: processor.progress(),
            max_unprocessed_events: config.limits.max_unprocessed_events(),
        };
        let intake = IngestState::new(http.clone(), parts)?;
        let acceptor = intake.acceptor();
        let data_dir: Arc<Path> = storage.dir.path().into();
        crate::metrics::show_free_bytes(&data_dir);
        let group = config.batch.processor().group;
        let checks = vec![
            event_log_check(Arc::clone(&storage.log), group, Some(Arc::clone(&acceptor))),
            processor_check(processor.lag()),
            disk_check(data_dir),
        ];
        let queries = QueryState::new(http.clone(), warehouse.clone(), checks);
        let internal = internal_router(queries.health());
        let api = query_api::api(queries).merge(ingest::api(intake));
        let operator = OperatorState {
            status,
            log: Arc::clone(&storage.log),
            control: storage.control.clone(),
            warehouse,
            pauser: processor.pauser(),
        };
        Ok(Self {
            storage: storage.clone(),
            router: marginstream_http::apply(api, &http).merge(internal),
            acceptor,
            operator,
        })
    }

    /// Starts all of them; the API on `listener`.
    ///
    /// # Errors
    /// [`CommandError::File`] where the operator's socket cannot be made.
    pub(super) fn start(self, tasks: &mut Tasks, listener: TcpListener) -> Result<(), CommandError> {
        let Self {
            storage,
            router,
            acceptor,
            operator,
        } = self;
        let socket = operator::socket::listen(&storage.dir.operator_socket())?;
        tasks.spawn(Part::Outbox, |shutdown| async move {
            ingest::outbox::run(storage.control, storage.log, shutdown).await;
            Ok(())
        });
        tasks.spawn(Part::Operator, |shutdown| {
            operator::serve(socket, operator, shutdown)
        });
        tasks.spawn(Part::Api, |shutdown| {
            serve::serve_ingest(listener, router, acceptor, shutdown)
        });
        Ok(())
    }
}
