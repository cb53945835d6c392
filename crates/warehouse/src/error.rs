//! Errors of the client side.

use arrow::error::ArrowError;

/// Why a call to the warehouse failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WarehouseError {
    /// The server refused the statement.
    #[error("{action} failed: {message}")]
    Server {
        /// What was attempted.
        action: &'static str,
        /// ClickHouse's exception code, when the answer names one.
        code: Option<u32>,
        /// The server's text.
        message: String,
    },
    /// The server could not be reached, the connection broke or timed out, or the answer could not be read.
    #[error("{action} failed")]
    Client {
        /// What was attempted.
        action: &'static str,
        /// Why.
        #[source]
        source: clickhouse::error::Error,
    },
    /// The record batches could not be encoded.
    #[error("encoding record batches for {table} failed")]
    Encode {
        /// The table they were for.
        table: String,
        /// Why.
        #[source]
        source: ArrowError,
    },
    /// The warehouse's URL cannot be used. The text never holds the URL, which may hold a password.
    #[error("warehouse url is not usable: {0}")]
    Url(String),
    /// A migration that was applied has another text now.
    #[error(
        "migration {version} ({name}) was applied with checksum {applied}, this program has {expected}; \
         applied migrations must not be edited, add a new one"
    )]
    MigrationChanged {
        /// Number of the migration.
        version: u32,
        /// Its name in this program.
        name: String,
        /// Checksum in the database.
        applied: String,
        /// Checksum of this program's text.
        expected: String,
    },
    /// The database has a migration that this program does not know.
    #[error(
        "database is at migration {database}, this program knows none after {program}; use a newer program"
    )]
    DatabaseNewer {
        /// Highest version in the database.
        database: u32,
        /// Highest version in this program.
        program: u32,
    },
    /// The program's migrations are not in strictly ascending order.
    #[error("migration {0} is out of order or listed twice")]
    MigrationOrder(u32),
}

/// Exception codes after which the same request may succeed later: limits on connections, time,
/// memory and parts, shutdown, lost connections and sessions.
/// Source: `ErrorCodes.cpp` of ClickHouse.
const RETRYABLE_CODES: &[u32] = &[
    75,   // CANNOT_WRITE_TO_FILE_DESCRIPTOR: the disk is full
    76,   // CANNOT_OPEN_FILE: as above
    159,  // TIMEOUT_EXCEEDED
    160,  // TOO_SLOW
    202,  // TOO_MANY_SIMULTANEOUS_QUERIES
    203,  // NO_FREE_CONNECTION
    209,  // SOCKET_TIMEOUT
    210,  // NETWORK_ERROR
    225,  // NO_ZOOKEEPER
    236,  // ABORTED
    241,  // MEMORY_LIMIT_EXCEEDED
    242,  // TABLE_IS_READ_ONLY
    243,  // NOT_ENOUGH_SPACE
    252,  // TOO_MANY_PARTS
    279,  // ALL_CONNECTION_TRIES_FAILED
    285,  // TOO_FEW_LIVE_REPLICAS
    286,  // UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE
    319,  // UNKNOWN_STATUS_OF_INSERT
    335,  // QUERY_WAS_CANCELLED_BY_CLIENT
    394,  // QUERY_WAS_CANCELLED
    425,  // SYSTEM_ERROR
    439,  // CANNOT_SCHEDULE_TASK
    473,  // DEADLOCK_AVOIDED
    999,  // KEEPER_EXCEPTION
    1001, // STD_EXCEPTION: the file system refuses, such as a full disk
];

impl WarehouseError {
    /// Sorts a failure of the `clickhouse` client into the variants of this type.
    pub fn from_client(action: &'static str, source: clickhouse::error::Error) -> Self {
        match source {
            clickhouse::error::Error::BadResponse(message) => Self::Server {
                action,
                code: exception_code(&message),
                message,
            },
            source => Self::Client { action, source },
        }
    }

    /// ClickHouse's exception code, when the server answered with one.
    pub fn code(&self) -> Option<u32> {
        match self {
            Self::Server { code, .. } => *code,
            _ => None,
        }
    }

    /// Whether the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        match self {
            // An answer without a code is a proxy's, or a server that is going away.
            Self::Server { code, .. } => code.is_none_or(|code| RETRYABLE_CODES.contains(&code)),
            Self::Client { source, .. } => {
                matches!(
                    source,
                    clickhouse::error::Error::Network(_) | clickhouse::error::Error::TimedOut
                )
            }
            Self::Encode { .. }
            | Self::Url(_)
            | Self::MigrationChanged { .. }
            | Self::DatabaseNewer { .. }
            | Self::MigrationOrder(_) => false,
        }
    }
}

/// The number after the first `Code: ` of a ClickHouse error text.
pub(crate) fn exception_code(message: &str) -> Option<u32> {
    let (_, rest) = message.split_once("Code: ")?;
    let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..digits)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(message: &str) -> WarehouseError {
        WarehouseError::from_client(
            "insert",
            clickhouse::error::Error::BadResponse(message.to_owned()),
        )
    }

    #[test]
    fn too_many_parts_and_memory_are_retryable() {
        for code in [252, 241, 202] {
            let error = server(&format!("Code: {code}. DB::Exception: x. (X)"));
            assert_eq!(error.code(), Some(code));
            assert!(error.is_retryable(), "{code}");
        }
    }

    #[test]
    fn syntax_and_unknown_tables_are_not_retryable() {
        for code in [62, 60, 47, 497, 516] {
            assert!(
                !server(&format!("Code: {code}. DB::Exception: x. (X)")).is_retryable(),
                "{code}"
            );
        }
    }

    #[test]
    fn an_answer_without_a_code_is_retryable() {
        assert!(server("502 Bad Gateway").is_retryable());
    }
}
