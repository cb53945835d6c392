//! The browser-origin guard (`spec/conventions.md` §10).

use axum::http::uri::{Authority, Uri};
use axum::http::{HeaderMap, header};

use crate::error::{ApiError, ErrorCode};

/// Refuses a state change that a page of another host sent. Callers without `Origin` and
/// `Referer` are no browsers and pass.
///
/// # Errors
/// 400 `invalid_origin` where the header cannot be parsed (`null` included), 403 `csrf_rejected`
/// where it names another host.
pub(crate) fn check_origin(headers: &HeaderMap, target: &Uri) -> Result<(), ApiError> {
    let Some(value) = headers
        .get(header::ORIGIN)
        .or_else(|| headers.get(header::REFERER))
    else {
        return Ok(());
    };
    let origin = value.to_str().ok().and_then(|text| text.parse::<Uri>().ok());
    let Some((scheme, origin)) = origin
        .as_ref()
        .and_then(|uri| Some((uri.scheme_str()?, uri.authority()?)))
    else {
        return Err(ApiError::new(ErrorCode::InvalidOrigin, "Invalid Origin header."));
    };
    match requested_host(headers, target) {
        Some(host) if is_same_host(origin, &host, scheme) => Ok(()),
        _ => Err(ApiError::new(
            ErrorCode::CsrfRejected,
            "Cross-origin request rejected.",
        )),
    }
}

fn requested_host(headers: &HeaderMap, target: &Uri) -> Option<Authority> {
    let Some(value) = headers
        .get("x-forwarded-host")
        .or_else(|| headers.get(header::HOST))
    else {
        return target.authority().cloned();
    };
    value.to_str().ok()?.split(',').next()?.trim().parse().ok()
}

/// Compares host and port; a port that is the scheme's default may be missing on either side.
fn is_same_host(origin: &Authority, host: &Authority, scheme: &str) -> bool {
    let default = if scheme.eq_ignore_ascii_case("https") {
        443
    } else {
        80
    };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default);
    origin.host().eq_ignore_ascii_case(host.host()) && port(origin) == port(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(headers: &[(&'static str, &'static str)]) -> Option<&'static str> {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect();
        check_origin(&headers, &Uri::from_static("/api/keys"))
            .err()
            .map(|error| error.code().as_str())
    }

    #[test]
    fn compares_hosts() {
        let host = ("host", "app.example.com");
        assert_eq!(outcome(&[host]), None);
        assert_eq!(outcome(&[host, ("origin", "https://app.example.com")]), None);
        assert_eq!(outcome(&[host, ("origin", "https://APP.example.com:443")]), None);
        assert_eq!(
            outcome(&[host, ("referer", "https://app.example.com/keys?x=1")]),
            None
        );
        assert_eq!(
            outcome(&[host, ("origin", "https://evil.example.com")]),
            Some("csrf_rejected")
        );
        assert_eq!(
            outcome(&[host, ("origin", "https://app.example.com:8443")]),
            Some("csrf_rejected")
        );
        assert_eq!(
            outcome(&[host, ("referer", "https://evil.example.com/")]),
            Some("csrf_rejected")
        );
        assert_eq!(
            outcome(&[("origin", "https://app.example.com")]),
            Some("csrf_rejected")
        );
    }

    #[test]
    fn the_forwarded_host_wins() {
        let proxied = [("host", "10.0.0.3:8080"), ("x-forwarded-host", "app.example.com")];
        assert_eq!(
            outcome(&[proxied[0], proxied[1], ("origin", "https://app.example.com")]),
            None
        );
        assert_eq!(
            outcome(&[proxied[0], proxied[1], ("origin", "http://10.0.0.3:8080")]),
            Some("csrf_rejected")
        );
    }

    #[test]
    fn the_origin_header_is_read_before_the_referer() {
        let both = [
            ("host", "a.example"),
            ("origin", "https://b.example"),
            ("referer", "https://a.example/"),
        ];
        assert_eq!(outcome(&both), Some("csrf_rejected"));
    }

    #[test]
    fn unparsable_origins_are_refused() {
        for bad in ["null", "", "not a url", "/path", "https://"] {
            assert_eq!(
                outcome(&[("host", "app.example.com"), ("origin", bad)]),
                Some("invalid_origin"),
                "{bad}"
            );
        }
    }
}
