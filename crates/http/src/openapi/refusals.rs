//! The refusals that follow from a declaration.

use std::collections::BTreeMap;

use axum::http::StatusCode;

use crate::endpoint::{Access, Endpoint, IpQuota, Place, RequestBody};
use crate::error::ErrorCode;

/// Returns the codes that an endpoint may answer with, by status.
pub(super) fn of(endpoint: &Endpoint) -> BTreeMap<StatusCode, Vec<ErrorCode>> {
    let mut codes = vec![ErrorCode::InternalError, ErrorCode::ServiceUnavailable];
    codes.extend_from_slice(&endpoint.refusals);
    match endpoint.access {
        Access::Public => {}
        Access::ApiKey => codes.extend([
            ErrorCode::AuthenticationRequired,
            ErrorCode::Forbidden,
            ErrorCode::RateLimitExceeded,
        ]),
        Access::Session(_) | Access::PathOrg(_) | Access::Reader => {
            codes.extend([ErrorCode::AuthenticationRequired, ErrorCode::Forbidden]);
        }
    }
    match endpoint.ip_quota {
        IpQuota::Exempt => {}
        IpQuota::Ingest | IpQuota::Api => codes.push(ErrorCode::RateLimitExceeded),
        IpQuota::Attempts => codes.extend([ErrorCode::RateLimitExceeded, ErrorCode::RateLimited]),
    }
    if endpoint.verb.changes_state() {
        codes.extend([ErrorCode::InvalidOrigin, ErrorCode::CsrfRejected]);
    }
    if !endpoint.parameters.is_empty() {
        codes.push(ErrorCode::ValidationError);
    }
    if has_object(endpoint) {
        codes.push(ErrorCode::NotFound);
    }
    // A declared length over 1 MiB is refused whatever the method.
    if !matches!(endpoint.body, Some(RequestBody::Stream(..))) {
        codes.push(ErrorCode::PayloadTooLarge);
    }
    if endpoint.body.is_some() {
        codes.extend([
            ErrorCode::UnsupportedMediaType,
            ErrorCode::InvalidJson,
            ErrorCode::ValidationError,
        ]);
    }
    let mut by_status: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for code in codes {
        by_status.entry(code.status()).or_default().push(code);
    }
    by_status
}

/// Tells whether the path names something that may be missing. A missing organization is a 403.
fn has_object(endpoint: &Endpoint) -> bool {
    endpoint
        .parameters
        .iter()
        .any(|parameter| parameter.place == Place::Path && parameter.name != "org")
}
