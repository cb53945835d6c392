//! What can go wrong between a request and the log.

use arrow::error::ArrowError;
use event_log::LogError;
use marginstream_http::{ApiError, ErrorCode};

/// Why events could not be accepted.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// The event log did not take the records.
    #[error("append to the event log failed")]
    Log(#[from] LogError),
    /// Columns could not be built.
    #[error("encoding events failed")]
    Arrow(#[from] ArrowError),
    /// An event could not be encoded.
    #[error("encoding an event failed")]
    Json(#[from] serde_json::Error),
    /// Too many acknowledged events wait for the processor.
    #[error("the processor is too far behind")]
    Behind,
    /// The first copy of an event, which another request sent, did not become durable.
    #[error("another request with the same events failed")]
    FirstCopyFailed,
    /// A blocking task did not end by itself.
    #[error("a task panicked")]
    Panicked(#[from] tokio::task::JoinError),
}

impl IngestError {
    /// Tells whether the same request may succeed later.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        match self {
            // Every failure to append leaves the event unacknowledged, so the sender may repeat it.
            Self::Log(error) => {
                error.is_retryable() || matches!(error, LogError::Closed | LogError::SyncFailed { .. })
            }
            Self::Behind | Self::FirstCopyFailed => true,
            Self::Arrow(_) | Self::Json(_) | Self::Panicked(_) => false,
        }
    }
}

impl From<&IngestError> for ErrorCode {
    fn from(error: &IngestError) -> Self {
        if error.is_retryable() {
            Self::ServiceUnavailable
        } else {
            Self::InternalError
        }
    }
}

impl From<IngestError> for ApiError {
    fn from(error: IngestError) -> Self {
        let is_retryable = error.is_retryable();
        Self::dependency(error, is_retryable)
    }
}
