//! Successful JSON answers (`spec/conventions.md` §1).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::error::ApiError;

/// Answers `value` as it is, for the bodies that the contract does not wrap.
///
/// # Errors
/// 500 `internal_error` where the value cannot be written as JSON.
pub fn json<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Result<Response, ApiError> {
    let body = serde_json::to_vec(value).map_err(ApiError::internal)?;
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    Ok((status, content_type, body).into_response())
}

/// Answers `{"data": value}`.
///
/// # Errors
/// 500 `internal_error` where the value cannot be written as JSON.
pub fn data<T: Serialize + ?Sized>(status: StatusCode, value: &T) -> Result<Response, ApiError> {
    #[derive(Serialize)]
    struct Data<'a, T: ?Sized> {
        data: &'a T,
    }
    json(status, &Data { data: value })
}
