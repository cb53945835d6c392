//! What librdkafka says, as log lines.

use std::sync::{Mutex, PoisonError};

use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use tracing::{debug, warn};

/// The context of clients that need nothing else.
#[derive(Debug, Default)]
pub(super) struct LogContext {
    refusal: Mutex<Option<KafkaError>>,
}

impl LogContext {
    /// Returns why brokers last refused to talk to this client. Calls only say that none answered.
    pub(super) fn take_refusal(&self) -> Option<KafkaError> {
        self.refusal.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl ClientContext for LogContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
        if matches!(error.rdkafka_error_code(), Some(Code::Authentication | Code::SSL)) {
            *self.refusal.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
        }
    }
}

impl ConsumerContext for LogContext {}

/// Writes a line of librdkafka's. It calls lost connections errors, which it mends by itself.
pub(super) fn log_line(level: RDKafkaLogLevel, facility: &str, message: &str) {
    match level {
        RDKafkaLogLevel::Emerg
        | RDKafkaLogLevel::Alert
        | RDKafkaLogLevel::Critical
        | RDKafkaLogLevel::Error
        | RDKafkaLogLevel::Warning => warn!(facility, message, "kafka client"),
        RDKafkaLogLevel::Notice | RDKafkaLogLevel::Info | RDKafkaLogLevel::Debug => {
            debug!(facility, message, "kafka client");
        }
    }
}

/// Writes an error that belongs to no call.
pub(super) fn log_error(error: &KafkaError, reason: &str) {
    warn!(%error, reason, "kafka client failed");
}
