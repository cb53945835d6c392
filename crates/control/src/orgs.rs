//! Organizations, their plans and settings.

use schemas::access::Tier;
use schemas::id::{OrgId, UserId};
use schemas::time::TimestampMs;
use sqlx::any::AnyRow;

use crate::error::{Attempt, ControlError};
use crate::pools::{self, WriteTransaction};
use crate::row::{self, stored_id};
use crate::store::ControlStore;

const MAX_NAME_CHARS: usize = 50;
/// Bounds of a slug's length, in characters (keys-orgs-auth §4).
const MIN_SLUG_CHARS: usize = 3;
const MAX_SLUG_CHARS: usize = 50;
/// Hex digits, and a hyphen before them, that tell equal slugs apart.
const SLUG_SUFFIX_CHARS: usize = 9;

/// An organization, the tenant that every row belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Org {
    /// Its identifier.
    pub id: OrgId,
    /// 1 to 50 characters.
    pub name: String,
    /// 3 to 50 characters of `[a-z0-9-]`, unique among all organizations.
    pub slug: String,
    /// True for the one that belongs to a single user.
    pub is_personal: bool,
    /// When it was made.
    pub created_at: TimestampMs,
    /// When its name or slug last changed.
    pub updated_at: TimestampMs,
}

impl ControlStore {
    /// Returns the organization, if it exists.
    ///
    /// # Errors
    /// [`ControlError::Database`] when it cannot be read.
    pub async fn org(&self, org: OrgId) -> Result<Option<Org>, ControlError> {
        sqlx::query("SELECT id, name, slug, is_personal, created_at, updated_at FROM orgs WHERE id = $1")
            .bind(stored_id(org.0))
            .fetch_optional(self.reads())
            .attempt("read an organization")
            .await?
            .map(|row| decode(&row))
            .transpose()
    }

    /// Returns all organizations, oldest first.
    ///
    /// # Errors
    /// [`ControlError::Database`] when they cannot be read.
    pub async fn list_orgs(&self) -> Result<Vec<Org>, ControlError> {
        let rows = sqlx::query(
            "SELECT id, name, slug, is_personal, created_at, updated_at FROM orgs ORDER BY created_at, id",
        )
        .fetch_all(self.reads())
        .attempt("list the organizations")
        .await?;
        rows.iter().map(decode).collect()
    }

    /// Returns the organization's effective tier: free without an active or past-due subscription.
    ///
    /// # Errors
    /// [`ControlError::Database`] when it cannot be read.
    pub async fn org_tier(&self, org: OrgId) -> Result<Tier, ControlError> {
        let row = sqlx::query("SELECT tier, status FROM subscriptions WHERE org_id = $1")
            .bind(stored_id(org.0))
            .fetch_optional(self.reads())
            .attempt("read a subscription")
            .await?;
        row.map_or(Ok(Tier::Free), |row| effective_tier(&row))
    }

    /// Returns the value of an organization's setting, if it was ever set.
    ///
    /// # Errors
    /// [`ControlError::Database`] when it cannot be read.
    pub async fn setting(&self, org: OrgId, name: &str) -> Result<Option<String>, ControlError> {
        if !row::is_storable(name) {
            return Ok(None);
        }
        sqlx::query("SELECT value FROM org_settings WHERE org_id = $1 AND name = $2")
            .bind(stored_id(org.0))
            .bind(name.to_owned())
            .fetch_optional(self.reads())
            .attempt("read a setting")
            .await?
            .map(|row| row::text(&row, "value"))
            .transpose()
    }

    /// Sets an organization's setting, replacing an earlier value.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] when the organization does not exist, [`ControlError::Invalid`]
    /// when name or value has the character NUL.
    pub async fn set_setting(&self, org: OrgId, name: &str, value: &str) -> Result<(), ControlError> {
        if !row::is_storable(name) || !row::is_storable(value) {
            return Err(ControlError::Invalid(
                "a setting must not contain the character NUL",
            ));
        }
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO org_settings (org_id, name, value) VALUES ($1, $2, $3)
             ON CONFLICT (org_id, name) DO UPDATE SET value = excluded.value",
        )
        .bind(stored_id(org.0))
        .bind(name.to_owned())
        .bind(value.to_owned())
        .execute(&mut *tx)
        .attempt("write a setting")
        .await
        .map_err(|error| error.or_missing("organization"))?;
        pools::commit(tx).await
    }

    /// Returns the organization that the user joined first, if the user is in any.
    ///
    /// # Errors
    /// [`ControlError::Database`] when it cannot be read.
    pub async fn default_org(&self, user: UserId) -> Result<Option<OrgId>, ControlError> {
        sqlx::query("SELECT org_id FROM memberships WHERE user_id = $1 ORDER BY created_at, org_id LIMIT 1")
            .bind(stored_id(user.0))
            .fetch_optional(self.reads())
            .attempt("read a user's organizations")
            .await?
            .map(|row| row::uuid(&row, "org_id").map(OrgId))
            .transpose()
    }
}

/// Reads `tier` and `status` of a subscription that may be absent from a left join.
pub(crate) fn effective_tier(row: &AnyRow) -> Result<Tier, ControlError> {
    let tier = row::optional_text(row, "tier")?;
    let status = row::optional_text(row, "status")?;
    Ok(Tier::effective(tier.as_deref().zip(status.as_deref())))
}

fn decode(row: &AnyRow) -> Result<Org, ControlError> {
    Ok(Org {
        id: OrgId(row::uuid(row, "id")?),
        name: row::text(row, "name")?,
        slug: row::text(row, "slug")?,
        is_personal: row::integer(row, "is_personal")? != 0,
        created_at: row::timestamp(row, "created_at")?,
        updated_at: row::timestamp(row, "updated_at")?,
    })
}

/// Inserts an organization that several users may join, with a slug made from its name.
pub(crate) async fn insert(
    tx: &mut WriteTransaction,
    name: &str,
    now: TimestampMs,
) -> Result<OrgId, ControlError> {
    let org = OrgId::random();
    let slug = free_slug(tx, slug_of(name), org).await?;
    sqlx::query(
        "INSERT INTO orgs (id, name, slug, is_personal, created_at, updated_at) VALUES ($1, $2, $3, 0, $4, $4)",
    )
    .bind(stored_id(org.0))
    .bind(name.to_owned())
    .bind(slug)
    .bind(now.0)
    .execute(&mut **tx)
    .attempt("insert an organization")
    .await
    .map_err(|error| error.or_conflict("the organization's slug is taken"))?;
    Ok(org)
}

/// Returns the slug, or where it is taken, the slug with digits of the random id.
async fn free_slug(tx: &mut WriteTransaction, slug: String, org: OrgId) -> Result<String, ControlError> {
    let taken = sqlx::query("SELECT id FROM orgs WHERE slug = $1")
        .bind(slug.clone())
        .fetch_optional(&mut **tx)
        .attempt("look a slug up")
        .await?;
    if taken.is_none() {
        return Ok(slug);
    }
    let digits = org.0.simple().to_string();
    Ok(format!(
        "{slug}-{}",
        digits.get(..SLUG_SUFFIX_CHARS - 1).unwrap_or(&digits)
    ))
}

/// Returns the trimmed name.
///
/// # Errors
/// [`ControlError::Invalid`] unless it has 1 to 50 characters, none of them a control character.
pub(crate) fn validate_name(name: &str) -> Result<&str, ControlError> {
    let name = name.trim();
    let fits = (1..=MAX_NAME_CHARS).contains(&name.chars().count());
    if !fits || name.chars().any(char::is_control) {
        return Err(ControlError::Invalid(
            "an organization's name must have 1 to 50 characters",
        ));
    }
    Ok(name)
}

/// Runs of `[a-z0-9]` joined by single hyphens, short enough to take a suffix.
fn slug_of(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    let words = lower
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    let mut slug = words.collect::<Vec<_>>().join("-");
    slug.truncate(MAX_SLUG_CHARS - SLUG_SUFFIX_CHARS);
    let slug = slug.trim_end_matches('-');
    if slug.is_empty() {
        "org".to_owned()
    } else if slug.len() < MIN_SLUG_CHARS {
        format!("org-{slug}")
    } else {
        slug.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_follow_their_rule_for_any_name() {
        assert_eq!(slug_of("Globex Corporation, Inc."), "globex-corporation-inc");
        assert_eq!(slug_of("--A  b__c--"), "a-b-c");
        assert_eq!(slug_of("日本"), "org");
        assert_eq!(slug_of("X"), "org-x");
        let long = slug_of(&"word ".repeat(20));
        assert!(long.len() <= 41 && !long.ends_with('-'));
    }

    #[test]
    fn names_are_trimmed_and_bounded() {
        assert_eq!(validate_name("  Acme ").unwrap(), "Acme");
        assert!(validate_name("  ").is_err() && validate_name("a\nb").is_err());
        assert!(validate_name(&"é".repeat(50)).is_ok() && validate_name(&"é".repeat(51)).is_err());
    }
}
