//! JSON Schemas of what endpoints of events and mappings take, and of parameters that several share.
//!
//! Written by hand, since what is taken is read by hand: every fault is reported, and unknown members are
//! ignored. Tests send what these schemas allow and what they forbid.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::id::HYPHENATED_PATTERN;

/// Largest integer of a request.
const MAX_INTEGER: u64 = (1 << 53) - 1;

fn count() -> Value {
    json!({ "type": "integer", "minimum": 0, "maximum": MAX_INTEGER })
}

fn text(min: u32, max: u32) -> Value {
    json!({ "type": "string", "minLength": min, "maxLength": max })
}

/// The members of one cost event.
fn event_members() -> Value {
    json!({
        "provider": text(1, 100),
        "model": text(1, 200),
        "inputTokens": count(),
        "outputTokens": count(),
        "costMicrodollars": count(),
        "cachedInputTokens": count(),
        "reasoningTokens": count(),
        "durationMs": count(),
        "sessionId": text(0, 200),
        "traceId": { "type": "string", "pattern": "^[0-9a-f]{32}$" },
        "eventType": { "enum": ["llm", "tool", "custom"] },
        "toolName": text(0, 200),
        "toolServer": text(0, 200),
        "idempotencyKey": text(0, 200),
        "costBreakdown": {
            "type": "object",
            "required": ["input", "output", "cached"],
            "properties": {
                "input": { "type": "integer" },
                "output": { "type": "integer" },
                "cached": { "type": "integer" },
                "reasoning": { "type": "integer" },
            },
        },
        "tags": {
            "type": "object",
            "maxProperties": 10,
            "propertyNames": { "pattern": "^[a-zA-Z0-9_-]{1,64}$" },
            "additionalProperties": { "type": "string", "maxLength": 256, "pattern": r"^[^\u0000]*$" },
        },
        "customer": { "type": "string", "minLength": 1, "maxLength": 256, "pattern": r"^[^\u0000-\u001f\u007f]*$" },
        "timestamp": {
            "type": "string",
            "format": "date-time",
            "description": "When it happened, in UTC with `Z`: at most 5 minutes ahead and 400 days back.",
        },
    })
}

/// One cost event, as a client sends it.
pub fn new_cost_event(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["provider", "model", "inputTokens", "outputTokens", "costMicrodollars"],
        "properties": event_members(),
    })
}

/// 1 to 100 cost events.
pub fn new_cost_events(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["events"],
        "properties": {
            "events": { "type": "array", "minItems": 1, "maxItems": 100, "items": new_cost_event(generator) },
        },
    })
}

/// A mapping of a tag value to a Stripe customer.
pub fn new_mapping(_: &mut SchemaGenerator) -> Schema {
    let text = |min: u32| json!({ "type": "string", "minLength": min, "maxLength": 255, "pattern": r"^[^\u0000-\u001f\u007f]*$" });
    json_schema!({
        "type": "object",
        "required": ["stripeCustomerId", "tagValue"],
        "properties": {
            "stripeCustomerId": text(1),
            "tagKey": text(0),
            "tagValue": text(1),
            "matchType": { "enum": ["auto", "manual"] },
        },
    })
}

/// An id of `prefix`, or an empty text, which counts as none.
#[must_use]
pub fn id_or_empty(prefix: &str) -> Value {
    json!({ "type": "string", "pattern": format!("^({prefix}{HYPHENATED_PATTERN})?$") })
}

/// A page's size.
#[must_use]
pub fn limit(max: u32, default: u32) -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": max, "default": default })
}

/// Where a page before ended: its `cursor`, as JSON text. `id_prefix` is that of the rows' ids.
#[must_use]
pub fn cursor(id_prefix: &str) -> Value {
    json!({ "type": "string", "contentMediaType": "application/json", "pattern": format!("^{}$", cursor_pattern(id_prefix)) })
}

/// What a printed cursor looks like, as a regular expression without anchors.
#[must_use]
pub fn cursor_pattern(id_prefix: &str) -> String {
    let day = "[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])";
    let time = r"([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z";
    format!(r#"\{{"createdAt":"{day}T{time}","id":"{id_prefix}{HYPHENATED_PATTERN}"\}}"#)
}

/// An id of `prefix`; where it `may_be_bare`, a UUID without it too.
#[must_use]
pub fn id(prefix: &str, may_be_bare: bool) -> Value {
    let prefix = if may_be_bare {
        format!("({prefix})?")
    } else {
        prefix.to_owned()
    };
    json!({ "type": "string", "pattern": format!("^{prefix}{HYPHENATED_PATTERN}$") })
}

/// A month.
#[must_use]
pub fn period() -> Value {
    json!({ "type": "string", "pattern": "^[0-9]{4}-(0[1-9]|1[0-2])$", "examples": ["2026-03"] })
}

/// A point in time, in UTC with `Z`.
#[must_use]
pub fn timestamp() -> Value {
    json!({ "type": "string", "format": "date-time" })
}

/// The answers to events that came in.
pub mod answers {
    use super::{Schema, SchemaGenerator, json_schema};
    use crate::id::EventId;
    use crate::time::TimestampMs;

    /// The event's id, and its time.
    pub fn created(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "required": ["id", "createdAt"],
            "properties": {
                "id": generator.subschema_for::<EventId>(),
                "createdAt": generator.subschema_for::<TimestampMs>(),
            },
        })
    }

    /// How many events were new, and their ids.
    pub fn inserted(generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "required": ["inserted", "ids"],
            "properties": {
                "inserted": { "type": "integer", "minimum": 0 },
                "ids": { "type": "array", "items": generator.subschema_for::<EventId>() },
            },
        })
    }

    /// That something was deleted.
    pub fn deleted(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "required": ["deleted"],
            "properties": { "deleted": { "const": true } },
        })
    }
}
