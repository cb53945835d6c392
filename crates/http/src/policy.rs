//! What the edge asks of a request, decided by method and path alone.

use axum::http::Method;

/// Largest body of a JSON request, in bytes; exactly this many are allowed.
pub const MAX_BODY_BYTES: usize = 1_048_576;

/// Which quota per client address counts a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IpQuota {
    /// None: not the API, or Stripe's inbound webhook, whose sender is known by its signature.
    Exempt,
    /// Events coming in.
    Ingest,
    /// The rest of the API.
    Api,
}

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
    pub(crate) fn of(method: &Method, path: &str) -> Self {
        let is_api = path == "/api" || path.starts_with("/api/");
        let is_stripe_webhook = path == "/api/stripe/webhook";
        let is_ingest = *method == Method::POST
            && matches!(path, "/api/cost-events" | "/api/cost-events/batch" | STREAM_PATH);
        let is_keyless_or_key_only = is_ingest || matches!(path, "/api/health" | "/api/auth/introspect");
        let changes_state = matches!(
            *method,
            Method::POST | Method::PUT | Method::PATCH | Method::DELETE
        );
        let ip_quota = match (is_api && !is_stripe_webhook, is_ingest) {
            (false, _) => IpQuota::Exempt,
            (true, true) => IpQuota::Ingest,
            (true, false) => IpQuota::Api,
        };
        Self {
            ip_quota,
            checks_origin: is_api && !is_stripe_webhook && changes_state,
            max_body_bytes: (path != STREAM_PATH).then_some(MAX_BODY_BYTES),
            varies_by_cookie: is_api && !is_stripe_webhook && !is_keyless_or_key_only,
        }
    }
}

/// Takes bodies of any length and reads them piece by piece (`spec/README.md` decision 3).
const STREAM_PATH: &str = "/api/cost-events/stream";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separates_ingest_from_the_rest() {
        let quota = |method, path| Policy::of(&method, path).ip_quota;
        for path in [
            "/api/cost-events",
            "/api/cost-events/batch",
            "/api/cost-events/stream",
        ] {
            assert_eq!(quota(Method::POST, path), IpQuota::Ingest, "{path}");
        }
        assert_eq!(quota(Method::GET, "/api/cost-events"), IpQuota::Api);
        assert_eq!(quota(Method::POST, "/api/auth/login"), IpQuota::Api);
        assert_eq!(quota(Method::POST, "/api/stripe/webhook"), IpQuota::Exempt);
        assert_eq!(quota(Method::GET, "/apix"), IpQuota::Exempt);
    }

    #[test]
    fn checks_the_origin_of_state_changes_only() {
        let checks = |method, path| Policy::of(&method, path).checks_origin;
        assert!(checks(Method::DELETE, "/api/keys/x") && checks(Method::POST, "/api/cost-events"));
        assert!(!checks(Method::GET, "/api/margins") && !checks(Method::POST, "/api/stripe/webhook"));
    }

    #[test]
    fn only_the_stream_has_no_body_limit() {
        assert_eq!(
            Policy::of(&Method::POST, "/api/cost-events/stream").max_body_bytes,
            None
        );
        assert_eq!(
            Policy::of(&Method::POST, "/api/cost-events/batch").max_body_bytes,
            Some(1_048_576)
        );
    }
}
