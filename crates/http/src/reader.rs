//! Callers of the read endpoints that take a session or an API key (`spec/README.md` decision 6).

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use schemas::access::Tier;
use schemas::id::OrgId;

use crate::api::UndeclaredCaller;
use crate::error::{ApiError, ErrorCode};
use crate::key_auth::{ApiKeyCaller, presents_key};
use crate::session_auth::SessionCaller;
use crate::state::HttpState;

/// The organization's setting that lets its API keys read; on where its value is `true`.
pub const ALLOW_API_KEY_READS: &str = "allowApiKeyReads";

/// A caller who may read as a viewer does.
///
/// A request that presents a key takes the key's path, and what fails there is final: the cookie
/// is not looked at. The key's organization must allow reads by keys, else 401, as on any route
/// that takes sessions only.
#[derive(Debug, Clone)]
pub enum Reader {
    /// By API key.
    Key(ApiKeyCaller),
    /// By session.
    Session(SessionCaller),
}

impl Reader {
    /// Returns the organization that is read.
    #[must_use]
    pub fn org_id(&self) -> OrgId {
        match self {
            Self::Key(caller) => caller.org_id(),
            Self::Session(caller) => caller.org_id,
        }
    }

    /// Returns the organization's effective tier.
    #[must_use]
    pub fn tier(&self) -> Tier {
        match self {
            Self::Key(caller) => caller.tier(),
            Self::Session(caller) => caller.tier,
        }
    }

    pub(crate) async fn authenticate(http: &HttpState, parts: &Parts) -> Result<Self, ApiError> {
        if presents_key(&parts.headers) {
            return Self::by_key(http, parts).await;
        }
        SessionCaller::authenticate(http, parts).await.map(Self::Session)
    }

    async fn by_key(http: &HttpState, parts: &Parts) -> Result<Self, ApiError> {
        let caller = ApiKeyCaller::authenticate(http, parts).await?;
        let setting = http.control().setting(caller.org_id(), ALLOW_API_KEY_READS).await;
        if setting.map_err(ApiError::unavailable)?.as_deref() != Some("true") {
            return Err(ApiError::new(
                ErrorCode::AuthenticationRequired,
                "API keys of this organization may not read. Sign in, or switch allowApiKeyReads on.",
            ));
        }
        Ok(Self::Key(caller))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Reader {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let caller = parts.extensions.get().cloned();
        caller.ok_or_else(|| ApiError::internal(UndeclaredCaller("reader")))
    }
}
