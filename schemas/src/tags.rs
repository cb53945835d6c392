//! Tags of a cost event (`../spec/cost-events.md` §3).

/// Most tags that an event may carry.
pub const MAX_TAGS: usize = 10;
/// Longest tag value, in Unicode scalar values.
pub const MAX_VALUE_CHARS: usize = 256;
/// Prefix of the tags that only the system sets.
pub const SYSTEM_PREFIX: &str = "_ns_";
/// The tag that names the customer.
pub const CUSTOMER: &str = "customer";
/// The system tag of an event whose cost is an estimate, with the value `true`.
pub const ESTIMATED: &str = "_ns_estimated";

/// Tags in the order of their keys; keys are unique.
pub type Tags = std::collections::BTreeMap<String, String>;

/// Tells whether a key matches `^[a-zA-Z0-9_-]{1,64}$`.
#[must_use]
pub fn is_valid_key(key: &str) -> bool {
    (1..=64).contains(&key.len())
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// Tells whether a value has at most 256 characters and no U+0000.
#[must_use]
pub fn is_valid_value(value: &str) -> bool {
    (value.len() <= MAX_VALUE_CHARS || value.chars().count() <= MAX_VALUE_CHARS) && !value.contains('\0')
}
