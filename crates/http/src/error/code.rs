//! The codes of the contract.

use axum::http::StatusCode;

/// Every code that the API answers with (`spec/conventions.md` §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// A parameter or the body breaks its schema.
    ValidationError,
    /// The body is empty, blank or not JSON.
    InvalidJson,
    /// An attribution key or an API key id is malformed.
    InvalidKey,
    /// `Origin` or `Referer` cannot be parsed.
    InvalidOrigin,
    /// Stripe refused the submitted key.
    StripeValidationFailed,
    /// A budget is above the tier's cap.
    SpendCapExceeded,
    /// No valid session, key or cron secret.
    AuthenticationRequired,
    /// The role or the tier is too low, or the caller is no member.
    Forbidden,
    /// An API key without an organization.
    ConfigurationError,
    /// `Origin` or `Referer` names another host.
    CsrfRejected,
    /// Missing, or another organization's.
    NotFound,
    /// The budget's entity does not exist.
    BudgetEntityNotFound,
    /// The path exists, the method does not. The source names no code for it; this one is ours.
    MethodNotAllowed,
    /// A uniqueness conflict.
    Conflict,
    /// The tier's count is used up.
    LimitExceeded,
    /// The action's state does not allow this.
    InvalidActionTransition,
    /// The action has changed meanwhile.
    StaleAction,
    /// The action's time is over.
    ActionExpired,
    /// The invitation's time is over.
    Expired,
    /// The body is over 1 MiB.
    PayloadTooLarge,
    /// The content type is not JSON.
    UnsupportedMediaType,
    /// A rate limit, per address, key or account.
    RateLimitExceeded,
    /// Too many attempts at a secret from one address.
    RateLimited,
    /// Unexpected.
    InternalError,
    /// The server is set up wrongly.
    ServerError,
    /// A dependency is down.
    ServiceUnavailable,
    /// The first call with the same `Idempotency-Key` still runs.
    RequestInProgress,
}

impl ErrorCode {
    /// Returns the code on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.row().0
    }

    /// Returns the HTTP status.
    #[must_use]
    pub const fn status(self) -> StatusCode {
        self.row().1
    }

    const fn row(self) -> (&'static str, StatusCode) {
        match self {
            Self::ValidationError => ("validation_error", StatusCode::BAD_REQUEST),
            Self::InvalidJson => ("invalid_json", StatusCode::BAD_REQUEST),
            Self::InvalidKey => ("invalid_key", StatusCode::BAD_REQUEST),
            Self::InvalidOrigin => ("invalid_origin", StatusCode::BAD_REQUEST),
            Self::StripeValidationFailed => ("stripe_validation_failed", StatusCode::BAD_REQUEST),
            Self::SpendCapExceeded => ("spend_cap_exceeded", StatusCode::BAD_REQUEST),
            Self::AuthenticationRequired => ("authentication_required", StatusCode::UNAUTHORIZED),
            Self::Forbidden => ("forbidden", StatusCode::FORBIDDEN),
            // The identity is known, so not 401; it is simply not usable.
            Self::ConfigurationError => ("configuration_error", StatusCode::FORBIDDEN),
            Self::CsrfRejected => ("csrf_rejected", StatusCode::FORBIDDEN),
            Self::NotFound => ("not_found", StatusCode::NOT_FOUND),
            Self::BudgetEntityNotFound => ("budget_entity_not_found", StatusCode::NOT_FOUND),
            Self::MethodNotAllowed => ("method_not_allowed", StatusCode::METHOD_NOT_ALLOWED),
            Self::Conflict => ("conflict", StatusCode::CONFLICT),
            // A count is a state of the resource, not a rate: 409, not 429.
            Self::LimitExceeded => ("limit_exceeded", StatusCode::CONFLICT),
            Self::InvalidActionTransition => ("invalid_action_transition", StatusCode::CONFLICT),
            Self::StaleAction => ("stale_action", StatusCode::CONFLICT),
            Self::ActionExpired => ("action_expired", StatusCode::CONFLICT),
            // It was there and will not come back, so not 404.
            Self::Expired => ("expired", StatusCode::GONE),
            Self::PayloadTooLarge => ("payload_too_large", StatusCode::PAYLOAD_TOO_LARGE),
            Self::UnsupportedMediaType => ("unsupported_media_type", StatusCode::UNSUPPORTED_MEDIA_TYPE),
            Self::RateLimitExceeded => ("rate_limit_exceeded", StatusCode::TOO_MANY_REQUESTS),
            Self::RateLimited => ("rate_limited", StatusCode::TOO_MANY_REQUESTS),
            Self::InternalError => ("internal_error", StatusCode::INTERNAL_SERVER_ERROR),
            Self::ServerError => ("server_error", StatusCode::INTERNAL_SERVER_ERROR),
            Self::ServiceUnavailable => ("service_unavailable", StatusCode::SERVICE_UNAVAILABLE),
            // Published clients retry a 503, and a 409 they do not.
            Self::RequestInProgress => ("request_in_progress", StatusCode::SERVICE_UNAVAILABLE),
        }
    }
}
