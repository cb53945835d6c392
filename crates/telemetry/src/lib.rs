//! Tracing set-up, metrics, and the named points at which crash tests kill the process.

mod crash;
pub mod metrics;

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;

pub use crash::{CRASH_AT_VARIABLE, crash_point};

/// How log lines are written; always to standard error.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// One line for people, coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// A text that names no log format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be text or json")]
pub struct InvalidLogFormat;

impl FromStr for LogFormat {
    type Err = InvalidLogFormat;

    fn from_str(text: &str) -> Result<Self, InvalidLogFormat> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(InvalidLogFormat),
        }
    }
}

impl std::fmt::Display for LogFormat {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Text => "text",
            Self::Json => "json",
        })
    }
}

/// Why tracing or metrics could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not a list of `target=level` directives.
    #[error("log level {filter:?} cannot be used: {reason}")]
    Filter {
        /// The filter as given.
        filter: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Tracing was set up before in this process.
    #[error("tracing is set up already")]
    AlreadySet,
    /// The recorder of metrics could not be installed.
    #[error("metrics cannot be set up: {0}")]
    Metrics(String),
}

/// Checks a filter: a level such as `info`, or directives such as `info,processor=debug`.
///
/// # Errors
/// [`TelemetryError::Filter`].
pub fn parse_filter(filter: &str) -> Result<EnvFilter, TelemetryError> {
    let refused = |reason: String| TelemetryError::Filter {
        filter: filter.to_owned(),
        reason,
    };
    if filter.trim().is_empty() {
        return Err(refused("it is empty".to_owned()));
    }
    // A single word that is no level would be taken as a target, which silences everything else.
    let is_word = filter.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if is_word && filter.parse::<tracing_subscriber::filter::LevelFilter>().is_err() {
        return Err(refused(
            "a level is off, error, warn, info, debug or trace".to_owned(),
        ));
    }
    EnvFilter::builder()
        .parse(filter)
        .map_err(|error| refused(error.to_string()))
}

/// Sends events that pass `filter` to standard error, for the rest of the process's life.
///
/// # Errors
/// [`TelemetryError::Filter`]; [`TelemetryError::AlreadySet`] on a second call.
pub fn init(filter: &str, format: LogFormat) -> Result<(), TelemetryError> {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(parse_filter(filter)?)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    let outcome = match format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    outcome.map_err(|_| TelemetryError::AlreadySet)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_levels_or_directives() {
        for good in [
            "info",
            "DEBUG",
            "off",
            "info,processor=debug",
            "warn,event_log::local=trace",
        ] {
            assert!(parse_filter(good).is_ok(), "{good}");
        }
        for bad in ["", " ", "verbose", "info,processor=loud"] {
            assert!(parse_filter(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn formats_read_back_as_they_are_shown() {
        for format in [LogFormat::Text, LogFormat::Json] {
            assert_eq!(format.to_string().parse(), Ok(format));
        }
        assert_eq!("xml".parse::<LogFormat>(), Err(InvalidLogFormat));
    }
}
