//! Customer mappings (margins §1, §7). Every change goes through the outbox.

mod removal;

use schemas::id::OrgId;
use schemas::mapping::{CustomerMapping, MappingChange, MatchType};
use schemas::tags;
use schemas::time::TimestampMs;
use sqlx::any::AnyRow;
use uuid::Uuid;

use crate::error::{Attempt, ControlError};
use crate::mapping_list;
use crate::outbox::{self, DIMENSIONS, OutboxEntry};
use crate::pools::WriteTransaction;
use crate::row::{self, stored_id};
use crate::store::ControlStore;

pub(crate) use removal::delete_all;

/// Longest text of a mapping, in characters (margins §7).
const MAX_TEXT_CHARS: usize = 255;
/// A mapping stated by a person is certain.
const MANUAL_CONFIDENCE: u8 = 100;
/// Columns by name: a newer program may add one while this one runs.
macro_rules! columns {
    () => {
        "id, org_id, stripe_customer_id, tag_key, tag_value, match_type, confidence_hundredths, created_at"
    };
}
use columns;

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT ", columns!(), " FROM customer_mappings ", $rest)
    };
}

const FIND_BY_TAG: &str = select!("WHERE org_id = $1 AND tag_key = $2 AND tag_value = $3");
const FIND_BY_CUSTOMER: &str = select!("WHERE org_id = $1 AND stripe_customer_id = $2 AND tag_key = $3");
const INSERT: &str = concat!(
    "INSERT INTO customer_mappings (",
    columns!(),
    ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
);
const TAKEN: &str = "the tag value is already mapped to another Stripe customer";

impl ControlStore {
    /// Returns all mappings of the organization, all tag keys, oldest first.
    ///
    /// # Errors
    /// [`ControlError::Database`] when they cannot be read.
    pub async fn list_mappings(&self, org: OrgId) -> Result<Vec<CustomerMapping>, ControlError> {
        mapping_list::list(self.reads(), org, None).await
    }

    /// Returns the mappings that count in margins, those of the tag `customer`, oldest first.
    ///
    /// # Errors
    /// [`ControlError::Database`] when they cannot be read.
    pub async fn list_customer_mappings(&self, org: OrgId) -> Result<Vec<CustomerMapping>, ControlError> {
        mapping_list::list(self.reads(), org, Some(tags::CUSTOMER)).await
    }

    /// Returns the mapping of the tag `customer` with this value, case-sensitive.
    ///
    /// # Errors
    /// [`ControlError::Database`] when it cannot be read.
    pub async fn find_customer_mapping(
        &self,
        org: OrgId,
        tag_value: &str,
    ) -> Result<Option<CustomerMapping>, ControlError> {
        if !row::is_storable(tag_value) {
            return Ok(None);
        }
        sqlx::query(FIND_BY_TAG)
            .bind(stored_id(org.0))
            .bind(tags::CUSTOMER)
            .bind(tag_value.to_owned())
            .fetch_optional(self.reads())
            .attempt("look a customer mapping up")
            .await?
            .map(|row| decode(&row))
            .transpose()
    }

    /// Maps a Stripe customer to a tag value. A mapping of this customer and tag key gets the new
    /// value, type and confidence, and keeps its id and time of creation. Confidence is certain
    /// for [`MatchType::Manual`] and unknown for [`MatchType::Auto`].
    ///
    /// # Errors
    /// [`ControlError::Conflict`] when the value is mapped to another customer,
    /// [`ControlError::Invalid`] when a text is empty, longer than 255 characters or has control
    /// characters, [`ControlError::NotFound`] when the organization does not exist.
    pub async fn upsert_mapping(
        &self,
        org: OrgId,
        stripe_customer_id: &str,
        tag_key: &str,
        tag_value: &str,
        match_type: MatchType,
    ) -> Result<CustomerMapping, ControlError> {
        [stripe_customer_id, tag_key, tag_value]
            .into_iter()
            .try_for_each(validate_text)?;
        let mut tx = self.begin().await?;
        // Comes first: on any database it keeps a second writer from deciding the same meanwhile.
        let version = outbox::next_sequence(&mut tx).await?;
        let known = find(&mut tx, org, stripe_customer_id, tag_key).await?;
        let now = TimestampMs::now();
        let is_new = known.is_none();
        let (id, created_at) = known.map_or_else(|| (Uuid::new_v4(), now), |old| (old.id, old.created_at));
        let mapping = CustomerMapping {
            id,
            org_id: org,
            stripe_customer_id: stripe_customer_id.to_owned(),
            tag_key: tag_key.to_owned(),
            tag_value: tag_value.to_owned(),
            match_type,
            confidence: matches!(match_type, MatchType::Manual).then_some(MANUAL_CONFIDENCE),
            created_at,
        };
        if is_new {
            insert(&mut tx, &mapping).await?;
        } else {
            update(&mut tx, &mapping).await?;
        }
        announce(
            &mut tx,
            MappingChange {
                mapping: mapping.clone(),
                deleted: false,
                version,
            },
            now,
        )
        .await?;
        self.commit_with_outbox(tx).await?;
        Ok(mapping)
    }
}

async fn find(
    tx: &mut WriteTransaction,
    org: OrgId,
    stripe_customer_id: &str,
    tag_key: &str,
) -> Result<Option<CustomerMapping>, ControlError> {
    sqlx::query(FIND_BY_CUSTOMER)
        .bind(stored_id(org.0))
        .bind(stripe_customer_id.to_owned())
        .bind(tag_key.to_owned())
        .fetch_optional(&mut **tx)
        .attempt("look a customer mapping up")
        .await?
        .map(|row| decode(&row))
        .transpose()
}

async fn insert(tx: &mut WriteTransaction, mapping: &CustomerMapping) -> Result<(), ControlError> {
    sqlx::query(INSERT)
        .bind(stored_id(mapping.id))
        .bind(stored_id(mapping.org_id.0))
        .bind(mapping.stripe_customer_id.clone())
        .bind(mapping.tag_key.clone())
        .bind(mapping.tag_value.clone())
        .bind(mapping.match_type.as_str())
        .bind(mapping.confidence.map(i64::from))
        .bind(mapping.created_at.0)
        .execute(&mut **tx)
        .attempt("insert a customer mapping")
        .await
        .map_err(|error| error.or_conflict(TAKEN).or_missing("organization"))?;
    Ok(())
}

async fn update(tx: &mut WriteTransaction, mapping: &CustomerMapping) -> Result<(), ControlError> {
    sqlx::query(
        "UPDATE customer_mappings SET tag_value = $1, match_type = $2, confidence_hundredths = $3
         WHERE id = $4",
    )
    .bind(mapping.tag_value.clone())
    .bind(mapping.match_type.as_str())
    .bind(mapping.confidence.map(i64::from))
    .bind(stored_id(mapping.id))
    .execute(&mut **tx)
    .attempt("update a customer mapping")
    .await
    .map_err(|error| error.or_conflict(TAKEN))?;
    Ok(())
}

/// Writes the change to the outbox.
async fn announce(
    tx: &mut WriteTransaction,
    change: MappingChange,
    now: TimestampMs,
) -> Result<(), ControlError> {
    outbox::append(tx, entry(&change)?, now).await
}

/// The change as the outbox holds it, keyed by the mapping's id.
fn entry(change: &MappingChange) -> Result<OutboxEntry, ControlError> {
    Ok(OutboxEntry {
        sequence: change.version,
        topic: DIMENSIONS.to_owned(),
        key: stored_id(change.mapping.id),
        payload: row::json(change, "payload")?,
    })
}

fn decode(row: &AnyRow) -> Result<CustomerMapping, ControlError> {
    let confidence = row::optional_integer(row, "confidence_hundredths")?
        .map(u8::try_from)
        .transpose()
        .map_err(|_| ControlError::Corrupt {
            column: "confidence_hundredths",
        })?;
    Ok(CustomerMapping {
        id: row::uuid(row, "id")?,
        org_id: OrgId(row::uuid(row, "org_id")?),
        stripe_customer_id: row::text(row, "stripe_customer_id")?,
        tag_key: row::text(row, "tag_key")?,
        tag_value: row::text(row, "tag_value")?,
        match_type: parse_match_type(&row::text(row, "match_type")?)?,
        confidence,
        created_at: row::timestamp(row, "created_at")?,
    })
}

pub(crate) fn parse_match_type(text: &str) -> Result<MatchType, ControlError> {
    [MatchType::Auto, MatchType::Manual]
        .into_iter()
        .find(|match_type| match_type.as_str() == text)
        .ok_or(ControlError::Corrupt { column: "match_type" })
}

fn validate_text(text: &str) -> Result<(), ControlError> {
    let fits = (1..=MAX_TEXT_CHARS).contains(&text.chars().count());
    if !fits || text.chars().any(|c| c.is_ascii_control()) {
        return Err(ControlError::Invalid(
            "a mapping's texts must have 1 to 255 characters, none a control character",
        ));
    }
    Ok(())
}
