//! JSON Schemas of what account endpoints take.

use schemars::{Schema, SchemaGenerator, json_schema};
pub(super) use schemas::api::shapes::{cursor, cursor_pattern, id};
use schemas::id::UserId;
use serde_json::{Value, json};

/// Text that is 1 to 50 characters long once it is trimmed.
pub(super) fn name() -> Value {
    json!({
        "type": "string",
        "description": "1 to 50 characters, once trimmed; no control characters.",
        "pattern": r"^[^\u0000-\u001f\u007f-\u009f]*[^\s\u0000-\u001f\u007f-\u009f][^\u0000-\u001f\u007f-\u009f]*$",
        "minLength": 1,
        "maxLength": 50,
    })
}

pub(super) fn slug() -> Value {
    json!({
        "type": "string",
        "description": "Runs of a-z and 0-9, joined by single hyphens. Unique among all organizations.",
        "pattern": "^[a-z0-9]+(-[a-z0-9]+)*$",
        "minLength": 3,
        "maxLength": 50,
    })
}

pub(super) fn assignable_role() -> Value {
    json!({ "enum": ["admin", "member", "viewer"] })
}

pub(super) fn limit(default: u32) -> Value {
    json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": default })
}

fn api_key_members() -> Value {
    json!({
        "name": name(),
        "defaultTags": {
            "type": "object",
            "maxProperties": 10,
            "propertyNames": { "pattern": "^(?!_ns_)[a-zA-Z0-9_-]{1,64}$" },
            "additionalProperties": { "type": "string", "maxLength": 256, "pattern": r"^[^\u0000]*$" },
        },
        "allowedModels": {
            "description": "Null for all, empty for none.",
            "type": ["array", "null"],
            "maxItems": 50,
            "items": { "type": "string", "minLength": 1, "maxLength": 100, "pattern": r"^[^\u0000]*$" },
        },
        "allowedProviders": {
            "description": "Null for all, empty for none.",
            "type": ["array", "null"],
            "maxItems": 50,
            "items": { "enum": ["openai", "anthropic"] },
        },
    })
}

pub(super) fn new_api_key(_: &mut SchemaGenerator) -> Schema {
    json_schema!({ "type": "object", "required": ["name"], "properties": api_key_members() })
}

pub(super) fn api_key_patch(_: &mut SchemaGenerator) -> Schema {
    let one_of = ["name", "defaultTags", "allowedModels", "allowedProviders"]
        .map(|name| json!({ "required": [name] }));
    json_schema!({ "type": "object", "anyOf": one_of, "properties": api_key_members() })
}

pub(super) fn new_org(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["name", "slug"],
        "properties": { "name": name(), "slug": slug() },
    })
}

pub(super) fn org_patch(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "anyOf": [{ "required": ["name"] }, { "required": ["slug"] }],
        "properties": { "name": name(), "slug": slug() },
    })
}

pub(super) fn role_change(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["role"],
        "properties": { "role": assignable_role() },
    })
}

pub(super) fn transfer(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["newOwnerUserId"],
        "properties": { "newOwnerUserId": id(UserId::PREFIX, true) },
    })
}

pub(super) fn new_invitation(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["email", "role"],
        "properties": {
            "email": { "type": "string", "format": "email", "maxLength": 254 },
            "role": assignable_role(),
        },
    })
}

pub(super) fn acceptance(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["token"],
        "properties": { "token": { "type": "string", "minLength": 1 } },
    })
}
