//! HTTP in, event log out: authenticates, validates, removes duplicates, and acknowledges only
//! what is durable. Also publishes invoices and the control store's outbox.

mod acceptor;
mod batch;
mod claims;
mod error;
mod follow;
pub mod invoices;
mod lines;
mod lookups;
mod metrics;
pub mod outbox;
mod overrides;
mod routes;

use std::sync::Arc;

use axum::extract::FromRef;
use event_log::EventLog;
use known_events::KnownEvents;
use marginstream_http::{Api, HttpState};
use tokio::sync::watch;
use warehouse::Warehouse;

pub use acceptor::{Acceptor, Progress};
pub use error::IngestError;
pub use follow::Follower;
pub use metrics::METRICS;

/// What ingest stands on.
#[derive(Debug)]
pub struct IngestParts {
    /// Where accepted events go.
    pub log: Arc<dyn EventLog>,
    /// Where events that were counted long ago are looked up.
    pub warehouse: Warehouse,
    /// The filter of counted events, kept up to date by the processor or a [`Follower`].
    pub known: Arc<KnownEvents>,
    /// How far the processor came.
    pub progress: watch::Receiver<Progress>,
    /// Most events that are acknowledged but not yet processed; beyond it ingest answers 503.
    pub max_unprocessed_events: usize,
}

/// State of the routes.
#[derive(Debug, Clone)]
pub struct IngestState {
    http: HttpState,
    acceptor: Arc<Acceptor>,
}

impl IngestState {
    /// Makes the state.
    ///
    /// # Errors
    /// [`IngestError`] where the log lacks the topic of cost events.
    pub fn new(http: HttpState, parts: IngestParts) -> Result<Self, IngestError> {
        let acceptor = Arc::new(Acceptor::new(parts)?);
        telemetry::metrics::observe(&acceptor, |acceptor: &Acceptor| {
            metrics::WAITING
                .gauge_of(&[])
                .set(acceptor.num_unprocessed() as f64);
        });
        Ok(Self { http, acceptor })
    }

    /// Returns what accepts events; its [`Acceptor::forget_processed`] must run beside the routes.
    #[must_use]
    pub fn acceptor(&self) -> Arc<Acceptor> {
        Arc::clone(&self.acceptor)
    }
}

impl FromRef<IngestState> for HttpState {
    fn from_ref(state: &IngestState) -> Self {
        state.http.clone()
    }
}

/// Returns the endpoints, to be passed through [`marginstream_http::apply`].
#[must_use]
pub fn api(state: IngestState) -> Api {
    routes::api().with_state(state)
}
