//! Where data is kept: the data directory and the embedded ClickHouse.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

use super::ConfigError;
use crate::secret::Secret;

/// Where data is kept.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Data")]
pub struct DataConfig {
    /// Directory of everything that is kept: the event log, the warehouse, the control store,
    /// generated passwords and the operator's socket. Made with mode 0700 if it is missing. Whoever
    /// can read it is an operator.
    #[arg(long, env = "MARGINSTREAM_DATA", value_name = "DIR", default_value = "./data")]
    pub data: PathBuf,
}

/// The embedded ClickHouse engine and its HTTP interface.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "ClickHouse")]
pub struct ClickHouseConfig {
    /// Address and port of ClickHouse's HTTP interface, for SQL clients and BI tools. Port 0 takes a
    /// free one.
    #[arg(
        long,
        env = "MARGINSTREAM_CLICKHOUSE_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8123"
    )]
    pub clickhouse_listen: SocketAddr,

    /// Lets `--clickhouse-listen` be an address that other machines reach. The interface has no TLS,
    /// so passwords and data cross the network in the clear.
    #[arg(long, env = "MARGINSTREAM_CLICKHOUSE_ALLOW_REMOTE", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub clickhouse_allow_remote: bool,

    /// Most memory that the engine may use, in bytes. A query that needs more fails, nothing else does.
    #[arg(long, env = "MARGINSTREAM_CLICKHOUSE_MEMORY_BYTES", value_name = "BYTES", default_value_t = 2 << 30)]
    pub clickhouse_memory_bytes: u64,

    /// Statements that the engine runs at once; more wait. Each takes one thread.
    #[arg(long, env = "MARGINSTREAM_CLICKHOUSE_CONNECTIONS", value_name = "COUNT", default_value_t = 8, value_parser = clap::value_parser!(u16).range(2..=256))]
    pub clickhouse_connections: u16,

    /// The engine's library, libchdb.so. Without it: the file that CHDB_LIB names, the one beside this
    /// program, the one that `make libchdb` installs, the system's.
    #[arg(long, env = "MARGINSTREAM_LIBCHDB", value_name = "FILE")]
    pub libchdb: Option<PathBuf>,

    /// Password of the ClickHouse user `analyst`, who may read the documented tables and nothing
    /// else; at least 12 characters. Without it one is made at the first start and kept in the data
    /// directory, in `clickhouse-analyst.password`.
    #[arg(
        long,
        env = "MARGINSTREAM_ANALYST_PASSWORD",
        value_name = "PASSWORD",
        hide_env_values = true
    )]
    pub analyst_password: Option<Secret>,

    /// Longest time of one query of the user `analyst`, in seconds.
    #[arg(
        long,
        env = "MARGINSTREAM_ANALYST_QUERY_SECS",
        value_name = "SECONDS",
        default_value_t = 30
    )]
    pub analyst_query_secs: u64,

    /// Most memory of one query of the user `analyst`, in bytes.
    #[arg(long, env = "MARGINSTREAM_ANALYST_MEMORY_BYTES", value_name = "BYTES", default_value_t = 1 << 30)]
    pub analyst_memory_bytes: u64,

    /// Most rows in an answer to the user `analyst`; more is an error, never a cut.
    #[arg(
        long,
        env = "MARGINSTREAM_ANALYST_RESULT_ROWS",
        value_name = "ROWS",
        default_value_t = 1_000_000
    )]
    pub analyst_result_rows: u64,
}

/// The engine does not start below this, in bytes.
const MIN_MEMORY_BYTES: u64 = 256 << 20;
const MIN_PASSWORD_CHARS: usize = 12;

impl ClickHouseConfig {
    pub(super) fn validate(&self) -> Result<(), ConfigError> {
        let conflict = |name, reason: String| Err(ConfigError::Conflict { name, reason });
        if !self.clickhouse_allow_remote && !self.clickhouse_listen.ip().is_loopback() {
            let reason = format!(
                "{} is reachable from other machines, without TLS; add --clickhouse-allow-remote if that is meant",
                self.clickhouse_listen
            );
            return conflict("clickhouse-listen", reason);
        }
        if self.clickhouse_memory_bytes < MIN_MEMORY_BYTES {
            return conflict(
                "clickhouse-memory-bytes",
                format!("must be at least {MIN_MEMORY_BYTES}"),
            );
        }
        let is_short = |secret: &Secret| secret.expose().chars().count() < MIN_PASSWORD_CHARS;
        if self.analyst_password.as_ref().is_some_and(is_short) {
            return conflict(
                "analyst-password",
                format!("must have at least {MIN_PASSWORD_CHARS} characters"),
            );
        }
        Ok(())
    }
}
