//! The store itself: connecting, and the one way to begin a write.

use std::path::Path;
use std::sync::Arc;

use sqlx::{Any, AnyPool, Transaction};
use tokio::sync::{Notify, Semaphore};

use crate::error::{ControlError, failed};
use crate::{migrations, password, sqlite};

/// The control store. Clones share one set of connections.
#[derive(Clone, Debug)]
pub struct ControlStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pools: sqlite::Pools,
    password_slots: Arc<Semaphore>,
    outbox_written: Notify,
}

/// A transaction that holds the write lock. Dropped without a commit, it is rolled back.
pub(crate) type WriteTransaction = Transaction<'static, Any>;

impl ControlStore {
    /// Opens the store and brings its tables to the newest version. `url` is `sqlite:<path>`;
    /// everything after the colon (or `sqlite://`) is the path, absolute or relative to the
    /// working directory. The file is created with mode 0600, its directory must exist. Other
    /// processes may have the file open at the same time.
    ///
    /// # Errors
    /// [`ControlError::UnknownUrl`] and [`ControlError::PostgresNotBuilt`] for other URLs,
    /// [`ControlError::Open`] when the file cannot be created, [`ControlError::NewerSchema`] when
    /// a newer program has migrated it, [`ControlError::Database`] for the rest.
    pub async fn connect(url: &str) -> Result<Self, ControlError> {
        let pools = sqlite::open(sqlite_path(url)?).await?;
        migrations::run(&pools.writes).await?;
        let password_slots = Arc::new(Semaphore::new(password::MAX_CONCURRENT_HASHES));
        Ok(Self {
            inner: Arc::new(Inner {
                pools,
                password_slots,
                outbox_written: Notify::new(),
            }),
        })
    }

    /// Closes all connections of all clones, after the statements under way.
    pub async fn close(&self) {
        self.inner.pools.reads.close().await;
        self.inner.pools.writes.close().await;
    }

    pub(crate) fn reads(&self) -> &AnyPool {
        &self.inner.pools.reads
    }

    pub(crate) async fn begin(&self) -> Result<WriteTransaction, ControlError> {
        begin(&self.inner.pools.writes).await
    }

    pub(crate) fn password_slots(&self) -> &Arc<Semaphore> {
        &self.inner.password_slots
    }

    pub(crate) fn outbox_written(&self) -> &Notify {
        &self.inner.outbox_written
    }
}

/// Begins a transaction that takes SQLite's write lock at once, waiting for it if need be.
pub(crate) async fn begin(writes: &AnyPool) -> Result<WriteTransaction, ControlError> {
    writes
        .begin_with("BEGIN IMMEDIATE")
        .await
        .map_err(failed("begin a transaction"))
}

pub(crate) async fn commit(tx: WriteTransaction) -> Result<(), ControlError> {
    tx.commit().await.map_err(failed("commit a transaction"))
}

fn sqlite_path(url: &str) -> Result<&Path, ControlError> {
    if url.starts_with("postgres:") || url.starts_with("postgresql:") {
        return Err(ControlError::PostgresNotBuilt);
    }
    let rest = url.strip_prefix("sqlite:").ok_or(ControlError::UnknownUrl)?;
    match rest.strip_prefix("//").unwrap_or(rest) {
        // Each connection would open an empty database of its own.
        "" | ":memory:" => Err(ControlError::UnknownUrl),
        path => Ok(Path::new(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_file_or_are_refused() {
        assert_eq!(
            sqlite_path("sqlite:./data/control.db").unwrap(),
            Path::new("./data/control.db")
        );
        assert_eq!(
            sqlite_path("sqlite:/data/control.db").unwrap(),
            Path::new("/data/control.db")
        );
        assert_eq!(
            sqlite_path("sqlite:///data/control.db").unwrap(),
            Path::new("/data/control.db")
        );
        let postgres = sqlite_path("postgres://host/control").unwrap_err();
        assert!(postgres.to_string().contains("not switched on in this build"));
        for bad in [
            "",
            "sqlite:",
            "sqlite::memory:",
            "mysql://host",
            "/data/control.db",
        ] {
            assert!(matches!(sqlite_path(bad), Err(ControlError::UnknownUrl)), "{bad}");
        }
    }
}
