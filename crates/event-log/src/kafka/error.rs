//! How Kafka's errors become the log's.

use std::sync::Arc;

use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use tokio::task::spawn_blocking;

use crate::LogError;

/// Wraps an error of `what`, a verb with its object.
pub(super) fn backend(what: &'static str) -> impl FnOnce(KafkaError) -> LogError {
    move |source| LogError::Backend {
        what,
        retryable: is_retryable(&source),
        source: Arc::new(source),
    }
}

/// Wraps an error code.
pub(super) fn backend_code(what: &'static str, code: Code) -> LogError {
    backend(what)(KafkaError::Global(code))
}

/// Wraps an error in making a client: it says which property cannot be used.
pub(super) fn unusable(error: KafkaError) -> LogError {
    LogError::Config(error.to_string())
}

/// Returns whether time alone may mend `error`. Refusals need somebody; all else is the network, a broker
/// that is away, or a cluster that changes.
fn is_retryable(error: &KafkaError) -> bool {
    let Some(code) = error.rdkafka_error_code() else {
        return !matches!(
            error,
            KafkaError::ClientConfig(..) | KafkaError::ClientCreation(_) | KafkaError::Nul(_)
        );
    };
    !matches!(
        code,
        Code::TopicAuthorizationFailed
            | Code::GroupAuthorizationFailed
            | Code::ClusterAuthorizationFailed
            | Code::SaslAuthenticationFailed
            | Code::Authentication
            | Code::SSL
            | Code::UnsupportedSASLMechanism
            | Code::UnsupportedVersion
            | Code::UnsupportedFeature
            | Code::InvalidArgument
            | Code::InvalidRecord
            | Code::InvalidTopic
            | Code::InvalidConfig
            | Code::InvalidReplicationFactor
            | Code::InvalidPartitions
            | Code::InvalidGroupId
            | Code::InvalidSessionTimeout
            | Code::PolicyViolation
            | Code::MessageSizeTooLarge
            | Code::OffsetMetadataTooLarge
            | Code::BadMessage
    )
}

/// Runs `work` where it may block.
pub(super) async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    match spawn_blocking(work).await {
        Ok(outcome) => outcome,
        // The client library panics on what others stored if it is not text.
        Err(join) if join.is_panic() => Err(LogError::Backend {
            what,
            retryable: false,
            source: Arc::new(join),
        }),
        Err(_) => Err(LogError::Closed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_broker_may_come_back_and_a_refusal_stays() {
        for (code, retryable) in [
            (Code::BrokerTransportFailure, true),
            (Code::MessageTimedOut, true),
            (Code::NotEnoughReplicas, true),
            (Code::Fatal, true),
            (Code::TopicAuthorizationFailed, false),
            (Code::SaslAuthenticationFailed, false),
            (Code::MessageSizeTooLarge, false),
        ] {
            assert_eq!(
                backend_code("append records", code).is_retryable(),
                retryable,
                "{code:?}"
            );
        }
    }
}
