//! Why something was not accepted: validation issues for people, stable reasons for dead letters.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

/// One step of the path to a faulty member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathItem {
    /// An object's key.
    Key(String),
    /// An array's index, from 0.
    Index(usize),
}

impl From<&str> for PathItem {
    fn from(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

impl From<usize> for PathItem {
    fn from(index: usize) -> Self {
        Self::Index(index)
    }
}

impl Serialize for PathItem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Key(key) => serializer.serialize_str(key),
            Self::Index(index) => serializer.serialize_u64(*index as u64),
        }
    }
}

impl JsonSchema for PathItem {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PathItem".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "integer"] })
    }
}

/// One fault of a request, as `details.issues` lists them. The path of the body itself is empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Issue {
    /// Where the fault is, from the body's root.
    pub path: Vec<PathItem>,
    /// What is wrong, for people; not part of the contract.
    pub message: String,
}

impl Issue {
    /// Makes an issue at `path`.
    #[must_use]
    pub fn new(path: Vec<PathItem>, message: impl Into<String>) -> Self {
        Self {
            path,
            message: message.into(),
        }
    }

    /// Makes an issue of a member at the root.
    #[must_use]
    pub fn at(member: &str, message: impl Into<String>) -> Self {
        Self::new(vec![member.into()], message)
    }

    /// Prefixes the path, for a body that is part of a larger one.
    #[must_use]
    pub fn under(mut self, prefix: &[PathItem]) -> Self {
        self.path.splice(0..0, prefix.iter().cloned());
        self
    }
}

/// Why a record of the log became a dead letter. The names are part of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectReason {
    /// The record's content type is none that its topic takes.
    UnknownContentType,
    /// The bytes are not what the content type says.
    Undecodable,
    /// The columns or members are not those of the schema.
    SchemaMismatch,
    /// A value breaks a rule of the schema.
    InvalidValue,
    /// The same identity with another content; the first one counts.
    IdempotencyConflict,
}

impl RejectReason {
    /// Every reason.
    pub const ALL: [Self; 5] = [
        Self::UnknownContentType,
        Self::Undecodable,
        Self::SchemaMismatch,
        Self::InvalidValue,
        Self::IdempotencyConflict,
    ];

    /// The stable name in tables, metrics and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownContentType => "unknown_content_type",
            Self::Undecodable => "undecodable",
            Self::SchemaMismatch => "schema_mismatch",
            Self::InvalidValue => "invalid_value",
            Self::IdempotencyConflict => "idempotency_conflict",
        }
    }
}
