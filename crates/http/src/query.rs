//! Query strings and path parameters (`spec/conventions.md` §5, §6).

use std::convert::Infallible;
use std::ops::RangeInclusive;
use std::str::FromStr;

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::Uri;
use axum::http::request::Parts;
use schemas::id::parse_hyphenated;
use schemas::time::TimestampMs;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::error::{ApiError, Issue};

/// The parameters of a query string. Of a repeated parameter the first value counts, and what no
/// one asks for is ignored. Getters note what is wrong; [`QueryParams::finish`] reports all of it.
///
/// Extracting never fails, so that a handler may check role and tier first.
#[derive(Debug, Clone, Default)]
pub struct QueryParams {
    pairs: Vec<(String, String)>,
    issues: Vec<Issue>,
}

impl QueryParams {
    /// Reads the query of `uri`; bytes that are no UTF-8 become U+FFFD.
    #[must_use]
    pub fn of(uri: &Uri) -> Self {
        let pairs = Query::try_from_uri(uri)
            .map(|Query(pairs)| pairs)
            .unwrap_or_default();
        Self {
            pairs,
            issues: Vec::new(),
        }
    }

    /// Leaves out parameters with an empty value.
    #[must_use]
    pub fn without_empty(mut self) -> Self {
        self.pairs.retain(|(_, value)| !value.is_empty());
        self
    }

    /// Returns the first value, which may be empty.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.pairs
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
    }

    /// Returns an integer in `range`, or `default` where the parameter is absent. Plain decimal
    /// digits only.
    pub fn integer(&mut self, name: &'static str, range: RangeInclusive<u32>, default: u32) -> u32 {
        let expected = format!("Expected an integer from {} to {}", range.start(), range.end());
        let parsed = self.parse(name, |text| {
            let is_plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let number = is_plain.then(|| text.parse().ok()).flatten();
            number.filter(|number| range.contains(number)).ok_or(expected)
        });
        parsed.unwrap_or(default)
    }

    /// Returns one of the named values, or none where the parameter is absent.
    pub fn choice<T: Copy>(&mut self, name: &'static str, values: &[(&str, T)]) -> Option<T> {
        self.parse(name, |text| {
            let found = values
                .iter()
                .find(|(value, _)| *value == text)
                .map(|(_, value)| *value);
            found.ok_or_else(|| {
                let names: Vec<_> = values.iter().map(|(value, _)| *value).collect();
                format!("Expected one of: {}", names.join(", "))
            })
        })
    }

    /// Returns the parameter `cursor`: JSON, just as a page's `cursor` member had it.
    pub fn cursor<I: FromStr>(&mut self) -> Option<Cursor<I>> {
        self.parse("cursor", |text| {
            let json: Value = serde_json::from_str(text).map_err(|_| "Expected a JSON object".to_owned())?;
            Cursor::of_json(&json).map_err(str::to_owned)
        })
    }

    /// Returns what `parse` makes of the first value; its error becomes an issue.
    pub fn parse<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        match parse(self.text(name)?) {
            Ok(value) => Some(value),
            Err(message) => {
                self.reject(name, message);
                None
            }
        }
    }

    /// Notes an issue of a parameter.
    pub fn reject(&mut self, name: &'static str, message: impl Into<String>) {
        self.issues.push(Issue::at(name, message));
    }

    /// Ends reading.
    ///
    /// # Errors
    /// 400 `validation_error` with all issues noted.
    pub fn finish(self) -> Result<(), ApiError> {
        if self.issues.is_empty() {
            Ok(())
        } else {
            Err(ApiError::validation(&self.issues))
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for QueryParams {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.uri))
    }
}

/// Where a page ended: its last row. The next page holds the rows that sort strictly after it.
/// `id` prints with its prefix, as the rows of the list do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Cursor<I> {
    /// The row's time, to the millisecond.
    pub created_at: TimestampMs,
    /// The row's id.
    pub id: I,
}

impl<I: FromStr> Cursor<I> {
    fn of_json(json: &Value) -> Result<Self, &'static str> {
        let member = |name: &str| json.get(name).and_then(Value::as_str);
        let created_at = member("createdAt").and_then(TimestampMs::parse_z);
        let id = member("id").and_then(|id| id.parse().ok());
        Ok(Self {
            created_at: created_at.ok_or("Expected createdAt to be a UTC timestamp ending in Z")?,
            id: id.ok_or("Expected id to be the prefixed id of a row")?,
        })
    }
}

/// A UUID without a prefix, as the ids of audit events have it; in its canonical form only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BareId(pub Uuid);

impl FromStr for BareId {
    type Err = InvalidBareId;

    fn from_str(text: &str) -> Result<Self, InvalidBareId> {
        parse_hyphenated(text).map(Self).ok_or(InvalidBareId)
    }
}

/// A text that is no UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a UUID")]
pub struct InvalidBareId;

/// Path parameters, as [`Path`] reads them; what cannot be read is a 400 in the envelope.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct PathParams<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for PathParams<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(value)) => Ok(Self(value)),
            Err(PathRejection::FailedToDeserializePathParams(_)) => Err(ApiError::validation(&[Issue::new(
                Vec::new(),
                "Invalid path parameter",
            )])),
            Err(rejection) => Err(ApiError::internal(rejection)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::id::EventId;

    fn query(text: &str) -> QueryParams {
        QueryParams::of(&format!("/api/x?{text}").parse().unwrap())
    }

    fn limit(text: &str) -> Result<u32, String> {
        let mut params = query(text);
        let limit = params.integer("limit", 1..=100, 25);
        let issue = params.issues.first().map(|issue| issue.message.clone());
        issue.map_or(Ok(limit), Err)
    }

    #[test]
    fn limits_are_plain_digits_in_range() {
        assert_eq!(limit(""), Ok(25));
        assert_eq!(limit("limit=1"), Ok(1));
        assert_eq!(limit("limit=100"), Ok(100));
        assert_eq!(limit("limit=7&limit=abc&other=1"), Ok(7));
        for bad in [
            "0",
            "101",
            "25.5",
            "abc",
            "",
            "1e2",
            "0x10",
            "%2B5",
            "-1",
            "+5",
            "5+",
            "99999999999",
        ] {
            assert!(limit(&format!("limit={bad}")).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_printed_cursor_is_read_back() {
        let cursor = Cursor {
            created_at: TimestampMs(1_773_568_800_123),
            id: EventId::random(),
        };
        let printed = serde_json::to_string(&cursor).unwrap();
        assert_eq!(
            printed,
            format!(
                r#"{{"createdAt":"2026-03-15T10:00:00.123Z","id":"{}"}}"#,
                cursor.id
            )
        );
        let encoded: String = printed.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let mut params = query(&format!("cursor={encoded}"));
        assert_eq!(params.cursor::<EventId>(), Some(cursor));
        assert!(params.finish().is_ok());
    }

    #[test]
    fn bad_cursors_are_issues_of_the_parameter() {
        let key_id = schemas::id::ApiKeyId::random();
        let wrong_prefix = format!(r#"{{"createdAt":"2026-03-15T10:00:00.000Z","id":"{key_id}"}}"#);
        let offset = r#"{"createdAt":"2026-03-15T10:00:00+00:00","id":"ns_evt_x"}"#.to_owned();
        for bad in [
            wrong_prefix,
            offset,
            "null".into(),
            "{}".into(),
            "[]".into(),
            "{".into(),
            String::new(),
        ] {
            let encoded: String = bad.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let mut params = query(&format!("cursor={encoded}"));
            assert_eq!(params.cursor::<EventId>(), None);
            assert_eq!(params.issues.len(), 1, "{bad}");
            assert_eq!(params.issues[0].path, ["cursor".into()]);
        }
    }

    #[test]
    fn all_issues_are_reported() {
        let mut params = query("limit=x&format=xml");
        params.integer("limit", 1..=100, 25);
        assert_eq!(params.choice("format", &[("json", 1), ("csv", 2)]), None);
        assert_eq!(params.issues.len(), 2);
        assert_eq!(params.issues[1].message, "Expected one of: json, csv");
        assert!(params.finish().is_err());
    }

    #[test]
    fn broken_escapes_are_not_an_error() {
        assert_eq!(query("a=%FF&b=%zz").text("b"), Some("%zz"));
    }
}
