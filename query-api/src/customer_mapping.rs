//! The body of `POST /api/customer-mappings` (`../spec/margins.md` §7).

use marginstream_http::{ApiError, ErrorCode, Issue};
use schemas::mapping::MatchType;
use schemas::tags;
use serde_json::{Map, Value};

/// Longest text of a mapping, in characters.
const MAX_CHARS: usize = 255;

/// A mapping as a person states it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NewMapping {
    pub(crate) stripe_customer_id: String,
    pub(crate) tag_key: String,
    pub(crate) tag_value: String,
    pub(crate) match_type: MatchType,
}

impl NewMapping {
    /// Reads the body.
    ///
    /// # Errors
    /// 400 `validation_error`: with the contract's message where a required text is missing or
    /// empty, else with all issues.
    pub(crate) fn of_json(body: &Value) -> Result<Self, ApiError> {
        let Value::Object(body) = body else {
            return Err(ApiError::validation(&[Issue::new(Vec::new(), "Expected object")]));
        };
        let is_missing = |name: &str| body.get(name).is_none_or(|value| value.as_str() == Some(""));
        if is_missing("stripeCustomerId") || is_missing("tagValue") {
            return Err(ApiError::new(
                ErrorCode::ValidationError,
                "stripeCustomerId and tagValue are required.",
            ));
        }
        let mut issues = Vec::new();
        let mapping = Self {
            stripe_customer_id: read_text(body, "stripeCustomerId", &mut issues).unwrap_or_default(),
            tag_key: read_text(body, "tagKey", &mut issues).unwrap_or_else(|| tags::CUSTOMER.to_owned()),
            tag_value: read_text(body, "tagValue", &mut issues).unwrap_or_default(),
            match_type: read_match_type(body, &mut issues),
        };
        if issues.is_empty() {
            Ok(mapping)
        } else {
            Err(ApiError::validation(&issues))
        }
    }
}

/// None where the member is absent, empty or wrong; what is wrong is noted.
fn read_text(body: &Map<String, Value>, name: &'static str, issues: &mut Vec<Issue>) -> Option<String> {
    let Value::String(text) = body.get(name)? else {
        issues.push(Issue::at(name, "Expected string"));
        return None;
    };
    if text.chars().count() > MAX_CHARS {
        issues.push(Issue::at(name, "Must have at most 255 characters"));
    }
    if text.chars().any(|c| c.is_ascii_control()) {
        issues.push(Issue::at(name, "Must not contain control characters"));
    }
    Some(text.clone()).filter(|text| !text.is_empty())
}

fn read_match_type(body: &Map<String, Value>, issues: &mut Vec<Issue>) -> MatchType {
    match body.get("matchType") {
        None => MatchType::Manual,
        Some(Value::String(text)) if text == MatchType::Manual.as_str() => MatchType::Manual,
        Some(Value::String(text)) if text == MatchType::Auto.as_str() => MatchType::Auto,
        Some(_) => {
            issues.push(Issue::at("matchType", "Expected one of: auto, manual"));
            MatchType::Manual
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reads_defaults() {
        let read = NewMapping::of_json(
            &json!({"stripeCustomerId": "cus_1", "tagValue": "globex", "tagKey": "", "x": 1}),
        );
        let expected = NewMapping {
            stripe_customer_id: "cus_1".into(),
            tag_key: "customer".into(),
            tag_value: "globex".into(),
            match_type: MatchType::Manual,
        };
        assert_eq!(read.unwrap(), expected);
    }

    #[test]
    fn lengths_are_characters() {
        let with =
            |tag_value: String| NewMapping::of_json(&json!({"stripeCustomerId": "c", "tagValue": tag_value}));
        assert!(with("é".repeat(255)).is_ok());
        assert!(with("é".repeat(256)).is_err());
        for control in ["\0", "\n", "\u{1f}", "\u{7f}"] {
            assert!(with(format!("a{control}")).is_err(), "{control:?}");
        }
        assert!(with("\u{80}".to_owned()).is_ok());
    }

    #[test]
    fn wrong_members_are_refused() {
        for bad in [
            json!([]),
            json!({"stripeCustomerId": "c"}),
            json!({"stripeCustomerId": "", "tagValue": "t"}),
            json!({"stripeCustomerId": 5, "tagValue": "t"}),
            json!({"stripeCustomerId": "c", "tagValue": null}),
            json!({"stripeCustomerId": "c", "tagValue": "t", "tagKey": null}),
            json!({"stripeCustomerId": "c", "tagValue": "t", "matchType": "fuzzy"}),
            json!({"stripeCustomerId": "c", "tagValue": "t", "matchType": null}),
        ] {
            let error = NewMapping::of_json(&bad).unwrap_err();
            assert_eq!(error.code(), ErrorCode::ValidationError, "{bad}");
        }
    }
}
