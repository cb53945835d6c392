//! Why a sign-in with the provider failed.

use std::error::Error;

use openidconnect::ClaimsVerificationError;

use crate::error::{ApiError, ErrorCode};

/// No variant holds a token, a code or what the provider said of a user.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OidcError {
    /// The provider did not answer, or not as a provider does.
    #[error("the identity provider did not answer: {call}")]
    Outage {
        /// What was asked for.
        call: &'static str,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// It failed so often just now that it is not asked.
    #[error("the identity provider failed repeatedly and is left alone for a while")]
    LeftAlone,
    /// The provider said no; with its code.
    #[error("the identity provider refused: {0}")]
    Refused(String),
    /// The ID token, or what came with it, does not prove who signs in.
    #[error("the ID token is not valid")]
    Token(#[source] ClaimsVerificationError),
    /// The same, where it is not the token's claims.
    #[error("the ID token is not valid: {0}")]
    Proof(&'static str),
}

impl OidcError {
    pub(super) fn outage(call: &'static str, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Outage {
            call,
            source: source.into(),
        }
    }

    /// Tells whether the keys that the token was checked with may be old ones.
    pub(super) const fn may_lack_key(&self) -> bool {
        matches!(
            self,
            Self::Token(ClaimsVerificationError::SignatureVerification(_))
        )
    }

    /// Tells whether the provider failed; then trying later may help.
    pub(super) const fn is_retryable(&self) -> bool {
        match self {
            Self::Outage { .. } | Self::LeftAlone => true,
            Self::Refused(_) | Self::Token(_) | Self::Proof(_) => false,
        }
    }
}

impl From<OidcError> for ApiError {
    fn from(error: OidcError) -> Self {
        if error.is_retryable() {
            Self::unavailable(error)
        } else {
            not_signed_in()
        }
    }
}

/// 401 for a sign-in that did not succeed, whatever the reason: the log tells it.
pub(super) fn not_signed_in() -> ApiError {
    ApiError::new(
        ErrorCode::AuthenticationRequired,
        "Sign-in did not succeed. Please start again.",
    )
}
