//! Opens a SQLite file: its permissions, its journal, its two pools.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, ConnectOptions, Connection, Row};

use crate::error::{Attempt, ControlError, failed, is_lock_code};
use crate::pools::{Backend, Pools, WriteTransaction};

/// How a writing connection is set up. `FULL` syncs every commit: what was acknowledged survives
/// a power failure. Another process's lock is waited for, in milliseconds.
const WRITE_PRAGMAS: &str =
    "PRAGMA busy_timeout = 5000; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON;";
/// A reading connection refuses to write, which would bypass the one writer.
const READ_PRAGMAS: &str = "PRAGMA busy_timeout = 5000; PRAGMA query_only = ON;";

const MAX_READ_CONNECTIONS: u32 = 4;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);

/// Attempts to switch a fresh file to write-ahead logging while another process does the same.
const WAL_ATTEMPTS: u32 = 50;
const WAL_RETRY_DELAY: Duration = Duration::from_millis(20);

/// Opens the file at `path` with many readers and one writer, creating it readable and writable by
/// its owner only.
pub(crate) async fn open(path: &Path) -> Result<Pools, ControlError> {
    let options = connect_options(path)?;
    enable_write_ahead_log(&options).await?;
    let writes = pool_options(1, WRITE_PRAGMAS)
        .connect_with(options.clone())
        .await
        .map_err(failed("open the control store for writing"))?;
    let reads = pool_options(MAX_READ_CONNECTIONS, READ_PRAGMAS)
        .connect_with(options)
        .await
        .map_err(failed("open the control store for reading"))?;
    Ok(Pools {
        backend: Backend::Sqlite,
        reads,
        writes,
    })
}

/// Begins a transaction that takes the file's write lock at once, waiting for it if need be.
pub(crate) async fn begin(writes: &AnyPool) -> Result<WriteTransaction, ControlError> {
    writes
        .begin_with("BEGIN IMMEDIATE")
        .attempt("begin a transaction")
        .await
}

fn connect_options(path: &Path) -> Result<AnyConnectOptions, ControlError> {
    let absolute = create_file(path).map_err(|source| ControlError::Open {
        path: path.to_owned(),
        source,
    })?;
    let text = absolute
        .to_str()
        .ok_or(ControlError::Invalid("the control store's path must be UTF-8"))?;
    sqlx::any::install_default_drivers();
    let url = format!("sqlite://{}", percent_encode(text));
    AnyConnectOptions::from_str(&url).map_err(failed("read the control store's URL"))
}

/// Makes sure that the file exists and returns its absolute path, free of links and dots, which
/// the URL parser would resolve its own way.
fn create_file(path: &Path) -> std::io::Result<PathBuf> {
    let mut options = std::fs::OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // SQLite gives its -wal and -shm files the permissions of this one.
    options.open(path)?;
    path.canonicalize()
}

/// Keeps `?`, `#`, `%` and spaces of a path from meaning something in a URL.
fn percent_encode(path: &str) -> String {
    let mut encoded = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

fn pool_options(max_connections: u32, pragmas: &'static str) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // A connection to a file does not go stale.
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            Box::pin(async move { sqlx::raw_sql(pragmas).execute(connection).await.map(|_| ()) })
        })
}

/// Switches the file to write-ahead logging, which lasts: readers and the writer no longer wait
/// for each other. SQLite does not wait for the lock that this takes, so that is done here.
async fn enable_write_ahead_log(options: &AnyConnectOptions) -> Result<(), ControlError> {
    let mut connection = options
        .connect()
        .await
        .map_err(failed("open the control store"))?;
    let mut attempt = 1;
    loop {
        match switch_journal(&mut connection).await {
            Ok(mode) if mode == "wal" => break,
            Ok(_) => {
                return Err(ControlError::Invalid(
                    "the control store's disk cannot do write-ahead logging",
                ));
            }
            Err(sqlx::Error::Database(error))
                if attempt < WAL_ATTEMPTS && is_lock_code(error.code().as_deref()) =>
            {
                attempt += 1;
                tokio::time::sleep(WAL_RETRY_DELAY).await;
            }
            Err(error) => return Err(failed("switch the control store to write-ahead logging")(error)),
        }
    }
    connection
        .close()
        .await
        .map_err(failed("close the connection that set up the control store"))
}

async fn switch_journal(connection: &mut AnyConnection) -> Result<String, sqlx::Error> {
    sqlx::query("PRAGMA journal_mode = WAL")
        .fetch_one(connection)
        .await?
        .try_get(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_survive_the_url() {
        assert_eq!(percent_encode("/data/control.db"), "/data/control.db");
        assert_eq!(percent_encode("/a b/50%?#é"), "/a%20b/50%25%3F%23%C3%A9");
    }

    #[tokio::test]
    async fn connections_are_durable_and_readers_only_read() {
        let directory = tempfile::tempdir().unwrap();
        let pools = open(&directory.path().join("control.db")).await.unwrap();
        for (pool, pragma, value) in [
            (&pools.writes, "synchronous", 2_i64),
            (&pools.writes, "foreign_keys", 1),
            (&pools.writes, "busy_timeout", 5_000),
            (&pools.reads, "busy_timeout", 5_000),
            (&pools.reads, "query_only", 1),
        ] {
            let query = sqlx::AssertSqlSafe(format!("PRAGMA {pragma}"));
            let row = sqlx::query(query).fetch_one(pool).await.unwrap();
            assert_eq!(row.try_get::<i64, _>(0).unwrap(), value, "{pragma}");
        }
        let refused = sqlx::query("CREATE TABLE t (id TEXT)")
            .execute(&pools.reads)
            .await;
        assert!(refused.is_err());
    }
}
