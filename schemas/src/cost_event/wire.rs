//! The body of `POST /api/cost-events` (`../spec/cost-events.md` §2).
//!
//! A well-formed event is read in one pass, borrowing its texts. Anything else is read again by
//! way of a JSON tree that names every fault. Both ways end in the same [`WireEvent`] and the
//! same checks of bounds, so they cannot disagree on what is accepted.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::{CostBreakdown, EventType};
use crate::money::Microdollars;
use crate::reject::{Issue, PathItem};
use crate::tags;

/// Why a body is no event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum InvalidEvent {
    /// Blank or no JSON.
    Json,
    /// JSON that breaks rules; every fault is listed.
    Issues(Vec<Issue>),
}

/// An event as its sender states it, checked by [`WireEvent::parse`].
#[derive(Debug, Clone, Default, PartialEq, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WireEvent<'a> {
    #[serde(borrow)]
    pub(super) provider: Text<'a>,
    #[serde(borrow)]
    pub(super) model: Text<'a>,
    pub(super) input_tokens: Integer,
    pub(super) output_tokens: Integer,
    pub(super) cost_microdollars: Integer,
    #[serde(default)]
    pub(super) cached_input_tokens: Integer,
    #[serde(default)]
    pub(super) reasoning_tokens: Integer,
    #[serde(default, deserialize_with = "present")]
    pub(super) duration_ms: Option<Integer>,
    #[serde(borrow, default)]
    pub(super) session_id: Text<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) trace_id: Option<Text<'a>>,
    #[serde(default)]
    pub(super) event_type: EventType,
    #[serde(borrow, default)]
    pub(super) tool_name: Text<'a>,
    #[serde(borrow, default)]
    pub(super) tool_server: Text<'a>,
    #[serde(borrow, default)]
    pub(super) idempotency_key: Text<'a>,
    #[serde(default, deserialize_with = "present")]
    pub(super) cost_breakdown: Option<WireBreakdown>,
    #[serde(borrow, default)]
    pub(super) tags: TagList<'a>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) customer: Option<Text<'a>>,
    #[serde(borrow, default, deserialize_with = "present")]
    pub(super) timestamp: Option<Text<'a>>,
}

/// `costBreakdown` on the wire; other members are dropped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct WireBreakdown {
    input: Integer,
    output: Integer,
    cached: Integer,
    reasoning: Option<Integer>,
}

// By hand, since a derived one would take an array as well as an object.
impl<'de> Deserialize<'de> for WireBreakdown {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct BreakdownVisitor;
        impl<'de> Visitor<'de> for BreakdownVisitor {
            type Value = WireBreakdown;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of integers")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<WireBreakdown, A::Error> {
                let (mut input, mut output, mut cached, mut reasoning) = (None, None, None, None);
                while let Some(key) = map.next_key::<Text<'de>>()? {
                    match &*key {
                        "input" => input = Some(map.next_value()?),
                        "output" => output = Some(map.next_value()?),
                        "cached" => cached = Some(map.next_value()?),
                        "reasoning" => reasoning = Some(map.next_value()?),
                        _ => drop(map.next_value::<de::IgnoredAny>()?),
                    }
                }
                let missing = || de::Error::custom("missing part");
                Ok(WireBreakdown {
                    input: input.ok_or_else(missing)?,
                    output: output.ok_or_else(missing)?,
                    cached: cached.ok_or_else(missing)?,
                    reasoning,
                })
            }
        }
        deserializer.deserialize_map(BreakdownVisitor)
    }
}

impl WireBreakdown {
    pub(super) const fn to_parts(self) -> CostBreakdown {
        CostBreakdown {
            input: self.input.0,
            output: self.output.0,
            cached: self.cached.0,
            reasoning: match self.reasoning {
                Some(Integer(value)) => Some(value),
                None => None,
            },
            tool_definition: None,
        }
    }
}

impl<'a> WireEvent<'a> {
    /// Reads and checks one JSON object.
    ///
    /// # Errors
    /// [`InvalidEvent`]: no JSON, or the list of all faults, with paths from the object's root.
    pub fn parse(body: &'a [u8]) -> Result<Self, InvalidEvent> {
        // A derived struct would take an array as well as an object.
        let is_object = body.trim_ascii_start().first() == Some(&b'{');
        if let Some(event) = is_object
            .then(|| serde_json::from_slice::<Self>(body).ok())
            .flatten()
        {
            let mut issues = Vec::new();
            event.check(&mut issues);
            return if issues.is_empty() {
                Ok(event)
            } else {
                Err(InvalidEvent::Issues(issues))
            };
        }
        let value: Value = serde_json::from_slice(body).map_err(|_| InvalidEvent::Json)?;
        Self::from_value(&value).map_err(InvalidEvent::Issues)
    }

    /// Reads and checks an object of a JSON tree, naming every fault.
    ///
    /// # Errors
    /// All faults, with paths from the object's root.
    pub fn from_value(value: &Value) -> Result<WireEvent<'static>, Vec<Issue>> {
        let Some(members) = value.as_object() else {
            return Err(vec![Issue::new(
                Vec::new(),
                format!("Expected object, received {}", kind(value)),
            )]);
        };
        let mut reader = Reader {
            members,
            prefix: Vec::new(),
            issues: Vec::new(),
        };
        let event = reader.event();
        let mut issues = reader.issues;
        event.check(&mut issues);
        if issues.is_empty() { Ok(event) } else { Err(issues) }
    }

    /// Checks every bound. Members of the wrong type were replaced by a value within bounds.
    fn check(&self, issues: &mut Vec<Issue>) {
        check_length(issues, "provider", &self.provider, 1, 100);
        check_length(issues, "model", &self.model, 1, 200);
        check_length(issues, "sessionId", &self.session_id, 0, 200);
        check_length(issues, "toolName", &self.tool_name, 0, 200);
        check_length(issues, "toolServer", &self.tool_server, 0, 200);
        check_length(issues, "idempotencyKey", &self.idempotency_key, 0, 200);
        if let Some(customer) = &self.customer {
            check_length(issues, "customer", customer, 1, 256);
            if customer.chars().any(char::is_control) {
                issues.push(Issue::at(
                    "customer",
                    "String must not contain control characters",
                ));
            }
        }
        if self.trace_id.as_ref().is_some_and(|trace| !is_trace_id(trace)) {
            issues.push(Issue::at("traceId", "Must be 32 lowercase hexadecimal digits"));
        }
        for (member, number) in [
            ("inputTokens", Some(self.input_tokens)),
            ("outputTokens", Some(self.output_tokens)),
            ("costMicrodollars", Some(self.cost_microdollars)),
            ("cachedInputTokens", Some(self.cached_input_tokens)),
            ("reasoningTokens", Some(self.reasoning_tokens)),
            ("durationMs", self.duration_ms),
        ] {
            if number.is_some_and(|Integer(value)| value < 0) {
                issues.push(Issue::at(member, "Number must be greater than or equal to 0"));
            }
        }
        self.tags.check(issues);
    }
}

/// Tells whether a text is 32 lower-case hexadecimal digits.
#[must_use]
pub(super) fn is_trace_id(text: &str) -> bool {
    text.len() == 32
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn check_length(issues: &mut Vec<Issue>, member: &str, text: &str, min: usize, max: usize) {
    // Bytes are never fewer than characters, so the count is needed only beyond `max` bytes.
    let length = if text.len() <= max {
        text.len()
    } else {
        text.chars().count()
    };
    if length < min {
        issues.push(Issue::at(
            member,
            format!("String must contain at least {min} character(s)"),
        ));
    } else if length > max {
        issues.push(Issue::at(
            member,
            format!("String must contain at most {max} character(s)"),
        ));
    }
}

/// Reads a member that may be missing but must not be null.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// A text, borrowed from the input where it holds no escapes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor;
        impl<'de> Visitor<'de> for TextVisitor {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

/// An integer in [-(2^53 - 1), 2^53 - 1]; `5`, `5.0` and `5e0` all denote 5.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Integer(pub(super) i64);

impl Integer {
    fn of_i64(value: i64) -> Option<Self> {
        (-Microdollars::MAX_WIRE..=Microdollars::MAX_WIRE)
            .contains(&value)
            .then_some(Self(value))
    }

    fn of_f64(value: f64) -> Option<Self> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            reason = "integral and within 2^53"
        )]
        (value.fract() == 0.0 && value.abs() <= Microdollars::MAX_WIRE as f64).then_some(Self(value as i64))
    }
}

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct IntegerVisitor;
        impl Visitor<'_> for IntegerVisitor {
            type Value = Integer;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer")
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Integer, E> {
                i64::try_from(value)
                    .ok()
                    .and_then(Integer::of_i64)
                    .ok_or_else(|| E::custom("too large"))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Integer, E> {
                Integer::of_i64(value).ok_or_else(|| E::custom("too small"))
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Integer, E> {
                Integer::of_f64(value).ok_or_else(|| E::custom("no integer"))
            }
        }
        deserializer.deserialize_i64(IntegerVisitor)
    }
}

impl<'de> Deserialize<'de> for EventType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = Text::deserialize(deserializer)?;
        Self::parse(&name).ok_or_else(|| de::Error::unknown_variant(&name, &["llm", "tool", "custom"]))
    }
}

/// `tags` in the sender's order, without the keys that only the system sets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TagList<'a>(pub(super) Vec<(Text<'a>, Text<'a>)>);

impl<'a> TagList<'a> {
    /// Adds a tag; of a repeated key the last value stays, as in any JSON object.
    fn insert(&mut self, key: Text<'a>, value: Text<'a>) {
        if key.starts_with(tags::SYSTEM_PREFIX) {
            return;
        }
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some(slot) => slot.1 = value,
            None => self.0.push((key, value)),
        }
    }

    fn check(&self, issues: &mut Vec<Issue>) {
        if self.0.len() > tags::MAX_TAGS {
            issues.push(Issue::at(
                "tags",
                format!("At most {} tags are allowed", tags::MAX_TAGS),
            ));
        }
        for (key, value) in &self.0 {
            if !tags::is_valid_key(key) {
                issues.push(Issue::at("tags", "Tag keys must match ^[a-zA-Z0-9_-]{1,64}$"));
            }
            if !tags::is_valid_value(value) {
                let path = vec!["tags".into(), PathItem::from(&**key)];
                issues.push(Issue::new(
                    path,
                    "Tag values must be at most 256 characters, without U+0000",
                ));
            }
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for TagList<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TagsVisitor;
        impl<'de> Visitor<'de> for TagsVisitor {
            type Value = TagList<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TagList<'de>, A::Error> {
                let mut list = TagList(Vec::with_capacity(4));
                while let Some((key, value)) = map.next_entry()? {
                    if list.0.len() > 2 * tags::MAX_TAGS {
                        return Err(de::Error::custom("too many tags"));
                    }
                    list.insert(key, value);
                }
                Ok(list)
            }
        }
        deserializer.deserialize_map(TagsVisitor)
    }
}

/// Reads members of a JSON tree one by one and notes each that is missing or of a wrong type.
struct Reader<'v> {
    members: &'v serde_json::Map<String, Value>,
    prefix: Vec<PathItem>,
    issues: Vec<Issue>,
}

impl Reader<'_> {
    fn event(&mut self) -> WireEvent<'static> {
        WireEvent {
            provider: self.required("provider", "string", text, Text("-".into())),
            model: self.required("model", "string", text, Text("-".into())),
            input_tokens: self.required("inputTokens", "integer", integer, Integer(0)),
            output_tokens: self.required("outputTokens", "integer", integer, Integer(0)),
            cost_microdollars: self.required("costMicrodollars", "integer", integer, Integer(0)),
            cached_input_tokens: self
                .optional("cachedInputTokens", "integer", integer)
                .unwrap_or_default(),
            reasoning_tokens: self
                .optional("reasoningTokens", "integer", integer)
                .unwrap_or_default(),
            duration_ms: self.optional("durationMs", "integer", integer),
            session_id: self.optional("sessionId", "string", text).unwrap_or_default(),
            trace_id: self.optional("traceId", "string", text),
            event_type: self
                .optional("eventType", "'llm' | 'tool' | 'custom'", event_type)
                .unwrap_or_default(),
            tool_name: self.optional("toolName", "string", text).unwrap_or_default(),
            tool_server: self.optional("toolServer", "string", text).unwrap_or_default(),
            idempotency_key: self
                .optional("idempotencyKey", "string", text)
                .unwrap_or_default(),
            cost_breakdown: self.breakdown(),
            tags: self.tags(),
            customer: self.optional("customer", "string", text),
            timestamp: self.optional("timestamp", "string", text),
        }
    }

    fn required<T>(&mut self, member: &str, expected: &str, read: fn(&Value) -> Option<T>, stand_in: T) -> T {
        if !self.members.contains_key(member) {
            self.note(member, "Required");
        }
        self.optional(member, expected, read).unwrap_or(stand_in)
    }

    fn optional<T>(&mut self, member: &str, expected: &str, read: fn(&Value) -> Option<T>) -> Option<T> {
        let value = self.members.get(member)?;
        let read = read(value);
        if read.is_none() {
            self.note(member, &format!("Expected {expected}, received {}", kind(value)));
        }
        read
    }

    fn breakdown(&mut self) -> Option<WireBreakdown> {
        let value = self.members.get("costBreakdown")?;
        let Some(members) = value.as_object() else {
            self.note(
                "costBreakdown",
                &format!("Expected object, received {}", kind(value)),
            );
            return None;
        };
        let mut inner = Reader {
            members,
            prefix: vec!["costBreakdown".into()],
            issues: Vec::new(),
        };
        let parts = WireBreakdown {
            input: inner.required("input", "integer", integer, Integer(0)),
            output: inner.required("output", "integer", integer, Integer(0)),
            cached: inner.required("cached", "integer", integer, Integer(0)),
            reasoning: inner.optional("reasoning", "integer", integer),
        };
        self.issues.append(&mut inner.issues);
        Some(parts)
    }

    fn tags(&mut self) -> TagList<'static> {
        let mut list = TagList::default();
        let Some(value) = self.members.get("tags") else {
            return list;
        };
        let Some(members) = value.as_object() else {
            self.note("tags", &format!("Expected object, received {}", kind(value)));
            return list;
        };
        for (key, value) in members {
            match text(value) {
                Some(value) => list.insert(Text(Cow::Owned(key.clone())), value),
                None if key.starts_with(tags::SYSTEM_PREFIX) => {}
                None => {
                    let path = vec!["tags".into(), PathItem::from(key.as_str())];
                    self.issues.push(Issue::new(
                        path,
                        format!("Expected string, received {}", kind(value)),
                    ));
                }
            }
        }
        list
    }

    fn note(&mut self, member: &str, message: &str) {
        self.issues.push(Issue::at(member, message).under(&self.prefix));
    }
}

fn text(value: &Value) -> Option<Text<'static>> {
    value.as_str().map(|text| Text(Cow::Owned(text.to_owned())))
}

fn integer(value: &Value) -> Option<Integer> {
    let number = value.as_number()?;
    match number.as_i64() {
        Some(value) => Integer::of_i64(value),
        None => number.as_f64().and_then(Integer::of_f64),
    }
}

fn event_type(value: &Value) -> Option<EventType> {
    value.as_str().and_then(EventType::parse)
}

const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
