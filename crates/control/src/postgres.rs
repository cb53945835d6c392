//! Opens a Postgres database: its sessions, its write lock, its transient errors.
//!
//! Writers take one advisory lock of the database when they begin, as SQLite's writers take its
//! file's lock: what a transaction has read stays true until it commits, transactions never wait
//! for each other's rows, and migrations of several processes take turns. Writes of this store are
//! few; reads never wait.
//!
//! Settings are made per session, so a pooler between must pool sessions, not transactions.

use std::str::FromStr;
use std::time::Duration;

use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, ConnectOptions, Connection};

use crate::error::{Attempt, ControlError, failed};
use crate::pools::{Backend, Pools, WriteTransaction};

/// How each session is set up. A statement of a vanished client, or a lock that a stopped process
/// holds, is given up by the server after these times. A server that does not wait for its disk
/// is made to: what was acknowledged survives a power failure.
const SESSION: &str = "
    SET client_min_messages = warning;
    SET lock_timeout = '5s';
    SET statement_timeout = '8s';
    SET idle_in_transaction_session_timeout = '5s';
    SELECT set_config('synchronous_commit', 'on', false)
    WHERE current_setting('synchronous_commit') = 'off';";
/// A reading session refuses to write, which would bypass the write lock.
const READ_SESSION: &str = "SET default_transaction_read_only = on";
const WRITE_SESSION: &str = "SET default_transaction_read_only = off";

/// With any other isolation a transaction would go on seeing what was there before it had waited
/// for the lock.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";
const TAKE_WRITE_LOCK: &str = "SELECT 1 FROM pg_advisory_xact_lock($1)";
/// The lock's number, `margincs` in ASCII. It is the same in every version of this program.
const WRITE_LOCK: i64 = 0x6d61_7267_696e_6373;
/// A migration waits for other processes' migrations.
const MIGRATION: &str = "SET LOCAL lock_timeout = '60s'; SET LOCAL statement_timeout = 0;";

const MAX_READ_CONNECTIONS: u32 = 8;
/// One writes while the other comes back from its commit.
const MAX_WRITE_CONNECTIONS: u32 = 2;
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// A connection that was idle for longer is tested before it is used.
const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// A connection that does not answer for this long is broken.
const TEST_TIMEOUT: Duration = Duration::from_secs(2);

/// Parameters that a URL may have. The driver would log others with their values.
const PARAMETERS: [&str; 11] = [
    "application_name",
    "dbname",
    "host",
    "options",
    "password",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "user",
];
const APPLICATION_NAME: &str = "application_name";

/// Opens the database that `url` names. The URL's password appears in no error.
pub(crate) async fn open(url: &str) -> Result<Pools, ControlError> {
    let options = connect_options(url)?;
    probe(&options).await?;
    Ok(Pools {
        backend: Backend::Postgres,
        reads: pool(MAX_READ_CONNECTIONS, READ_SESSION, options.clone()),
        writes: pool(MAX_WRITE_CONNECTIONS, WRITE_SESSION, options),
    })
}

fn connect_options(url: &str) -> Result<AnyConnectOptions, ControlError> {
    sqlx::any::install_default_drivers();
    let mut options = AnyConnectOptions::from_str(url).map_err(failed("read the control store's URL"))?;
    let url = &mut options.database_url;
    if url.query_pairs().any(|(name, _)| !PARAMETERS.contains(&&*name)) {
        return Err(ControlError::Invalid(
            "the control store's URL has a parameter that is not known",
        ));
    }
    if !url.query_pairs().any(|(name, _)| name == APPLICATION_NAME) {
        url.query_pairs_mut()
            .append_pair(APPLICATION_NAME, "marginstream");
    }
    Ok(options)
}

/// Connects once, since a pool hides why it cannot behind its own time-out.
async fn probe(options: &AnyConnectOptions) -> Result<(), ControlError> {
    let connection = options.connect().attempt("connect to the control store").await?;
    connection
        .close()
        .attempt("close the connection that tried the control store")
        .await
}

fn pool(max_connections: u32, session: &'static str, options: AnyConnectOptions) -> AnyPool {
    AnyPoolOptions::new()
        .max_connections(max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        // Tested below instead, within a time.
        .test_before_acquire(false)
        .before_acquire(|connection, idle| {
            Box::pin(async move {
                if idle.idle_for > TRUSTED_IDLE {
                    test(connection).await?;
                }
                Ok(true)
            })
        })
        // A connection whose server fell silent must not keep its place in the pool.
        .after_release(|connection, _| Box::pin(async move { test(connection).await.map(|()| true) }))
        .after_connect(move |connection, _| {
            Box::pin(async move {
                sqlx::raw_sql(SESSION).execute(&mut *connection).await?;
                sqlx::raw_sql(session).execute(connection).await.map(|_| ())
            })
        })
        .connect_lazy_with(options)
}

/// Ends what the connection was left with, and fails unless the server answers.
async fn test(connection: &mut AnyConnection) -> Result<(), sqlx::Error> {
    tokio::time::timeout(TEST_TIMEOUT, connection.ping())
        .await
        .unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

/// Begins a transaction that holds the write lock.
pub(crate) async fn begin(writes: &AnyPool) -> Result<WriteTransaction, ControlError> {
    let mut tx = writes.begin_with(BEGIN).attempt("begin a transaction").await?;
    // A statement of its own: only from here on would a rollback follow a failure.
    sqlx::query(TAKE_WRITE_LOCK)
        .bind(WRITE_LOCK)
        .execute(&mut *tx)
        .attempt("take the write lock")
        .await?;
    Ok(tx)
}

/// Begins a transaction that holds the write lock and may take long.
pub(crate) async fn begin_migration(writes: &AnyPool) -> Result<WriteTransaction, ControlError> {
    let mut tx = writes.begin_with(BEGIN).attempt("begin a migration").await?;
    sqlx::raw_sql(MIGRATION)
        .execute(&mut *tx)
        .attempt("begin a migration")
        .await?;
    sqlx::query(TAKE_WRITE_LOCK)
        .bind(WRITE_LOCK)
        .execute(&mut *tx)
        .await
        .map_err(failed("wait for another process's migration"))?;
    Ok(tx)
}

/// Tells whether the same call may succeed later, by the SQLSTATE of its failure
/// (postgresql.org/docs/current/errcodes-appendix.html).
pub(crate) fn is_transient(code: &str) -> bool {
    let class = code.get(..2).unwrap_or_default();
    // A broken connection; no disk, memory or connection left.
    let is_of_class = matches!(class, "08" | "53");
    let is_conflict = matches!(
        code,
        "40001"      // serialization failure
            | "40P01" // deadlock
            | "55P03" // the lock was not to be had in time
            | "57014" // the statement took too long, or was cancelled
    );
    let is_ended_session = matches!(
        code,
        "25P03"      // idle in a transaction for too long
            | "57P01" // the server stops
            | "57P02" // another session crashed
            | "57P03" // the server starts
            | "57P05" // idle for too long
    );
    is_of_class || is_conflict || is_ended_session
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_passes_is_transient() {
        for code in [
            "08006", "40001", "40P01", "53300", "55P03", "57P01", "57P03", "25P03",
        ] {
            assert!(is_transient(code), "{code}");
        }
        for code in ["23505", "28P01", "3D000", "42501", "42601", "", "5"] {
            assert!(!is_transient(code), "{code}");
        }
    }

    #[test]
    fn a_bad_url_is_refused_without_its_password() {
        for url in [
            "postgres://user:hunter2@host:port/control",
            "postgres://user:hunter2@host/control?pasword=hunter2",
            "postgres://user:hunter2@[host/control",
        ] {
            let error = connect_options(url).unwrap_err();
            assert!(!error.is_retryable());
            assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn sessions_carry_the_programs_name_unless_told_otherwise() {
        let name = |url: &str| {
            let options = connect_options(url).unwrap();
            let mut pairs = options.database_url.query_pairs();
            let (_, value) = pairs.find(|(name, _)| name == APPLICATION_NAME).unwrap();
            value.into_owned()
        };
        assert_eq!(name("postgres://host/control?sslmode=require"), "marginstream");
        assert_eq!(
            name("postgres://host/control?application_name=ingest-1"),
            "ingest-1"
        );
    }
}
