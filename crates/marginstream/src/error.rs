//! What can go wrong in a command, and how it ends.

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::config::ConfigError;

/// Exit codes, as `--help` lists them.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed: the reason stands on standard error
  2  wrong usage, or a setting or configuration file that cannot be used; nothing was done
  3  done in part: some invoices were broken, or reconcile found differences and was not to repair them
  130, 143  stopped at once by a second SIGINT or SIGTERM";

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// A setting or the configuration file.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Arguments that fit each other but not the data.
    #[error("{0}")]
    Usage(String),
    /// The log lines could not be set up.
    #[error(transparent)]
    Telemetry(#[from] telemetry::TelemetryError),
    /// A file or directory.
    #[error("cannot {what} {}", path.display())]
    File {
        /// What was attempted, as a verb.
        what: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An address could not be taken.
    #[error("cannot listen on {address} for {what}; free the port or choose another with --{flag}")]
    Bind {
        /// What was to be served.
        what: &'static str,
        /// The flag that names the address.
        flag: &'static str,
        /// The address.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The event log.
    #[error(transparent)]
    Log(#[from] event_log::LogError),
    /// The control store.
    #[error(transparent)]
    Control(#[from] control::ControlError),
    /// The embedded engine.
    #[error("cannot start the embedded ClickHouse")]
    Engine(#[from] warehouse::EngineError),
    /// ClickHouse's HTTP interface.
    #[error("cannot serve ClickHouse's HTTP interface")]
    ClickHouse(#[from] warehouse::ServeError),
    /// The warehouse.
    #[error("the warehouse failed")]
    Warehouse(#[from] warehouse::WarehouseError),
    /// The processor.
    #[error("the processor failed")]
    Processor(#[from] processor::ProcessorError),
    /// Publishing to the log.
    #[error(transparent)]
    Ingest(#[from] ingest::IngestError),
    /// A part that should run until the process is stopped ended.
    #[error("{part} ended unexpectedly{}", reason.as_deref().map(|reason| format!(": {reason}")).unwrap_or_default())]
    PartEnded {
        /// Which.
        part: &'static str,
        /// Why, where it said so.
        reason: Option<String>,
    },
    /// The data directory is taken.
    #[error("the data directory {} is in use by process {pid}: stop that first, or name another with --data", data.display())]
    InUse {
        /// The data directory.
        data: PathBuf,
        /// The process's id, or `unknown`.
        pid: String,
    },
    /// The data directory is taken by a process that does not answer.
    #[error("the data directory {} is in use by process {pid}, which does not answer on its operator socket", data.display())]
    Busy {
        /// The data directory.
        data: PathBuf,
        /// The process's id, or `unknown`.
        pid: String,
    },
    /// A request to a server.
    #[error(transparent)]
    Client(#[from] crate::client::ClientError),
    /// Standard output is closed, or a terminal's input ended.
    #[error("cannot write to standard output")]
    Output(#[source] std::io::Error),
    /// The system gave no random bytes.
    #[error("no random bytes from the system: {0}")]
    Random(getrandom::Error),
    /// The asynchronous runtime could not start, or a blocking task died.
    #[error("cannot run a task")]
    Runtime(#[source] std::io::Error),
}

impl CommandError {
    pub(crate) fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source }
    }

    /// Tells whether the same work may succeed later.
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            Self::Log(error) => error.is_retryable(),
            Self::Control(error) => error.is_retryable(),
            Self::Warehouse(error) => error.is_retryable(),
            Self::Processor(error) => error.is_retryable(),
            Self::Ingest(error) => error.is_retryable(),
            _ => false,
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Config(_) | Self::Usage(_) => ExitCode::from(2),
            _ => ExitCode::FAILURE,
        }
    }
}

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    DoneInPart,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Done => Self::SUCCESS,
            Outcome::DoneInPart => Self::from(3),
        }
    }
}

/// Returns an error and all its causes as one line.
pub(crate) fn sentence(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some errors repeat their cause in their own text.
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_names_every_cause_once() {
        let source = std::io::Error::from(std::io::ErrorKind::AddrInUse);
        let address = SocketAddr::from(([127, 0, 0, 1], 8080));
        let error = CommandError::Bind {
            what: "the API",
            flag: "listen",
            address,
            source,
        };
        assert_eq!(
            sentence(&error),
            "cannot listen on 127.0.0.1:8080 for the API; free the port or choose another with --listen: address in use"
        );
    }
}
