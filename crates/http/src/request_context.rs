//! What the edge knows about a request before any route does.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use uuid::Uuid;

use crate::error::ApiError;
use crate::limit::RateSnapshot;

/// The request's id and client, and, once a key has resolved, its quota. Cheap to clone.
#[derive(Debug, Clone)]
pub struct RequestContext(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    request_id: HeaderValue,
    client_ip: IpAddr,
    key_rate: OnceLock<RateSnapshot>,
}

/// Longest `x-request-id` that is echoed, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 128;

/// The extension is missing: the router did not pass through [`crate::apply`].
#[derive(Debug, thiserror::Error)]
#[error("request context is missing: the router was not built with `apply`")]
struct MissingContext;

impl RequestContext {
    pub(crate) fn new(headers: &HeaderMap, client_ip: IpAddr) -> Self {
        let request_id = echoed_id(headers).unwrap_or_else(generated_id);
        Self(Arc::new(Inner {
            request_id,
            client_ip,
            key_rate: OnceLock::new(),
        }))
    }

    /// Returns the id that the client was given: its own where that was sane, else a UUID.
    #[must_use]
    pub fn request_id(&self) -> &str {
        self.0.request_id.to_str().unwrap_or_default()
    }

    /// Returns the client's address, as the trusted proxies state it.
    #[must_use]
    pub fn client_ip(&self) -> IpAddr {
        self.0.client_ip
    }

    pub(crate) fn request_id_header(&self) -> HeaderValue {
        self.0.request_id.clone()
    }

    /// Keeps the quota for the response's headers; the first one of a request counts.
    pub(crate) fn set_key_rate(&self, rate: RateSnapshot) {
        self.0.key_rate.get_or_init(|| rate);
    }

    pub(crate) fn key_rate(&self) -> Option<RateSnapshot> {
        self.0.key_rate.get().copied()
    }

    pub(crate) fn of(parts: &Parts) -> Result<Self, ApiError> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or_else(|| ApiError::internal(MissingContext))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for RequestContext {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        Self::of(parts)
    }
}

/// Only visible ASCII is echoed, so that an id can be logged and pasted as it is.
fn echoed_id(headers: &HeaderMap) -> Option<HeaderValue> {
    let value = headers.get("x-request-id")?;
    let is_sane = (1..=MAX_REQUEST_ID_BYTES).contains(&value.len())
        && value.as_bytes().iter().all(u8::is_ascii_graphic);
    is_sane.then(|| value.clone())
}

fn generated_id() -> HeaderValue {
    // Hexadecimal digits and hyphens are a valid header value.
    HeaderValue::try_from(Uuid::new_v4().to_string()).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
}
