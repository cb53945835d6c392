//! All settings, one block per concern. Each is a flag, an environment variable and a key of the
//! configuration file; [`file`] says which wins.

pub(crate) mod environment;
pub(crate) mod file;
mod http;
mod limits;
mod log;
mod oidc;
mod remote;
mod services;
mod spelling;
mod storage;

use std::path::PathBuf;

use clap::{ArgMatches, Args, FromArgMatches};

pub use http::HttpArgs;
pub use limits::{LimitArgs, TierRates};
pub use log::{BatchConfig, EventLogConfig, RetentionArgs};
pub use oidc::OidcArgs;
pub use remote::{BackendArgs, KafkaArgs};
pub use services::{IngestConfig, MigrateConfig, ProcessorConfig, QueryApiConfig};
pub use storage::{ClickHouseConfig, DataConfig};

/// A setting that cannot be used, or a file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file could not be read.
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("the configuration file {} is not valid TOML, line {line}: {message}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// From 1.
        line: usize,
        /// What is wrong.
        message: String,
    },
    /// The file, or the environment, names a setting that does not exist.
    #[error("unknown {what} {name:?} in {place}{}", hint(suggestion.as_deref()))]
    Unknown {
        /// `key`, `table` or `variable`.
        what: &'static str,
        /// The name as written.
        name: String,
        /// The file, or the environment.
        place: String,
        /// The nearest name that exists.
        suggestion: Option<String>,
    },
    /// A value that cannot be used.
    #[error("key {key:?} in {}: {reason}", path.display())]
    Value {
        /// The key as written.
        key: String,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A variable's value that cannot be used.
    #[error("the environment: {0}")]
    Environment(String),
    /// Settings that contradict each other, or the machine.
    #[error("setting --{name}: {reason}")]
    Conflict {
        /// The flag's name.
        name: &'static str,
        /// What is wrong.
        reason: String,
    },
}

fn conflict(name: &'static str, reason: String) -> ConfigError {
    ConfigError::Conflict { name, reason }
}

fn hint(suggestion: Option<&str>) -> String {
    suggestion
        .map(|name| format!(" (did you mean {name:?}?)"))
        .unwrap_or_default()
}

pub(crate) const DEFAULT_LOG_LEVEL: &str = "info";

/// How the process writes its log.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Log lines")]
pub struct TelemetryConfig {
    /// Which log lines are written to standard error: off, error, warn, info, debug or trace, or
    /// directives such as `info,marginstream_processor=debug`.
    #[arg(long, env = "MARGINSTREAM_LOG_LEVEL", value_name = "LEVEL", default_value = DEFAULT_LOG_LEVEL, value_parser = parse_level, global = true)]
    pub log_level: String,

    /// Form of the log lines: `text` for people, `json` for machines, one object a line.
    #[arg(long, env = "MARGINSTREAM_LOG_FORMAT", value_name = "FORMAT", default_value_t = telemetry::LogFormat::Text, global = true)]
    pub log_format: telemetry::LogFormat,

    /// Configuration file in TOML. Its keys are the names of the flags; flags and environment
    /// variables win over it. Without this flag, `marginstream.toml` in the data directory is read
    /// if it exists.
    #[arg(long, env = "MARGINSTREAM_CONFIG", value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,
}

fn parse_level(text: &str) -> Result<String, telemetry::TelemetryError> {
    telemetry::parse_filter(text).map(|_| text.to_owned())
}

/// Everything that `marginstream standalone` can be told.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// Where data is kept.
    #[command(flatten)]
    pub data: DataConfig,
    /// The public port.
    #[command(flatten)]
    pub http: HttpArgs,
    /// The embedded warehouse and its port.
    #[command(flatten)]
    pub clickhouse: ClickHouseConfig,
    /// The event log.
    #[command(flatten)]
    pub event_log: EventLogConfig,
    /// The processor's batches.
    #[command(flatten)]
    pub batch: BatchConfig,
    /// Rates that callers may not exceed.
    #[command(flatten)]
    pub limits: LimitArgs,
}

impl Config {
    /// Returns the defaults on the data directory `data`, on free ports of this machine.
    ///
    /// # Errors
    /// [`ConfigError::Conflict`] never happens for the defaults.
    pub fn on_free_ports(data: PathBuf) -> Result<Self, ConfigError> {
        let any_port = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
        let mut config = Self::defaults()?;
        config.data.data = data;
        config.http.listen = any_port;
        config.clickhouse.clickhouse_listen = any_port;
        Ok(config)
    }

    /// Returns the defaults, blind to the environment.
    fn defaults() -> Result<Self, ConfigError> {
        let command = Self::augment_args(clap::Command::new("marginstream"))
            .mut_args(|arg| arg.env(clap::builder::Resettable::Reset));
        let matches = command.try_get_matches_from(["marginstream"]);
        let config = matches.and_then(|matches: ArgMatches| Self::from_arg_matches(&matches));
        config.map_err(|error| ConfigError::Conflict {
            name: "data",
            reason: error.to_string(),
        })
    }

    /// Checks what no single setting shows.
    ///
    /// # Errors
    /// [`ConfigError::Conflict`], which names the setting.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let (public, clickhouse) = (self.http.listen, self.clickhouse.clickhouse_listen);
        if public == clickhouse && public.port() != 0 {
            return Err(conflict(
                "clickhouse-listen",
                "must differ from --listen".to_owned(),
            ));
        }
        if self.batch.batch_max_bytes > self.event_log.event_log_segment_bytes {
            return Err(conflict(
                "batch-max-bytes",
                "must not exceed --event-log-segment-bytes".to_owned(),
            ));
        }
        self.http.oidc.provider()?;
        self.clickhouse.validate()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_those_that_scripts_rely_on() {
        let config = Config::defaults().unwrap();
        assert_eq!(config.data.data, PathBuf::from("./data"));
        assert_eq!(config.http.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(config.clickhouse.clickhouse_listen.to_string(), "127.0.0.1:8123");
        assert_eq!(
            config.event_log.event_log_sync,
            event_log::SyncPolicy::EveryCommit
        );
        assert!(config.validate().is_ok());
    }

    #[test]
    fn one_port_cannot_serve_both_interfaces() {
        let mut config = Config::defaults().unwrap();
        config.clickhouse.clickhouse_listen = config.http.listen;
        let refused = config.validate().unwrap_err().to_string();
        assert_eq!(refused, "setting --clickhouse-listen: must differ from --listen");
    }

    #[test]
    fn debug_prints_no_password() {
        let mut config = Config::defaults().unwrap();
        config.clickhouse.analyst_password = Some("hunter2-hunter2".to_owned().into());
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
