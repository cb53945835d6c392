//! The members of a JSON body, read one by one, with every fault noted (`spec/conventions.md` §4, §5).

use std::ops::RangeInclusive;

use schemas::tags::{self, MAX_TAGS, SYSTEM_PREFIX, Tags};
use serde_json::{Map, Value};

use crate::error::{ApiError, Issue, PathItem};

/// Reads the members of an object. Getters note what is wrong; [`Members::finish`] reports all of it.
/// Members that nobody asks for are ignored, and null is not absent.
#[derive(Debug)]
pub struct Members<'a> {
    object: &'a Map<String, Value>,
    issues: Vec<Issue>,
}

impl<'a> Members<'a> {
    /// Begins to read a body.
    ///
    /// # Errors
    /// 400 `validation_error` where it is no object.
    pub fn of(body: &'a Value) -> Result<Self, ApiError> {
        match body {
            Value::Object(object) => Ok(Self {
                object,
                issues: Vec::new(),
            }),
            _ => Err(ApiError::validation(&[Issue::new(Vec::new(), "Expected object")])),
        }
    }

    /// Tells whether a member is there, be it null.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    /// Returns what `parse` makes of a member, or none where it is absent or wrong.
    pub fn optional<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&'a Value) -> Result<T, Fault>,
    ) -> Option<T> {
        match parse(self.object.get(name)?) {
            Ok(value) => Some(value),
            Err(Fault { path, message }) => {
                let issue = Issue::new(path, message);
                self.issues.push(issue.under(&[PathItem::from(name)]));
                None
            }
        }
    }

    /// As [`Members::optional`], of a member that must be there.
    pub fn required<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&'a Value) -> Result<T, Fault>,
    ) -> Option<T> {
        if !self.has(name) {
            self.reject(name, "Required");
        }
        self.optional(name, parse)
    }

    /// Notes an issue of a member.
    pub fn reject(&mut self, name: &'static str, message: &str) {
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

/// What is wrong with a value, and where in it.
#[derive(Debug)]
pub struct Fault {
    path: Vec<PathItem>,
    message: String,
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self {
            path: Vec::new(),
            message,
        }
    }
}

impl From<&str> for Fault {
    fn from(message: &str) -> Self {
        message.to_owned().into()
    }
}

impl Fault {
    fn at(item: impl Into<PathItem>, message: impl Into<String>) -> Self {
        Self {
            path: vec![item.into()],
            message: message.into(),
        }
    }
}

/// Reads a text.
///
/// # Errors
/// [`Fault`] for any other type.
pub fn text(value: &Value) -> Result<&str, Fault> {
    value.as_str().ok_or_else(|| "Expected string".into())
}

/// Reads a text, trims it, and counts its characters. None of them is a control character: people could
/// not tell such texts apart.
///
/// # Errors
/// [`Fault`] for any other type, and outside of `range`.
pub fn trimmed(range: RangeInclusive<usize>) -> impl FnOnce(&Value) -> Result<String, Fault> {
    move |value| {
        let text = text(value)?.trim();
        if !range.contains(&text.chars().count()) {
            return Err(format!("Expected {} to {} characters", range.start(), range.end()).into());
        }
        if text.chars().any(char::is_control) {
            return Err("Must not contain control characters".into());
        }
        Ok(text.to_owned())
    }
}

/// Reads default tags: at most 10, none of them the system's.
///
/// # Errors
/// [`Fault`] that names the first bad entry.
pub fn default_tags(value: &Value) -> Result<Tags, Fault> {
    let object = value.as_object().ok_or("Expected object")?;
    if object.len() > MAX_TAGS {
        return Err(format!("Expected at most {MAX_TAGS} entries").into());
    }
    let mut read = Tags::new();
    for (key, value) in object {
        if !tags::is_valid_key(key) || key.starts_with(SYSTEM_PREFIX) {
            let message = "Keys have 1 to 64 letters, digits, `_` or `-`, and do not start with `_ns_`";
            return Err(Fault::at(key.as_str(), message));
        }
        let value = value.as_str().filter(|value| tags::is_valid_value(value));
        let value =
            value.ok_or_else(|| Fault::at(key.as_str(), "Expected a string of at most 256 characters"))?;
        read.insert(key.clone(), value.to_owned());
    }
    Ok(read)
}

/// Reads null, or an array of at most `max` texts that `check` accepts.
///
/// # Errors
/// [`Fault`] that names the first bad item.
pub fn nullable_texts(
    max: usize,
    check: impl Fn(&str) -> Result<(), String>,
) -> impl FnOnce(&Value) -> Result<Option<Vec<String>>, Fault> {
    move |value| {
        if value.is_null() {
            return Ok(None);
        }
        let items = value.as_array().ok_or("Expected array or null")?;
        if items.len() > max {
            return Err(format!("Expected at most {max} items").into());
        }
        let read = items.iter().enumerate().map(|(index, item)| {
            let text = item.as_str().ok_or_else(|| Fault::at(index, "Expected string"))?;
            check(text).map_err(|message| Fault::at(index, message))?;
            Ok(text.to_owned())
        });
        read.collect::<Result<_, Fault>>().map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn all_faults_are_reported_with_their_paths() {
        let body =
            json!({ "name": " ", "defaultTags": { "_ns_x": "1" }, "allowedModels": ["a", 7], "more": 1 });
        let mut members = Members::of(&body).unwrap();
        assert_eq!(members.required("name", trimmed(1..=50)), None);
        assert_eq!(members.optional("defaultTags", default_tags), None);
        assert_eq!(
            members.optional("allowedModels", nullable_texts(50, |_| Ok(()))),
            None
        );
        assert_eq!(members.required("role", text), None);
        let paths: Vec<_> = members.issues.iter().map(|issue| json!(issue.path)).collect();
        assert_eq!(
            json!(paths),
            json!([["name"], ["defaultTags", "_ns_x"], ["allowedModels", 1], ["role"]])
        );
        assert!(members.finish().is_err());
    }

    #[test]
    fn null_is_not_absent() {
        let body = json!({ "name": null, "allowedModels": null });
        let mut members = Members::of(&body).unwrap();
        assert_eq!(members.optional("name", trimmed(1..=50)), None);
        assert_eq!(
            members.optional("allowedModels", nullable_texts(1, |_| Ok(()))),
            Some(None)
        );
        assert_eq!(members.issues.len(), 1);
    }

    #[test]
    fn texts_are_trimmed_before_they_are_counted() {
        let name = |text: &str| trimmed(1..=3)(&json!(text)).ok();
        assert_eq!(name("  é日b "), Some("é日b".to_owned()));
        assert_eq!(name("   "), None);
        assert_eq!(name("abcd"), None);
        assert_eq!(name("a\u{0}"), None);
    }

    #[test]
    fn default_tags_keep_their_rules() {
        assert!(default_tags(&json!({ "team": "", "a-b_C9": "é" })).is_ok());
        for bad in [
            json!([]),
            json!({ "": "x" }),
            json!({ "a.b": "x" }),
            json!({ "a": 1 }),
            json!({ "a": "nul\u{0}" }),
            json!({ "a": "x".repeat(257) }),
            json!({ "k".repeat(65): "x" }),
        ] {
            assert!(default_tags(&bad).is_err(), "{bad}");
        }
        let many: Map<_, _> = (0..11).map(|n| (format!("k{n}"), json!("x"))).collect();
        assert!(default_tags(&Value::Object(many)).is_err());
    }
}
