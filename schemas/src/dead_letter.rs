//! Records of topic [`crate::topic::DEAD_LETTERS`]: the raw bytes as value, and in the headers where
//! they stood and what was wrong with them.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::id::OrgId;
use crate::reject::RejectReason;
use crate::topic;

/// Longest detail and content type, in bytes: a detail may quote what it refuses.
pub const MAX_TEXT_BYTES: usize = 1_000;

/// Header names; all are lower case, and all values are UTF-8 text.
mod header {
    pub(super) const TOPIC: &str = "source-topic";
    pub(super) const PARTITION: &str = "source-partition";
    pub(super) const OFFSET: &str = "source-offset";
    pub(super) const ROW_INDEX: &str = "source-row-index";
    pub(super) const REASON: &str = "reason";
    pub(super) const DETAIL: &str = "detail";
    pub(super) const ORG_ID: &str = "org-id";
    pub(super) const OMITTED: &str = "value-omitted";
}

/// The headers of a dead letter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterHeaders {
    /// Topic in which the record stood.
    pub topic: String,
    /// Its partition.
    pub partition: u32,
    /// Its offset.
    pub offset: u64,
    /// The event within the record, from 0; 0 where the whole record is meant.
    pub row_index: u32,
    /// A stable code, [`crate::reject::RejectReason::as_str`].
    pub reason: String,
    /// What is wrong, for people.
    pub detail: String,
    /// The organization, where it can be told.
    pub org_id: Option<OrgId>,
    /// Content type of the value; empty where the record had none.
    pub content_type: String,
    /// True where the value was too large for a record with these headers: the table has it, if it is not
    /// larger than the log lets any record be.
    pub value_omitted: bool,
}

impl DeadLetterHeaders {
    /// Returns the record's key: the same for every copy of this dead letter, since a replay may
    /// append it again.
    #[must_use]
    pub fn key(&self) -> String {
        format!(
            "{}:{}:{}:{}",
            self.topic, self.partition, self.offset, self.row_index
        )
    }

    /// Returns names and values.
    #[must_use]
    pub fn encode(&self) -> Vec<(String, String)> {
        let mut headers = vec![
            (header::TOPIC, self.topic.clone()),
            (header::PARTITION, self.partition.to_string()),
            (header::OFFSET, self.offset.to_string()),
            (header::ROW_INDEX, self.row_index.to_string()),
            (header::REASON, self.reason.clone()),
            (header::DETAIL, self.detail.clone()),
        ];
        if let Some(org_id) = self.org_id {
            headers.push((header::ORG_ID, org_id.to_string()));
        }
        if !self.content_type.is_empty() {
            headers.push((topic::CONTENT_TYPE, self.content_type.clone()));
        }
        if self.value_omitted {
            headers.push((header::OMITTED, "true".to_owned()));
        }
        headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect()
    }

    /// Reads what [`DeadLetterHeaders::encode`] wrote; none where a header is missing or is no such
    /// value. Other headers are passed over.
    #[must_use]
    pub fn decode<'h>(headers: impl IntoIterator<Item = (&'h str, &'h [u8])>) -> Option<Self> {
        let texts: Option<Vec<(&str, &str)>> = headers
            .into_iter()
            .map(|(name, value)| Some((name, std::str::from_utf8(value).ok()?)))
            .collect();
        let texts = texts?;
        let find = |wanted: &str| {
            texts
                .iter()
                .find(|(name, _)| *name == wanted)
                .map(|(_, value)| *value)
        };
        Some(Self {
            topic: find(header::TOPIC)?.to_owned(),
            partition: find(header::PARTITION)?.parse().ok()?,
            offset: find(header::OFFSET)?.parse().ok()?,
            row_index: find(header::ROW_INDEX)?.parse().ok()?,
            reason: find(header::REASON)?.to_owned(),
            detail: find(header::DETAIL)?.to_owned(),
            org_id: match find(header::ORG_ID) {
                Some(text) => Some(text.parse().ok()?),
                None => None,
            },
            content_type: find(topic::CONTENT_TYPE).unwrap_or_default().to_owned(),
            value_omitted: find(header::OMITTED) == Some("true"),
        })
    }
}

impl JsonSchema for DeadLetterHeaders {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DeadLetterHeaders".into()
    }

    /// Names and values of [`DeadLetterHeaders::encode`], as one object.
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let number = |description: &str| json_schema!({"description": description, "type": "string", "pattern": "^(0|[1-9][0-9]*)$"});
        let text = |description: &str| json_schema!({"description": description, "type": "string", "maxLength": MAX_TEXT_BYTES});
        let mut org_id = generator.subschema_for::<OrgId>();
        org_id.insert(
            "description".to_owned(),
            "The organization, where it can be told.".into(),
        );
        let reasons = RejectReason::ALL.map(RejectReason::as_str);
        json_schema!({
            "description": "The headers of a dead letter. All values are UTF-8 text.",
            "type": "object",
            "properties": {
                header::TOPIC: {"description": "Topic in which the record stood.", "enum": topic::PROCESSED},
                header::PARTITION: number("Its partition."),
                header::OFFSET: number("Its offset."),
                header::ROW_INDEX: number(
                    "The event within the record, from 0; 0 where the whole record is meant."
                ),
                header::REASON: {"description": "A stable code.", "enum": reasons},
                header::DETAIL: text("What is wrong, for people."),
                header::ORG_ID: org_id,
                topic::CONTENT_TYPE: text("Content type of the value, where the record had one."),
                header::OMITTED: {
                    "description": "Stands where the value was too large for a record with these headers.",
                    "const": "true",
                },
            },
            "required": [
                header::TOPIC, header::PARTITION, header::OFFSET, header::ROW_INDEX, header::REASON,
                header::DETAIL,
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    proptest! {
        #[test]
        fn headers_round_trip(
            (topic, reason, detail, content_type) in ("[a-z-]{1,20}", "[a-z_]{1,20}", "\\PC{0,40}", "[a-z/.]{0,20}"),
            (partition, offset, row_index) in any::<(u32, u64, u32)>(),
            org_id in prop::option::of(any::<u128>()),
            value_omitted in any::<bool>(),
        ) {
            let org_id = org_id.map(|id| OrgId(Uuid::from_u128(id)));
            let headers = DeadLetterHeaders { topic, partition, offset, row_index, reason, detail, org_id, content_type, value_omitted };
            let encoded = headers.encode();
            let decoded = DeadLetterHeaders::decode(
                encoded.iter().map(|(name, value)| (name.as_str(), value.as_bytes())),
            );
            prop_assert_eq!(decoded, Some(headers));
        }
    }

    #[test]
    fn headers_of_others_are_not_taken_for_ours() {
        assert_eq!(DeadLetterHeaders::decode([]), None);
        assert_eq!(DeadLetterHeaders::decode([("source-topic", &b"\xff"[..])]), None);
    }
}
