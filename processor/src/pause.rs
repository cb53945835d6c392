//! Holding the processor between two batches, so that all tables show the same events.

use std::sync::Arc;

use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

/// Lets others hold the processor between batches.
#[derive(Debug, Clone, Default)]
pub struct Pauser(Arc<RwLock<()>>);

/// While it lives, no batch is in flight.
#[derive(Debug)]
pub struct PauseGuard {
    _guard: OwnedRwLockWriteGuard<()>,
}

impl Pauser {
    /// Waits for the batches in flight and holds the next ones.
    pub async fn pause(&self) -> PauseGuard {
        PauseGuard {
            _guard: Arc::clone(&self.0).write_owned().await,
        }
    }

    /// Enters a batch; waits while the processor is held.
    pub(crate) async fn enter_batch(&self) -> OwnedRwLockReadGuard<()> {
        Arc::clone(&self.0).read_owned().await
    }
}
