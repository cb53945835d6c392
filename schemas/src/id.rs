//! Identifiers: UUIDs that carry a prefix on the wire (`../spec/conventions.md` §2).

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::Uuid;

/// A text that is not the identifier it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be {prefix}<uuid>")]
pub struct InvalidId {
    prefix: &'static str,
}

/// Parses the canonical 8-4-4-4-12 form only, in either case.
pub fn parse_hyphenated(text: &str) -> Option<Uuid> {
    if text.len() != 36 {
        return None;
    }
    Uuid::try_parse(text).ok()
}

/// What [`parse_hyphenated`] takes, as a regular expression without anchors.
pub(crate) const HYPHENATED_PATTERN: &str =
    "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}";

macro_rules! prefixed_id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl $name {
            /// The prefix on the wire.
            pub const PREFIX: &'static str = $prefix;

            /// Makes a new random (version 4) identifier.
            #[must_use]
            pub fn random() -> Self {
                Self(Uuid::new_v4())
            }

            /// Accepts the prefixed form or a bare UUID.
            ///
            /// # Errors
            /// [`InvalidId`] when the text is neither.
            pub fn parse_lenient(text: &str) -> Result<Self, InvalidId> {
                parse_hyphenated(text).map(Self).map_or_else(|| text.parse(), Ok)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "{}"), self.0.hyphenated())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                text.strip_prefix($prefix)
                    .and_then(parse_hyphenated)
                    .map(Self)
                    .ok_or(InvalidId { prefix: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({
                    "type": "string",
                    "pattern": format!("^{}{HYPHENATED_PATTERN}$", Self::PREFIX),
                })
            }
        }
    };
}

prefixed_id!(
    /// An organization: the tenant that every row belongs to.
    OrgId,
    "ns_org_"
);
prefixed_id!(
    /// A person who signs in.
    UserId,
    "ns_usr_"
);
prefixed_id!(
    /// An API key's public identifier; not its secret, which starts with `ns_live_sk_`.
    ApiKeyId,
    "ns_key_"
);
prefixed_id!(
    /// A cost event. See [`EventId::derive`].
    EventId,
    "ns_evt_"
);

/// Namespace of the name-based event ids. Part of the contract: changing it would let every
/// retry of an old event count again.
const EVENT_NAMESPACE: Uuid = Uuid::from_u128(0x6f1a_53c6_0b0e_5b7d_9a55_7d0f_4c1e_a201);

impl EventId {
    /// Derives the id from what makes an event unique, as a version 5 UUID, so that every retry
    /// carries the same id on every replica (architecture §3.1).
    #[must_use]
    pub fn derive(org: OrgId, request_id: &str, provider: &str) -> Self {
        let mut name = Vec::with_capacity(16 + 4 + request_id.len() + provider.len());
        name.extend_from_slice(org.0.as_bytes());
        // The length keeps ("ab", "c") apart from ("a", "bc").
        name.extend_from_slice(&u32::try_from(request_id.len()).unwrap_or(u32::MAX).to_be_bytes());
        name.extend_from_slice(request_id.as_bytes());
        name.extend_from_slice(provider.as_bytes());
        Self(Uuid::new_v5(&EVENT_NAMESPACE, &name))
    }

    /// Returns the partition, in `[0, num_partitions)`, that all copies of this event go to.
    #[must_use]
    pub fn partition(self, num_partitions: u32) -> u32 {
        let hash = u64::from_be_bytes(first_eight(self.0.as_bytes()));
        u32::try_from(hash % u64::from(num_partitions.max(1))).unwrap_or(0)
    }
}

const fn first_eight(bytes: &[u8; 16]) -> [u8; 8] {
    [
        bytes[0], bytes[1], bytes[2], bytes[3], bytes[4], bytes[5], bytes[6], bytes[7],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_its_own_output_and_nothing_else() {
        let id = ApiKeyId::random();
        assert_eq!(id.to_string().parse::<ApiKeyId>(), Ok(id));
        assert!(id.to_string().to_uppercase().parse::<ApiKeyId>().is_err());
        assert!(id.0.to_string().parse::<ApiKeyId>().is_err());
        assert!(format!("ns_evt_{}", id.0).parse::<ApiKeyId>().is_err());
        assert!(format!("ns_key_{}", id.0.simple()).parse::<ApiKeyId>().is_err());
        assert_eq!(EventId::parse_lenient(&id.0.to_string()), Ok(EventId(id.0)));
    }

    #[test]
    fn event_id_is_stable_and_separates_its_parts() {
        let org = OrgId(Uuid::from_u128(7));
        let id = EventId::derive(org, "job-1", "openai");
        assert_eq!(id, EventId::derive(org, "job-1", "openai"));
        assert_ne!(id, EventId::derive(org, "job-1o", "penai"));
        assert_ne!(id, EventId::derive(OrgId(Uuid::from_u128(8)), "job-1", "openai"));
        assert_eq!(id.to_string(), "ns_evt_4f81a45e-ed99-58cc-b430-0c8def7d5628");
    }
}
