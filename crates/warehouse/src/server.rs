//! ClickHouse's HTTP interface in front of the embedded engine.
//!
//! Source of the behaviour: <https://clickhouse.com/docs/interfaces/http>. Not offered: sessions
//! (`session_id` is accepted and has no effect, nothing outlives a request), external tables,
//! roles, and `wait_end_of_query` (accepted; the status line waits for the first rows only).

mod auth;
mod body;
mod cancel;
mod chunks;
mod codec;
mod error;
mod guard;
mod handler;
mod multipart;
mod native_blocks;
mod request;
mod response;
mod run;

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use axum::Router;
use axum::routing::{any, get};
use axum::serve::ListenerExt as _;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::debug;

use crate::engine::Engine;

/// A user's name and password.
#[derive(Clone)]
pub struct Credentials {
    /// Name, as sent by the client.
    pub name: String,
    /// Password in the clear; never printed.
    pub password: String,
}

impl Credentials {
    /// Credentials of `name` with `password`.
    pub fn new(name: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            password: password.into(),
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Who may ask.
#[derive(Debug, Clone)]
pub struct Users {
    /// The project's own processes: everything.
    pub service: Credentials,
    /// Data teams: reads of the listed tables. `None` leaves nobody but the service.
    pub analyst: Option<Credentials>,
}

/// What one statement of the analyst may use. Parameters of a request can lower these, not raise them.
#[derive(Debug, Clone, Copy)]
pub struct AnalystLimits {
    /// Wall time, in seconds.
    pub max_query_secs: u64,
    /// Memory, in bytes.
    pub max_memory_bytes: u64,
    /// Rows in the result; more is an error, not a cut.
    pub max_result_rows: u64,
    /// Bytes of the result, before it is formatted; more is an error.
    pub max_result_bytes: u64,
    /// Threads.
    pub max_threads: u64,
    /// Statements of the analyst that run at once; more wait. Fewer than the engine's connections,
    /// so that the service always gets one.
    pub max_concurrent: usize,
}

impl Default for AnalystLimits {
    /// 30 s, 512 MiB, 1,000,000 rows, 256 MiB of result, 2 threads, 2 statements.
    fn default() -> Self {
        Self {
            max_query_secs: 30,
            max_memory_bytes: 512 << 20,
            max_result_rows: 1_000_000,
            max_result_bytes: 256 << 20,
            max_threads: 2,
            max_concurrent: 2,
        }
    }
}

/// How the HTTP interface behaves.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Who may ask.
    pub users: Users,
    /// Limits of the analyst.
    pub analyst_limits: AnalystLimits,
    /// Longest statement, in bytes, without the rows of an INSERT. Default 16 MiB.
    pub max_statement_bytes: usize,
    /// Whether to serve on addresses other than loopback. Default no: the interface has no TLS.
    pub allow_remote: bool,
}

impl ServerConfig {
    /// Defaults for `users`.
    pub fn new(users: Users) -> Self {
        Self {
            users,
            analyst_limits: AnalystLimits::default(),
            max_statement_bytes: 16 << 20,
            allow_remote: false,
        }
    }
}

/// Why serving stopped or did not begin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The listener is reachable from other machines, and that was not allowed.
    #[error(
        "refusing to serve ClickHouse on {0}: it is not a loopback address and remote access is not allowed"
    )]
    NotLoopback(std::net::SocketAddr),
    /// The socket failed.
    #[error("serving clickhouse http failed")]
    Socket(#[from] std::io::Error),
}

/// What every request needs.
#[derive(Debug)]
struct ServerState {
    engine: Arc<Engine>,
    config: ServerConfig,
    analyst_permits: Arc<Semaphore>,
}

/// The HTTP interface as a router: `/ping`, and queries on `/`.
pub fn router(engine: Arc<Engine>, config: ServerConfig) -> Router {
    let analyst_permits = Arc::new(Semaphore::new(config.analyst_limits.max_concurrent.max(1)));
    let state = Arc::new(ServerState {
        engine,
        config,
        analyst_permits,
    });
    Router::new()
        .route("/ping", get(|| async { "Ok.\n" }))
        .route("/", any(handler::answer))
        .fallback(handler::not_found)
        .with_state(state)
}

/// Serves the HTTP interface on `listener` until `shutdown` completes and open requests have ended.
///
/// # Errors
/// [`ServeError::NotLoopback`] unless `config.allow_remote`; [`ServeError::Socket`] if the listener fails.
pub async fn serve(
    engine: Arc<Engine>,
    listener: TcpListener,
    config: ServerConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let address = listener.local_addr()?;
    if !config.allow_remote && !address.ip().is_loopback() {
        return Err(ServeError::NotLoopback(address));
    }
    // Without this, an answer's last segment waits for the client's delayed acknowledgement, 40 ms.
    let listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(%error, "setting TCP_NODELAY failed");
        }
    });
    axum::serve(listener, router(engine, config))
        .with_graceful_shutdown(shutdown)
        .await?;
    Ok(())
}
