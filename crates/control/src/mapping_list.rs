//! All mappings of an organization at once.
//!
//! The margins page reads ten thousand of them. As rows, most of its time would go into carrying
//! each value through the driver, so the database joins them into one text, in the same SQL on
//! both: mappings end in [`END_OF_MAPPING`], their values in [`END_OF_VALUE`]. No text of a mapping
//! has either, since none has a control character.

use schemas::id::{OrgId, parse_hyphenated};
use schemas::mapping::CustomerMapping;
use schemas::time::TimestampMs;
use sqlx::AnyPool;

use crate::error::{Attempt, ControlError};
use crate::mappings::parse_match_type;
use crate::row::{self, stored_id};

const END_OF_VALUE: char = '\u{1f}';
const END_OF_MAPPING: char = '\u{1e}';

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT string_agg(id || $2 || stripe_customer_id || $2 || tag_key || $2 || tag_value || $2
                 || match_type || $2 || COALESCE(CAST(confidence_hundredths AS TEXT), '') || $2
                 || CAST(created_at AS TEXT), $3 ORDER BY created_at, id) AS mappings
             FROM customer_mappings WHERE org_id = $1",
            $rest
        )
    };
}

const LIST: &str = select!("");
const LIST_BY_TAG_KEY: &str = select!(" AND tag_key = $4");

/// Returns the organization's mappings, oldest first: all, or those of one tag key.
pub(crate) async fn list(
    reads: &AnyPool,
    org: OrgId,
    tag_key: Option<&'static str>,
) -> Result<Vec<CustomerMapping>, ControlError> {
    let mut query = sqlx::query(tag_key.map_or(LIST, |_| LIST_BY_TAG_KEY))
        .bind(stored_id(org.0))
        .bind(END_OF_VALUE.to_string())
        .bind(END_OF_MAPPING.to_string());
    if let Some(tag_key) = tag_key {
        query = query.bind(tag_key);
    }
    let row = query
        .fetch_one(reads)
        .attempt("list the customer mappings")
        .await?;
    match row::optional_text(&row, "mappings")? {
        Some(joined) => joined
            .split(END_OF_MAPPING)
            .map(|values| decode(org, values).ok_or(ControlError::Corrupt { column: "mappings" }))
            .collect(),
        None => Ok(Vec::new()),
    }
}

fn decode(org: OrgId, values: &str) -> Option<CustomerMapping> {
    let mut values = values.split(END_OF_VALUE);
    let mapping = CustomerMapping {
        id: parse_hyphenated(values.next()?)?,
        org_id: org,
        stripe_customer_id: values.next()?.to_owned(),
        tag_key: values.next()?.to_owned(),
        tag_value: values.next()?.to_owned(),
        match_type: parse_match_type(values.next()?).ok()?,
        confidence: match values.next()? {
            "" => None,
            confidence => Some(confidence.parse().ok()?),
        },
        created_at: TimestampMs(values.next()?.parse().ok()?),
    };
    values.next().is_none().then_some(mapping)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_with_a_value_too_many_or_too_few_is_none() {
        let org = OrgId::random();
        let whole =
            "00000000-0000-4000-8000-000000000001\u{1f}cus_1\u{1f}customer\u{1f}acme\u{1f}auto\u{1f}\u{1f}5";
        let mapping = decode(org, whole).unwrap();
        assert_eq!((mapping.confidence, mapping.created_at), (None, TimestampMs(5)));
        for broken in [
            "",
            whole.rsplit_once(END_OF_VALUE).unwrap().0,
            &format!("{whole}\u{1f}"),
            &whole.replace("auto", "guess"),
            &whole.replace("\u{1f}5", "\u{1f}now"),
        ] {
            assert!(decode(org, broken).is_none(), "{broken:?}");
        }
    }
}
