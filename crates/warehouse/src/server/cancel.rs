//! Stops the statement of a client that has gone away.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::runtime::Handle;
use tracing::{debug, warn};

use crate::engine::Engine;
use crate::sql;

/// Kills the statement when dropped, unless it has ended.
///
/// A statement's thread notices by itself that nobody takes its rows; this is for one that
/// computes for long before it has any.
#[derive(Debug)]
pub(super) struct CancelGuard {
    engine: Arc<Engine>,
    cancel_key: String,
    ended: Arc<AtomicBool>,
}

impl CancelGuard {
    pub(super) fn new(engine: Arc<Engine>, cancel_key: String) -> Self {
        Self {
            engine,
            cancel_key,
            ended: Arc::default(),
        }
    }

    /// The flag the statement's thread sets at its end.
    pub(super) fn ended(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.ended)
    }
}

impl Drop for CancelGuard {
    fn drop(&mut self) {
        if self.ended.load(Ordering::Acquire) {
            return;
        }
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        let engine = Arc::clone(&self.engine);
        let condition = format!(
            "Settings['log_comment'] = {}",
            sql::string_literal(&self.cancel_key)
        );
        let ended = Arc::clone(&self.ended);
        drop(runtime.spawn_blocking(move || {
            if ended.load(Ordering::Acquire) {
                return;
            }
            let statement = format!("KILL QUERY WHERE {condition} ASYNC");
            let killed = engine
                .connect()
                .and_then(|mut connection| connection.query(statement.as_bytes(), "Null", &[]).map(drop));
            match killed {
                Ok(()) => debug!("cancelled the statement of a client that went away"),
                Err(error) => warn!(%error, "cancelling a statement failed"),
            }
        }));
    }
}
