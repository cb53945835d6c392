//! Instants: UTC, milliseconds.

use chrono::{DateTime, SecondsFormat, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An instant in milliseconds since 1970-01-01T00:00:00Z. Prints as `2026-03-15T10:00:00.000Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimestampMs(pub i64);

impl TimestampMs {
    /// Returns the system clock's time.
    #[must_use]
    pub fn now() -> Self {
        Self(Utc::now().timestamp_millis())
    }

    /// Returns the calendar form; instants out of the calendar's range become the epoch.
    #[must_use]
    pub fn to_utc(self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.0).unwrap_or_default()
    }

    /// Parses RFC 3339 with a literal `Z`: no offsets, no bare dates, no impossible dates;
    /// seconds and fraction may be missing. Digits below a millisecond are cut off.
    #[must_use]
    pub fn parse_z(text: &str) -> Option<Self> {
        let body = text.strip_suffix('Z')?;
        let (date, time) = body.split_once('T')?;
        if date.len() != 10 || time.len() < 5 || !time.is_ascii() {
            return None;
        }
        let padded;
        let full = if time.len() == 5 {
            padded = format!("{date}T{time}:00Z");
            &padded
        } else {
            text
        };
        DateTime::parse_from_rfc3339(full)
            .ok()
            .map(|at| Self(at.timestamp_millis()))
    }
}

impl std::fmt::Display for TimestampMs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.to_utc().to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for TimestampMs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for TimestampMs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Self::parse_z(&text).ok_or_else(|| serde::de::Error::custom("must be a UTC timestamp ending in Z"))
    }
}

impl JsonSchema for TimestampMs {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    /// The form of [`TimestampMs::parse_z`]; a pattern cannot refuse February 30.
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "description": "RFC 3339 in UTC, ending in Z. Digits below a millisecond are cut off.",
            "type": "string",
            "pattern": concat!(
                "^[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])",
                "T([01][0-9]|2[0-3]):[0-5][0-9](:([0-5][0-9]|60)(\\.[0-9]+)?)?Z$"
            ),
            "examples": ["2026-03-15T10:00:00.000Z"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_utc_only() {
        let parsed = |text: &str| TimestampMs::parse_z(text).map(|at| at.to_string());
        assert_eq!(
            parsed("2026-03-15T10:00:00.000Z").as_deref(),
            Some("2026-03-15T10:00:00.000Z")
        );
        assert_eq!(
            parsed("2026-03-15T10:00Z").as_deref(),
            Some("2026-03-15T10:00:00.000Z")
        );
        assert_eq!(
            parsed("2026-03-15T10:00:00.123456Z").as_deref(),
            Some("2026-03-15T10:00:00.123Z")
        );
        for bad in [
            "2026-02-30T10:00:00Z",
            "2026-03-15",
            "2026-03-15T10:00:00+00:00",
            "2026-03-15T10:00:00z",
            "",
            "Z",
            "TZ",
        ] {
            assert_eq!(parsed(bad), None, "{bad}");
        }
    }
}
