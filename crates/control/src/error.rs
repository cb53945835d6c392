//! What can go wrong in the control store.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use sqlx::postgres::PgDatabaseError;

use crate::postgres;

use crate::metrics::count_failure;

/// A failure of the control store. Messages carry no secrets and no stored values.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The database refused or could not be reached.
    #[error("could not {doing}")]
    Database {
        /// What was attempted, as `insert the session`.
        doing: &'static str,
        /// The driver's error.
        #[source]
        source: sqlx::Error,
    },
    /// A uniqueness rule forbids the change.
    #[error("{0}")]
    Conflict(&'static str),
    /// The thing named is not there, or belongs to another organization.
    #[error("{0} not found")]
    NotFound(&'static str),
    /// An argument breaks a rule.
    #[error("{0}")]
    Invalid(&'static str),
    /// The caller is known but may not do this.
    #[error("{0}")]
    Forbidden(&'static str),
    /// The organization's tier allows no more. The message names the limit and the tier.
    #[error("{0}")]
    LimitExceeded(String),
    /// The thing named was there, and its time is over.
    #[error("{0} has expired")]
    Expired(&'static str),
    /// A stored value cannot be read as what its column holds.
    #[error("column {column} holds a value that cannot be read")]
    Corrupt {
        /// The column's name.
        column: &'static str,
    },
    /// A line of the key file is not a key.
    #[error("line {line} of the key file is not a key: {problem}")]
    KeyFile {
        /// Which line, from 1.
        line: usize,
        /// What is wrong with it, without what stands there.
        problem: &'static str,
    },
    /// A secret is sealed under a key that the key file lacks.
    #[error("a secret is sealed under key version {version}, which the key file does not have")]
    MissingKey {
        /// The key's version.
        version: NonZeroU32,
    },
    /// The URL names no store that this crate knows.
    #[error("a control store is sqlite:<path> or postgres://..., and sqlite::memory: is not supported")]
    UnknownUrl,
    /// The database file can be neither created nor opened.
    #[error("could not open the control store {path}: its directory must exist and be writable")]
    Open {
        /// The file's path, as configured.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// A newer program has migrated the database.
    #[error(
        "the control store has schema version {found}, this program knows up to {known}: run a newer program"
    )]
    NewerSchema {
        /// Version found in the database.
        found: i64,
        /// Newest version this program knows.
        known: i64,
    },
    /// The system gave no random bytes.
    #[error("no random bytes from the system: {0}")]
    Random(getrandom::Error),
    /// Argon2 could not hash a password.
    #[error("could not hash the password: {0}")]
    PasswordHash(argon2::password_hash::Error),
    /// The task that hashes passwords was stopped.
    #[error("the password task did not finish")]
    Task(#[source] tokio::task::JoinError),
}

/// SQLite's primary result codes for a lock held elsewhere.
const SQLITE_BUSY: i32 = 5;
const SQLITE_LOCKED: i32 = 6;

impl ControlError {
    /// Tells whether the same call may succeed later: a lock held elsewhere, no free connection,
    /// a broken connection. Where the connection broke in a commit, the change may have been made.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Database { source, .. } => is_retryable(source),
            Self::Task(_) => true,
            Self::Conflict(_)
            | Self::NotFound(_)
            | Self::Invalid(_)
            | Self::Forbidden(_)
            | Self::LimitExceeded(_)
            | Self::Expired(_)
            | Self::Corrupt { .. }
            | Self::KeyFile { .. }
            | Self::MissingKey { .. }
            | Self::UnknownUrl
            | Self::Open { .. }
            | Self::NewerSchema { .. }
            | Self::Random(_)
            | Self::PasswordHash(_) => false,
        }
    }

    /// Returns [`ControlError::Conflict`] if the database refused for a uniqueness rule, else
    /// the error itself.
    pub(crate) fn or_conflict(self, message: &'static str) -> Self {
        match &self {
            Self::Database {
                source: sqlx::Error::Database(error),
                ..
            } if error.is_unique_violation() => Self::Conflict(message),
            _ => self,
        }
    }

    /// Returns [`ControlError::NotFound`] if the database refused because a row referred to is
    /// missing, else the error itself.
    pub(crate) fn or_missing(self, what: &'static str) -> Self {
        match &self {
            Self::Database {
                source: sqlx::Error::Database(error),
                ..
            } if error.is_foreign_key_violation() => Self::NotFound(what),
            _ => self,
        }
    }
}

/// How long one call may take, from asking for a connection to the last row. The waits within it
/// are shorter, so it ends only calls whose server has fallen silent.
const MAX_CALL: Duration = Duration::from_secs(15);

/// A call of the driver, bounded in time.
pub(crate) trait Attempt<T> {
    /// Awaits the call and says what was attempted, as `insert the session`, if it fails.
    fn attempt(self, doing: &'static str) -> impl Future<Output = Result<T, ControlError>> + Send;
}

impl<T, F> Attempt<T> for F
where
    F: Future<Output = Result<T, sqlx::Error>> + Send,
{
    async fn attempt(self, doing: &'static str) -> Result<T, ControlError> {
        tokio::time::timeout(MAX_CALL, self)
            .await
            .unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
            .map_err(failed(doing))
    }
}

/// Wraps a driver error with what was attempted.
pub(crate) fn failed(doing: &'static str) -> impl FnOnce(sqlx::Error) -> ControlError {
    move |source| {
        count_failure(&source);
        ControlError::Database { doing, source }
    }
}

fn is_retryable(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::PoolTimedOut | sqlx::Error::Io(_) => true,
        // Codes of one database mean something else in the other.
        sqlx::Error::Database(error) => match error.try_downcast_ref::<PgDatabaseError>() {
            Some(error) => postgres::is_transient(error.code()),
            None => is_lock_code(error.code().as_deref()),
        },
        _ => false,
    }
}

/// Extended result codes carry the primary code in their low byte (sqlite.org/rescode.html).
pub(crate) fn is_lock_code(code: Option<&str>) -> bool {
    code.and_then(|code| code.parse::<i32>().ok())
        .is_some_and(|code| matches!(code & 0xff, SQLITE_BUSY | SQLITE_LOCKED))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_locks_and_connections_are_worth_a_retry() {
        assert!(is_lock_code(Some("5")) && is_lock_code(Some("517")) && is_lock_code(Some("6")));
        assert!(!is_lock_code(Some("2067")) && !is_lock_code(Some("")) && !is_lock_code(None));
        assert!(failed("read")(sqlx::Error::PoolTimedOut).is_retryable());
        assert!(!failed("read")(sqlx::Error::RowNotFound).is_retryable());
        assert!(!ControlError::Conflict("taken").is_retryable());
    }
}
