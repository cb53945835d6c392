//! The one error that handlers return, and its envelope (`spec/conventions.md` §4).

use std::borrow::Cow;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use control::ControlError;
use schemas::access::Tier;
use serde_json::{Value, json};

use crate::limit::RateSnapshot;

mod code;

pub use code::ErrorCode;
pub use schemas::reject::{Issue, PathItem};

/// Seconds after which a caller may try again when a dependency is down.
const UNAVAILABLE_RETRY_SECS: u64 = 30;

/// What caused a 5xx. It travels in the response's extensions to the edge, which logs it once;
/// the client never sees it.
#[derive(Debug, Clone)]
pub(crate) struct ErrorCause(pub(crate) Arc<dyn Error + Send + Sync>);

/// Prints the error and all its sources.
impl fmt::Display for ErrorCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

/// An answer that is not a success: a code of the contract, a message for people, details, and
/// for a 5xx the cause that is logged. The only error type that becomes a response.
#[derive(Debug, Clone)]
pub struct ApiError(Box<Parts>);

#[derive(Debug, Clone)]
struct Parts {
    code: ErrorCode,
    message: Cow<'static, str>,
    details: Value,
    retry_after_secs: Option<u64>,
    rate: Option<RateSnapshot>,
    cause: Option<ErrorCause>,
}

impl ApiError {
    /// Makes an error with `details: null`.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        let parts = Parts {
            code,
            message: message.into(),
            details: Value::Null,
            retry_after_secs: None,
            rate: None,
            cause: None,
        };
        Self(Box::new(parts))
    }

    /// 400 `validation_error` that names every issue.
    #[must_use]
    pub fn validation(issues: &[Issue]) -> Self {
        Self::new(ErrorCode::ValidationError, "Request validation failed.")
            .with_details(json!({ "issues": issues }))
    }

    /// 400 `invalid_json`.
    #[must_use]
    pub fn invalid_json(message: &'static str) -> Self {
        Self::new(ErrorCode::InvalidJson, message)
    }

    /// 401 for a key that is missing, unknown or revoked; the three look the same.
    #[must_use]
    pub fn invalid_api_key() -> Self {
        Self::new(ErrorCode::AuthenticationRequired, "Invalid or missing API key.")
    }

    /// 401 for a session that is missing or over.
    #[must_use]
    pub fn no_session() -> Self {
        Self::new(ErrorCode::AuthenticationRequired, "Authentication required.")
    }

    /// 403 `forbidden`: the caller is known but may not do this.
    #[must_use]
    pub fn forbidden(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::Forbidden, message)
    }

    /// 403 for a user who does not belong to the organization, also where there is none.
    #[must_use]
    pub fn not_a_member() -> Self {
        Self::forbidden("You are not a member of this organization.")
    }

    /// 403 for a tier that is too low, with the upgrade pointer (`spec/conventions.md` OPEN-C5).
    /// `feature` is a plural that starts the sentence: `Margins`.
    #[must_use]
    pub fn tier_too_low(feature: &str, current: Tier, required: Tier) -> Self {
        let message = format!(
            "{feature} require the {} plan or higher. Upgrade at /app/billing.",
            required.label()
        );
        Self::forbidden(message).with_details(json!({
            "currentTier": current.as_str(),
            "requiredTier": required.as_str(),
            "upgradeUrl": "/app/billing",
        }))
    }

    /// 404: missing, or another organization's.
    #[must_use]
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::NotFound, message)
    }

    /// 413: the body, declared or read, is over 1 MiB.
    #[must_use]
    pub fn payload_too_large() -> Self {
        Self::new(ErrorCode::PayloadTooLarge, "Request body exceeds 1048576 bytes.")
    }

    /// 429 with the rate headers; `Retry-After` says when the quota lets the call through.
    #[must_use]
    pub fn rate_limited(rate: RateSnapshot) -> Self {
        let mut error = Self::new(ErrorCode::RateLimitExceeded, "Too many requests");
        error.0.retry_after_secs = Some(rate.retry_after_secs());
        error.0.rate = Some(rate);
        error
    }

    /// 429 for too many attempts at a secret; this code is the endpoint's own (`spec/keys-orgs-auth.md` §6.1).
    #[must_use]
    pub fn too_many_attempts(rate: RateSnapshot) -> Self {
        let mut error = Self::new(ErrorCode::RateLimited, "Too many attempts");
        error.0.retry_after_secs = Some(rate.retry_after_secs());
        error.0.rate = Some(rate);
        error
    }

    /// 503: the first call with this `Idempotency-Key` has not ended yet.
    #[must_use]
    pub fn request_in_progress() -> Self {
        let mut error = Self::new(
            ErrorCode::RequestInProgress,
            "A request with the same Idempotency-Key is still in progress.",
        );
        error.0.retry_after_secs = Some(1);
        error
    }

    /// 500 `internal_error`; the cause goes to the log only.
    #[must_use]
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ErrorCode::InternalError, "An unexpected error occurred.").caused_by(cause)
    }

    /// 503 `service_unavailable`, `Retry-After: 30`; the cause goes to the log only.
    #[must_use]
    pub fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let mut error =
            Self::new(ErrorCode::ServiceUnavailable, "Service temporarily unavailable.").caused_by(cause);
        error.0.retry_after_secs = Some(UNAVAILABLE_RETRY_SECS);
        error
    }

    /// Maps the failure of a dependency (event log, warehouse): 503 where trying again may help,
    /// else 500.
    #[must_use]
    pub fn dependency(cause: impl Into<Box<dyn Error + Send + Sync>>, is_retryable: bool) -> Self {
        if is_retryable {
            Self::unavailable(cause)
        } else {
            Self::internal(cause)
        }
    }

    /// Replaces `details`; anything but an object or null breaks the contract.
    #[must_use]
    pub fn with_details(mut self, details: Value) -> Self {
        debug_assert!(details.is_object() || details.is_null());
        self.0.details = details;
        self
    }

    fn caused_by(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.0.cause = Some(ErrorCause(Arc::from(cause.into())));
        self
    }

    /// Returns the code.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// Returns the HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.code.status()
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code.as_str(), self.0.message)
    }
}

impl Error for ApiError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0
            .cause
            .as_ref()
            .map(|cause| &*cause.0 as &(dyn Error + 'static))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let parts = *self.0;
        let body = json!({ "error": { "code": parts.code.as_str(), "message": parts.message, "details": parts.details } });
        let mut response = (parts.code.status(), body.to_string()).into_response();
        write_headers(response.headers_mut(), parts.retry_after_secs, parts.rate);
        if let Some(cause) = parts.cause {
            response.extensions_mut().insert(cause);
        }
        response
    }
}

fn write_headers(headers: &mut HeaderMap, retry_after_secs: Option<u64>, rate: Option<RateSnapshot>) {
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(secs) = retry_after_secs {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(secs));
    }
    if let Some(rate) = rate {
        rate.write_to(headers);
    }
}

/// Domain refusals keep their meaning; the rest is the store's failure.
impl From<ControlError> for ApiError {
    fn from(error: ControlError) -> Self {
        match error {
            ControlError::Conflict(message) => Self::new(ErrorCode::Conflict, message),
            ControlError::NotFound(what) => Self::not_found(format!("{what} not found")),
            ControlError::Invalid(message) => Self::new(ErrorCode::ValidationError, message),
            ControlError::Forbidden(message) => Self::forbidden(message),
            ControlError::LimitExceeded(message) => Self::new(ErrorCode::LimitExceeded, message),
            ControlError::Expired(what) => Self::new(ErrorCode::Expired, format!("{what} has expired")),
            failure @ (ControlError::Database { .. }
            | ControlError::Corrupt { .. }
            | ControlError::KeyFile { .. }
            | ControlError::MissingKey { .. }
            | ControlError::UnknownUrl
            | ControlError::Open { .. }
            | ControlError::NewerSchema { .. }
            | ControlError::Random(_)
            | ControlError::PasswordHash(_)
            | ControlError::Task(_)) => {
                let is_retryable = failure.is_retryable();
                Self::dependency(failure, is_retryable)
            }
        }
    }
}
