//! The store itself, and what its URL may be.

use std::path::Path;
use std::sync::Arc;

use sqlx::AnyPool;
use tokio::sync::{Notify, Semaphore};

use crate::error::ControlError;
use crate::pools::{Pools, WriteTransaction};
use crate::{migrations, password, postgres, sqlite};

/// The control store. Clones share one set of connections.
#[derive(Clone, Debug)]
pub struct ControlStore {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    pools: Pools,
    password_slots: Arc<Semaphore>,
    outbox_written: Notify,
}

impl ControlStore {
    /// Opens the store and brings its tables to the newest version. Other processes may have it
    /// open at the same time. `url` is one of
    ///
    /// - `sqlite:<path>`: everything after the colon (or `sqlite://`) is the path, absolute or
    ///   relative to the working directory. The file is created with mode 0600, its directory
    ///   must exist.
    /// - `postgres://user:password@host:5432/database`: the database must exist, and the user must
    ///   be allowed to create tables in it. Parameters are those of libpq, as `?sslmode=verify-full`.
    ///
    /// # Errors
    /// [`ControlError::UnknownUrl`] and [`ControlError::Invalid`] for other URLs,
    /// [`ControlError::Open`] when the file cannot be created, [`ControlError::NewerSchema`] when
    /// a newer program has migrated it, [`ControlError::Database`] for the rest.
    pub async fn connect(url: &str) -> Result<Self, ControlError> {
        let pools = match StoreUrl::parse(url)? {
            StoreUrl::Sqlite(path) => sqlite::open(path).await?,
            StoreUrl::Postgres(url) => postgres::open(url).await?,
        };
        migrations::run(&pools).await?;
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
        self.inner.pools.close().await;
    }

    pub(crate) fn reads(&self) -> &AnyPool {
        &self.inner.pools.reads
    }

    pub(crate) async fn begin(&self) -> Result<WriteTransaction, ControlError> {
        self.inner.pools.begin().await
    }

    pub(crate) fn password_slots(&self) -> &Arc<Semaphore> {
        &self.inner.password_slots
    }

    pub(crate) fn outbox_written(&self) -> &Notify {
        &self.inner.outbox_written
    }
}

/// What a URL names.
#[derive(Debug, PartialEq)]
enum StoreUrl<'a> {
    Sqlite(&'a Path),
    Postgres(&'a str),
}

impl<'a> StoreUrl<'a> {
    fn parse(url: &'a str) -> Result<Self, ControlError> {
        if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            return Ok(Self::Postgres(url));
        }
        let rest = url.strip_prefix("sqlite:").ok_or(ControlError::UnknownUrl)?;
        match rest.strip_prefix("//").unwrap_or(rest) {
            // Each connection would open an empty database of its own.
            "" | ":memory:" => Err(ControlError::UnknownUrl),
            path => Ok(Self::Sqlite(Path::new(path))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_a_file_or_a_server_or_are_refused() {
        for (url, path) in [
            ("sqlite:./data/control.db", "./data/control.db"),
            ("sqlite:/data/control.db", "/data/control.db"),
            ("sqlite:///data/control.db", "/data/control.db"),
        ] {
            assert_eq!(StoreUrl::parse(url).unwrap(), StoreUrl::Sqlite(Path::new(path)));
        }
        for url in ["postgres://host/control", "postgresql://u:p@host:1/control"] {
            assert_eq!(StoreUrl::parse(url).unwrap(), StoreUrl::Postgres(url));
        }
        for bad in [
            "",
            "sqlite:",
            "sqlite::memory:",
            "postgres:",
            "mysql://host",
            "/data/control.db",
        ] {
            assert!(
                matches!(StoreUrl::parse(bad), Err(ControlError::UnknownUrl)),
                "{bad}"
            );
        }
    }
}
