//! What the edge asks of a request before it is authenticated.

use axum::http::Method;

use crate::endpoint::{Access, Endpoint, IpQuota, RequestBody, Verb};

/// Largest body of a JSON request, in bytes; exactly this many are allowed.
pub const MAX_BODY_BYTES: usize = 1_048_576;

/// The edge's rules for one method and path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(crate) ip_quota: IpQuota,
    /// Whether a foreign `Origin` is refused.
    pub(crate) checks_origin: bool,
    /// Largest `Content-Length` that is let through to authentication.
    pub(crate) max_body_bytes: Option<usize>,
    /// Whether the answer depends on the session cookie.
    pub(crate) varies_by_cookie: bool,
}

impl Policy {
    /// Returns the rules of a declared endpoint.
    pub(crate) fn of_endpoint(endpoint: &Endpoint) -> Self {
        let is_stream = matches!(endpoint.body, Some(RequestBody::Stream(..)));
        Self {
            ip_quota: endpoint.ip_quota,
            checks_origin: endpoint.verb.changes_state() && is_api(endpoint.path),
            max_body_bytes: (!is_stream).then_some(MAX_BODY_BYTES),
            varies_by_cookie: endpoint.access.varies_by_cookie() || sets_cookie(endpoint),
        }
    }

    /// Returns the rules of what no endpoint was declared for: those of the API, so that guessing paths is
    /// limited too.
    pub(crate) fn of_unknown(method: &Method, path: &str) -> Self {
        let changes_state = Verb::of(method).is_some_and(Verb::changes_state);
        Self {
            ip_quota: if is_api(path) {
                IpQuota::Api
            } else {
                IpQuota::Exempt
            },
            checks_origin: is_api(path) && changes_state,
            max_body_bytes: Some(MAX_BODY_BYTES),
            varies_by_cookie: is_api(path),
        }
    }
}

fn is_api(path: &str) -> bool {
    path == "/api" || path.starts_with("/api/")
}

/// Signing in and out are open to anyone and answer by the cookie all the same.
fn sets_cookie(endpoint: &Endpoint) -> bool {
    endpoint.access == Access::Public && endpoint.verb.changes_state()
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::access::Role;

    #[test]
    fn state_changes_of_the_api_check_their_origin() {
        let checks = |endpoint: Endpoint| Policy::of_endpoint(&endpoint).checks_origin;
        let access = Access::Session(Role::Viewer);
        assert!(checks(Endpoint::delete("/api/keys/{id}", access, "")));
        assert!(checks(Endpoint::post("/api/cost-events", Access::ApiKey, "")));
        assert!(!checks(Endpoint::get("/api/margins", access, "")));
    }

    #[test]
    fn only_a_stream_has_no_body_limit() {
        let events = Endpoint::post("/api/cost-events/stream", Access::ApiKey, "");
        assert_eq!(Policy::of_endpoint(&events).max_body_bytes, Some(1_048_576));
        let streamed = events.stream("application/x-ndjson", "One event a line.");
        assert_eq!(Policy::of_endpoint(&streamed).max_body_bytes, None);
    }

    #[test]
    fn unknown_paths_of_the_api_are_limited() {
        let unknown = |path| Policy::of_unknown(&Method::POST, path);
        assert_eq!(unknown("/api/guess").ip_quota, IpQuota::Api);
        assert!(unknown("/api/guess").checks_origin);
        assert_eq!(unknown("/apix").ip_quota, IpQuota::Exempt);
    }
}
