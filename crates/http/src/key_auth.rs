//! Callers that present an API key (`spec/keys-orgs-auth.md` §3.1).

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use control::{ResolvedApiKey, SecretHash};
use schemas::access::Tier;
use schemas::id::{ApiKeyId, OrgId, UserId};
use schemas::tags::Tags;

use crate::api::UndeclaredCaller;
use crate::error::ApiError;
use crate::key_cache::Remembered;
use crate::limit::{Limiter, RateSnapshot};
use crate::request_context::RequestContext;
use crate::state::HttpState;

/// The header that carries the key.
const KEY_HEADER: &str = "x-nullspend-key";

/// A caller whose API key is known, within its quota, and whose owner is still a member.
///
/// An extractor of endpoints that are declared with [`crate::Access::ApiKey`]. Checked in the contract's
/// order: 401 for a key that is missing, unknown or revoked; 429 over the key's quota of requests;
/// 403 where the owner has left the organization. A store that does not answer is a 503.
#[derive(Debug, Clone)]
pub struct ApiKeyCaller {
    key: Arc<ResolvedApiKey>,
    http: HttpState,
}

impl ApiKeyCaller {
    /// Returns the key's id.
    #[must_use]
    pub fn key_id(&self) -> ApiKeyId {
        self.key.key_id
    }

    /// Returns the organization that the key belongs to.
    #[must_use]
    pub fn org_id(&self) -> OrgId {
        self.key.org_id
    }

    /// Returns the user who made the key.
    #[must_use]
    pub fn user_id(&self) -> UserId {
        self.key.user_id
    }

    /// Returns the organization's effective tier.
    #[must_use]
    pub fn tier(&self) -> Tier {
        self.key.tier
    }

    /// Returns the tags that the key's events carry unless they say otherwise.
    #[must_use]
    pub fn default_tags(&self) -> &Tags {
        &self.key.default_tags
    }

    /// Takes `count` events from the key's quota of events, all or nothing; for calls of bounded
    /// size. Returns the quota where there is one. A call of more events than the whole quota
    /// passes when the quota is full, and takes all of it.
    ///
    /// # Errors
    /// 429 `rate_limit_exceeded`; nothing was taken.
    pub fn charge_events(&self, count: usize) -> Result<Option<RateSnapshot>, ApiError> {
        let Some(amount) = to_amount(count) else {
            return Ok(None);
        };
        self.events()
            .take(&self.key.key_id, amount)
            .map_err(ApiError::rate_limited)
    }

    /// Waits until `count` events have passed the key's quota of events; for streams, before
    /// their events are taken on.
    ///
    /// A stream is slowed down rather than refused: a 429 in its middle would hide which lines
    /// were taken, and a stream longer than the quota could never pass. The sender feels it as
    /// backpressure, since nothing is read meanwhile.
    pub async fn pace_events(&self, count: usize) {
        let Some(burst) = self.events().burst() else {
            return;
        };
        // A second's worth at a time keeps the flow even.
        let slice = burst.get().div_ceil(60) as usize;
        let mut left = count;
        while let Some(amount) = to_amount(left.min(slice)) {
            while let Err(refused) = self.events().take(&self.key.key_id, amount) {
                tokio::time::sleep(refused.reset_after).await;
            }
            left -= left.min(slice);
        }
    }

    fn events(&self) -> &Limiter<ApiKeyId> {
        self.http.key_events().of(self.key.tier)
    }

    pub(crate) async fn authenticate(http: &HttpState, parts: &Parts) -> Result<Self, ApiError> {
        let context = RequestContext::of(parts)?;
        let secret = parts
            .headers
            .get(KEY_HEADER)
            .ok_or_else(ApiError::invalid_api_key)?;
        let key = resolve(http, secret).await?;
        let quota = http
            .key_requests()
            .of(key.tier)
            .take(&key.key_id, NonZeroU32::MIN);
        if let Some(rate) = quota.map_err(ApiError::rate_limited)? {
            context.set_key_rate(rate);
        }
        if !key.owner_is_member {
            return Err(ApiError::forbidden(
                "The key's owner is not a member of this organization.",
            ));
        }
        Ok(Self {
            key,
            http: http.clone(),
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for ApiKeyCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let caller = parts.extensions.get().cloned();
        caller.ok_or_else(|| ApiError::internal(UndeclaredCaller("API key")))
    }
}

/// Tells whether a request presents a key, be it an empty one.
pub(crate) fn presents_key(headers: &HeaderMap) -> bool {
    headers.contains_key(KEY_HEADER)
}

/// Looks the key up by the hash of its secret. Hashes are compared, never secrets, so the time
/// that it takes tells nothing about how close a guess is.
async fn resolve(http: &HttpState, secret: &HeaderValue) -> Result<Arc<ResolvedApiKey>, ApiError> {
    let secret = str::from_utf8(secret.as_bytes()).unwrap_or_default();
    if secret.is_empty() {
        return Err(ApiError::invalid_api_key());
    }
    let hash = SecretHash::of(secret);
    let asked = Instant::now();
    match http.key_cache().get(&hash, asked) {
        Remembered::Known(key) => return Ok(key),
        Remembered::Unknown => return Err(ApiError::invalid_api_key()),
        Remembered::Nothing => {}
    }
    // Not knowing is not the same as an unknown key: 503 whatever went wrong.
    let key = http
        .control()
        .resolve_api_key(hash)
        .await
        .map_err(ApiError::unavailable)?
        .map(Arc::new);
    http.key_cache().remember(hash, key.as_ref(), asked);
    let key = key.ok_or_else(ApiError::invalid_api_key)?;
    // Every refill of the cache notes a use; the store writes one per 60 s and key.
    http.key_uses().note(key.key_id, http.control());
    Ok(key)
}

fn to_amount(count: usize) -> Option<NonZeroU32> {
    NonZeroU32::new(u32::try_from(count).unwrap_or(u32::MAX))
}
