//! JSON bodies, read in the contract's order (`spec/conventions.md` §5).

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde_json::Value;

use crate::error::{ApiError, ErrorCode};

pub use crate::policy::MAX_BODY_BYTES;

/// Reads the body of a JSON request, not yet parsed. To be called after authentication and role
/// and tier checks.
///
/// # Errors
/// In this order: 415 unless the media type is `application/json`; 413 over
/// [`MAX_BODY_BYTES`]; 400 `invalid_json` for a blank body or one that broke off.
pub async fn read_body(request: Request) -> Result<Bytes, ApiError> {
    if !is_json(request.headers()) {
        return Err(ApiError::new(
            ErrorCode::UnsupportedMediaType,
            "Content-Type must be application/json.",
        ));
    }
    let bytes = read_limited(request.into_body()).await?;
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Err(ApiError::invalid_json("Request body is empty."));
    }
    Ok(bytes)
}

/// Reads and parses the body of a JSON request.
///
/// # Errors
/// Those of [`read_body`], then 400 `invalid_json` for anything but JSON.
pub async fn read_json(request: Request) -> Result<Value, ApiError> {
    let bytes = read_body(request).await?;
    serde_json::from_slice(&bytes).map_err(|_| ApiError::invalid_json("Request body must be valid JSON."))
}

async fn read_limited(body: Body) -> Result<Bytes, ApiError> {
    match Limited::new(body, MAX_BODY_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(ApiError::payload_too_large()),
        Err(_) => Err(ApiError::invalid_json("Request body could not be read.")),
    }
}

/// Compares the media type without parameters, in any case.
fn is_json(headers: &HeaderMap) -> bool {
    let essence = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok()?.split(';').next());
    essence.is_some_and(|essence| essence.trim().eq_ignore_ascii_case("application/json"))
}
