//! Making organizations and changing them (keys-orgs-auth §4).

use schemas::access::Role;
use schemas::id::{OrgId, UserId};
use schemas::time::TimestampMs;

use super::{Org, find_shared, insert, slug};
use crate::error::{Attempt, ControlError};
use crate::members;
use crate::pools::{self, WriteTransaction};
use crate::row::stored_id;
use crate::store::ControlStore;

const MAX_NAME_CHARS: usize = 50;

impl ControlStore {
    /// Makes an organization with this user as its owner.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] for a bad name or slug, [`ControlError::Conflict`] when the slug
    /// is taken, [`ControlError::NotFound`] when there is no such user.
    pub async fn create_org(&self, user: UserId, name: &str, slug: &str) -> Result<Org, ControlError> {
        let now = TimestampMs::now();
        let org = Org {
            id: OrgId::random(),
            name: validate_name(name)?.to_owned(),
            slug: slug::validate(slug)?.to_owned(),
            is_personal: false,
            created_at: now,
            updated_at: now,
        };
        let mut tx = self.begin().await?;
        insert(&mut tx, &org, None).await?;
        members::insert(&mut tx, org.id, user, Role::Owner).await?;
        pools::commit(tx).await?;
        Ok(org)
    }

    /// Changes name, slug or both, and returns the organization as it is now.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] for a bad name or slug, and where neither is given;
    /// [`ControlError::Forbidden`] for a personal organization, [`ControlError::Conflict`] when
    /// the slug is taken, [`ControlError::NotFound`] when the organization does not exist.
    pub async fn update_org(
        &self,
        org: OrgId,
        name: Option<&str>,
        slug: Option<&str>,
    ) -> Result<Org, ControlError> {
        let name = name.map(validate_name).transpose()?;
        let slug = slug.map(slug::validate).transpose()?;
        if name.is_none() && slug.is_none() {
            return Err(ControlError::Invalid("a name or a slug must be given"));
        }
        let mut tx = self.begin().await?;
        let mut org = find_shared(&mut tx, org).await?;
        org.name = name.map_or(org.name, str::to_owned);
        org.slug = slug.map_or(org.slug, str::to_owned);
        org.updated_at = TimestampMs::now().max(org.updated_at);
        update(&mut tx, &org).await?;
        pools::commit(tx).await?;
        Ok(org)
    }
}

async fn update(tx: &mut WriteTransaction, org: &Org) -> Result<(), ControlError> {
    sqlx::query("UPDATE orgs SET name = $1, slug = $2, updated_at = $3 WHERE id = $4")
        .bind(org.name.clone())
        .bind(org.slug.clone())
        .bind(org.updated_at.0)
        .bind(stored_id(org.id.0))
        .execute(&mut **tx)
        .attempt("update an organization")
        .await
        .map_err(|error| error.or_conflict(slug::TAKEN))?;
    Ok(())
}

/// Inserts an organization that several users may join, with a slug made from its name.
pub(crate) async fn insert_shared(tx: &mut WriteTransaction, name: &str) -> Result<OrgId, ControlError> {
    let id = OrgId::random();
    let now = TimestampMs::now();
    let org = Org {
        id,
        name: name.to_owned(),
        slug: slug::free(tx, slug::of_name(name), id).await?,
        is_personal: false,
        created_at: now,
        updated_at: now,
    };
    insert(tx, &org, None).await?;
    Ok(id)
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
            "an organization's name must have 1 to 50 characters, none a control character",
        ));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_trimmed_and_bounded() {
        assert_eq!(validate_name("  Acme ").unwrap(), "Acme");
        assert!(validate_name("  ").is_err() && validate_name("a\nb").is_err());
        assert!(validate_name(&"é".repeat(50)).is_ok() && validate_name(&"é".repeat(51)).is_err());
    }
}
