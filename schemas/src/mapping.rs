//! Customer mappings: which tag value is which Stripe customer (`../spec/margins.md` §1, §7).

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::id::{HYPHENATED_PATTERN, OrgId};
use crate::time::TimestampMs;

/// How a mapping came to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MatchType {
    /// Found by the rules of auto-match.
    Auto,
    /// Stated by a person.
    Manual,
}

impl MatchType {
    /// The name on the wire and in storage.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Manual => "manual",
        }
    }
}

/// One mapping. Per tag key, Stripe customers and tag values are one-to-one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct CustomerMapping {
    /// Bare UUID on the wire.
    #[schemars(schema_with = "bare_uuid")]
    pub id: Uuid,
    /// The tenant.
    pub org_id: OrgId,
    /// Stripe's id, any non-empty text.
    pub stripe_customer_id: String,
    /// `customer`, unless said otherwise; only `customer` counts in margins.
    pub tag_key: String,
    /// Exact, case-sensitive.
    pub tag_value: String,
    /// How the mapping came to be.
    pub match_type: MatchType,
    /// Confidence in hundredths: 100 is certain, 90 a match by id; none where unknown.
    #[serde(with = "confidence")]
    #[schemars(schema_with = "confidence::schema", description = confidence::DESCRIPTION)]
    pub confidence: Option<u8>,
    /// When the mapping was first made; survives updates.
    pub created_at: TimestampMs,
}

/// Every form that [`Uuid`] parses; the hyphenated one is written.
fn bare_uuid(_: &mut SchemaGenerator) -> Schema {
    let forms = [
        HYPHENATED_PATTERN,
        "[0-9a-fA-F]{32}",
        &format!("\\{{{HYPHENATED_PATTERN}\\}}"),
        &format!("urn:uuid:{HYPHENATED_PATTERN}"),
    ];
    json_schema!({"type": "string", "pattern": format!("^({})$", forms.join("|"))})
}

/// Confidence as a JSON number that prints exactly: `0.9`, `1`.
mod confidence {
    use schemars::{Schema, SchemaGenerator, json_schema};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "the signature that serde's `with` asks for")]
    pub(super) fn serialize<S: Serializer>(
        hundredths: &Option<u8>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        hundredths
            .map(|value| crate::margin::Percent(value.into()))
            .serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u8>, D::Error> {
        let number = Option::<f64>::deserialize(deserializer)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to [0, 100] first"
        )]
        let hundredths = number.map(|value| (value * 100.0).round().clamp(0.0, 100.0) as u8);
        Ok(hundredths)
    }

    pub(super) const DESCRIPTION: &str = "Certain is 1, a match by id 0.9; null where unknown. What is not in [0, 1] \
        counts as the nearer end.";

    pub(super) fn schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["number", "null"],
            "examples": [0.9, 1],
        })
    }
}

/// The change of a mapping that the outbox publishes, so that analytics sees it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MappingChange {
    /// The state after the change, or the last one before a deletion.
    pub mapping: CustomerMapping,
    /// True where the mapping was removed.
    pub deleted: bool,
    /// Grows with every change of the store; the largest version wins.
    #[schemars(range(max = u64::MAX))]
    pub version: u64,
}
