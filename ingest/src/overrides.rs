//! What the headers of a single event add (`../spec/cost-events.md` §3, "Custom request headers").

use axum::http::{HeaderMap, HeaderValue};
use marginstream_http::idempotency::idempotency_key;
use marginstream_http::{ApiError, Issue};
use schemas::cost_event::Overrides;
use schemas::tags::{self, Tags};

/// The longest session id, in characters.
const MAX_SESSION_CHARS: usize = 200;

/// What headers say, and whether one of them was ignored.
#[derive(Debug, Default)]
pub(crate) struct HeaderOverrides {
    pub(crate) overrides: Overrides,
    /// `X-NullSpend-Warning`, where a header was invalid and ignored.
    pub(crate) warning: Option<HeaderValue>,
}

/// Reads the headers.
///
/// # Errors
/// 400 `validation_error` for an idempotency key or a session id that is too long.
pub(crate) fn from_headers(headers: &HeaderMap) -> Result<HeaderOverrides, ApiError> {
    let (customer, warning) = customer(headers);
    let overrides = Overrides {
        request_id: idempotency_key(headers)?.map(str::to_owned),
        tags: tags(headers),
        customer,
        session_id: session(headers)?,
        trace_id: trace(headers),
    };
    Ok(HeaderOverrides { overrides, warning })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get(name)
        .and_then(|value| str::from_utf8(value.as_bytes()).ok())
}

/// Reads a JSON object of tags; entries that are not valid are dropped, and all but ten.
fn tags(headers: &HeaderMap) -> Tags {
    let object = text(headers, "x-nullspend-tags").and_then(|text| serde_json::from_str(text).ok());
    let Some(serde_json::Value::Object(members)) = object else {
        return Tags::new();
    };
    let valid = members.into_iter().filter_map(|(key, value)| match value {
        serde_json::Value::String(value)
            if tags::is_valid_key(&key)
                && !key.starts_with(tags::SYSTEM_PREFIX)
                && tags::is_valid_value(&value) =>
        {
            Some((key, value))
        }
        _ => None,
    });
    valid.take(tags::MAX_TAGS).collect()
}

fn customer(headers: &HeaderMap) -> (Option<String>, Option<HeaderValue>) {
    let Some(value) = headers.get("x-nullspend-customer") else {
        return (None, None);
    };
    let customer = value.to_str().unwrap_or_default().trim();
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
    if (1..=256).contains(&customer.len()) && customer.bytes().all(is_allowed) {
        (Some(customer.to_owned()), None)
    } else {
        (None, Some(HeaderValue::from_static("invalid_customer")))
    }
}

fn session(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let session = text(headers, "x-nullspend-session")
        .map(str::trim)
        .filter(|session| !session.is_empty());
    if session.is_some_and(|session| session.chars().count() > MAX_SESSION_CHARS) {
        let issue = Issue::at(
            "X-NullSpend-Session",
            "String must contain at most 200 character(s)",
        );
        return Err(ApiError::validation(&[issue]));
    }
    Ok(session.map(str::to_owned))
}

/// Reads `traceparent`, else `X-NullSpend-Trace-Id`. An event ignores anything but 32 lower-case
/// hex digits.
fn trace(headers: &HeaderMap) -> Option<String> {
    text(headers, "traceparent")
        .and_then(trace_of_parent)
        .or_else(|| text(headers, "x-nullspend-trace-id"))
        .map(str::to_owned)
}

/// Returns the trace of a W3C `traceparent`; none where it is not valid.
fn trace_of_parent(parent: &str) -> Option<&str> {
    let parts: Vec<_> = parent.trim().split('-').collect();
    let [version, trace, span, flags] = parts[..] else {
        return None;
    };
    let is_hex = |text: &str, length: usize| {
        text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    };
    let is_zero = |text: &str| text.bytes().all(|byte| byte == b'0');
    let is_valid = is_hex(version, 2)
        && version != "ff"
        && is_hex(trace, 32)
        && !is_zero(trace)
        && is_hex(span, 16)
        && !is_zero(span)
        && is_hex(flags, 2);
    is_valid.then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &'static str, value: &str) -> Result<HeaderOverrides, ApiError> {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        from_headers(&headers)
    }

    #[test]
    fn lenient_headers_drop_what_is_invalid() {
        let kept = read(
            "x-nullspend-tags",
            r#"{"env":"prod","a b":"x","n":1,"_ns_estimated":"true"}"#,
        )
        .unwrap();
        assert_eq!(
            kept.overrides.tags,
            Tags::from([("env".to_owned(), "prod".to_owned())])
        );
        assert!(read("x-nullspend-tags", "[1]").unwrap().overrides.tags.is_empty());
        assert!(read("x-nullspend-customer", "a b").unwrap().warning.is_some());
        assert_eq!(
            read("x-nullspend-customer", " acme ")
                .unwrap()
                .overrides
                .customer
                .as_deref(),
            Some("acme")
        );
        assert!(read("x-nullspend-session", &"s".repeat(201)).is_err());
    }

    #[test]
    fn traceparent_must_be_valid() {
        let (trace, span) = ("a".repeat(32), "b".repeat(16));
        let trace_id = |parent: String| read("traceparent", &parent).unwrap().overrides.trace_id;
        assert_eq!(trace_id(format!("00-{trace}-{span}-01")), Some(trace.clone()));
        assert_eq!(trace_id(format!("ff-{trace}-{span}-01")), None);
        assert_eq!(trace_id(format!("00-{}-{span}-01", "0".repeat(32))), None);
        assert_eq!(trace_id(format!("00-{trace}-{}-01", "0".repeat(16))), None);
    }
}
