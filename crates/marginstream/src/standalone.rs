//! Everything in one process: `marginstream standalone`.
//!
//! Start: data directory, log (whose lock makes this the only owner), control store, both ports, so
//! that a busy one fails before anything is done; engine, migrations, processor; and only when the
//! processor has counted what the log held, the API. Stop, in the other order: the API and the
//! operator's socket finish their requests, the processor counts what the log holds, then all closes.

mod engine;
mod services;

use std::net::SocketAddr;

use processor::Processor;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::clickhouse::{self, ANALYST_USER, ClickHouse, reachable};
use crate::config::{BatchConfig, Config};
use crate::error::CommandError;
use crate::operator::{self, Status};
use crate::serve;
use crate::storage::{Storage, ends, wait_until_processed};
use crate::tasks::{Part, Tasks};

pub(crate) use engine::Engine;

/// A running server.
#[derive(Debug)]
pub(crate) struct Standalone {
    config: Config,
    storage: Storage,
    tasks: Tasks,
    pub(crate) status: Status,
    /// What an operator should know at the start, in one line.
    pub(crate) ready: String,
}

impl Standalone {
    /// Starts a server; it answers when this returns.
    ///
    /// # Errors
    /// [`CommandError`]; nothing is left running then.
    pub(crate) async fn start(config: Config) -> Result<Self, CommandError> {
        config.validate()?;
        let storage = Storage::open(&config.data, &config.event_log).await?;
        let listener = serve::listen(config.http.listen).await?;
        let clickhouse_listener =
            clickhouse::listen(config.clickhouse.clickhouse_listen, "clickhouse-listen").await?;
        let mut tasks = Tasks::default();
        let started = Self::start_parts(&config, &storage, &mut tasks, listener, clickhouse_listener).await;
        match started {
            Ok((status, ready)) => Ok(Self {
                config,
                storage,
                tasks,
                status,
                ready,
            }),
            Err(error) => {
                tasks.stop_all(config.http.deadlines()).await.ok();
                Err(error)
            }
        }
    }

    async fn start_parts(
        config: &Config,
        storage: &Storage,
        tasks: &mut Tasks,
        listener: TcpListener,
        clickhouse_listener: TcpListener,
    ) -> Result<(Status, String), CommandError> {
        let clickhouse = ClickHouse::open(&storage.dir, &config.clickhouse, clickhouse_listener).await?;
        let warehouse = clickhouse.warehouse.clone();
        let password = clickhouse.analyst_password_place();
        let status = Status {
            pid: std::process::id(),
            url: url_of(listener.local_addr().map_err(CommandError::Runtime)?),
            clickhouse_url: url_of(clickhouse.address),
        };
        tasks.spawn(Part::ClickHouse, |shutdown| clickhouse.serve(shutdown));
        clickhouse::migrate(&warehouse).await?;

        let processor = storage.processor(&config.batch, &warehouse).await?;
        let known = processor.known_events();
        let services = services::Services::new(config, storage, warehouse, &processor, status.clone())?;
        start_processor(storage, tasks, processor).await?;
        services.start(tasks, listener)?;

        let sync = config.event_log.event_log_sync;
        let (known_ids, known_ids_bytes) = (known.num_ids(), known.num_bytes());
        info!(url = status.url, clickhouse_url = status.clickhouse_url, %sync, known_ids, known_ids_bytes, "ready");
        let ready = format!(
            "marginstream is ready: API {}, ClickHouse {} (user {ANALYST_USER}, password {password}), \
             event log sync {sync}, {known_ids} known event ids in {known_ids_bytes} bytes",
            status.url, status.clickhouse_url
        );
        Ok((status, ready))
    }

    /// Runs until `shutdown`, then stops in order.
    ///
    /// # Errors
    /// That of a part that ended by itself; the rest is stopped in order all the same.
    pub(crate) async fn run_until(mut self, shutdown: CancellationToken) -> Result<(), CommandError> {
        let outcome = self.tasks.run_until(shutdown, self.config.http.deadlines()).await;
        operator::socket::remove(&self.storage.dir.operator_socket())?;
        let closed = self.storage.close().await;
        outcome.and(closed).inspect(|()| info!("stopped, all flushed"))
    }
}

/// Runs the processor, and waits until it has counted what the log held.
async fn start_processor(
    storage: &Storage,
    tasks: &mut Tasks,
    processor: Processor,
) -> Result<(), CommandError> {
    let ends = ends(&*storage.log, BatchConfig::GROUP).await?;
    let progress = processor.progress();
    if !ends.is_empty() {
        info!(num_partitions = ends.len(), "counting what the log holds");
    }
    tasks.spawn(Part::Processor, |shutdown| async move {
        Ok(processor.run(shutdown).await?)
    });
    tokio::select! {
        failure = tasks.first_end() => Err(failure),
        passed = wait_until_processed(progress, &ends), if !ends.is_empty() => {
            // The part's own error says more than that its progress ended.
            if passed { Ok(()) } else { Err(tasks.first_end().await) }
        }
        () = std::future::ready(()), if ends.is_empty() => Ok(()),
    }
}

fn url_of(address: SocketAddr) -> String {
    format!("http://{}", reachable(address))
}
