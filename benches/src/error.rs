//! Why a run gave no figures.

use std::io;
use std::path::PathBuf;

/// A run that failed; there is no retrying here.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// Input or output.
    #[error("cannot {action}")]
    Io {
        /// What was attempted, as a verb.
        action: &'static str,
        #[source]
        source: io::Error,
    },
    /// A file or program.
    #[error("cannot {action} {}", path.display())]
    File {
        /// What was attempted, as a verb.
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// An answer that is no good.
    #[error("{request} was answered {status}: {body}")]
    Refused {
        request: String,
        status: u16,
        body: String,
    },
    /// JSON that is not what it should be.
    #[error("cannot read {what}")]
    Json {
        what: &'static str,
        #[source]
        source: serde_json::Error,
    },
    /// Something that is missing where it must be.
    #[error("{what} is missing or malformed in: {text}")]
    Malformed { what: &'static str, text: String },
    /// The server or one of its commands failed.
    #[error("{what} failed; its last lines:\n{log}")]
    Server { what: &'static str, log: String },
    /// The server did not get there.
    #[error("{what} after {secs} s")]
    TimedOut { what: String, secs: u64 },
    /// The sums are not those of what was sent.
    #[error("{place} has {counted}, but {sent} was sent")]
    Mismatch {
        place: &'static str,
        counted: String,
        sent: String,
    },
    /// A thread of the harness panicked.
    #[error("a thread of the harness panicked")]
    Panicked,
}

impl LoadError {
    /// Returns a wrapper for errors of `action`, a verb.
    pub(crate) fn io(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, source }
    }

    /// Returns a wrapper for errors of reading `what`.
    pub(crate) fn json(what: &'static str) -> impl FnOnce(serde_json::Error) -> Self {
        move |source| Self::Json { what, source }
    }
}

/// Joins an error's text with those of its sources.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
