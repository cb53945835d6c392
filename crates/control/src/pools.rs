//! The connections to one database, and the one way to begin a write.

use sqlx::{Any, AnyPool, Transaction};

use crate::error::{Attempt, ControlError};
use crate::{postgres, sqlite};

/// Which database the store is in. The statements are the same for both.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
}

/// Connections that only read, and connections that write.
#[derive(Debug)]
pub(crate) struct Pools {
    pub(crate) backend: Backend,
    pub(crate) reads: AnyPool,
    pub(crate) writes: AnyPool,
}

/// A transaction that holds the write lock. Dropped without a commit, it is rolled back.
pub(crate) type WriteTransaction = Transaction<'static, Any>;

impl Pools {
    /// Begins a transaction that takes the write lock at once, waiting for it up to five seconds.
    pub(crate) async fn begin(&self) -> Result<WriteTransaction, ControlError> {
        match self.backend {
            Backend::Sqlite => sqlite::begin(&self.writes).await,
            Backend::Postgres => postgres::begin(&self.writes).await,
        }
    }

    /// Begins a transaction as [`Pools::begin`] does, for statements that may take long.
    pub(crate) async fn begin_migration(&self) -> Result<WriteTransaction, ControlError> {
        match self.backend {
            Backend::Sqlite => sqlite::begin(&self.writes).await,
            Backend::Postgres => postgres::begin_migration(&self.writes).await,
        }
    }

    /// Closes all connections, after the statements under way.
    pub(crate) async fn close(&self) {
        self.reads.close().await;
        self.writes.close().await;
    }
}

pub(crate) async fn commit(tx: WriteTransaction) -> Result<(), ControlError> {
    tx.commit().attempt("commit a transaction").await
}
