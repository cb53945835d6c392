//! Organizations.

mod changes;
mod deletion;
mod personal;
mod slug;

use schemas::access::Role;
use schemas::id::{OrgId, UserId};
use schemas::time::TimestampMs;
use sqlx::any::AnyRow;

use crate::error::{Attempt, ControlError};
use crate::pools::WriteTransaction;
use crate::row::{self, stored_id};
use crate::store::ControlStore;

pub(crate) use changes::{insert_shared, validate_name};
pub(crate) use personal::ensure_personal;

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

/// An organization that a user is a member of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrgOfUser {
    /// The organization.
    pub org: Org,
    /// The user's role there.
    pub role: Role,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT o.id, o.name, o.slug, o.is_personal, o.created_at, o.updated_at",
            $rest
        )
    };
}

const FIND: &str = select!(" FROM orgs o WHERE o.id = $1");
const LIST: &str = select!(" FROM orgs o ORDER BY o.created_at, o.id");
const LIST_OF_USER: &str = select!(
    ", m.role FROM memberships m JOIN orgs o ON o.id = m.org_id
     WHERE m.user_id = $1 ORDER BY o.created_at, o.id"
);

impl ControlStore {
    /// Returns the organization, if it exists.
    ///
    /// # Errors
    /// [`ControlError::Database`] when it cannot be read.
    pub async fn org(&self, org: OrgId) -> Result<Option<Org>, ControlError> {
        sqlx::query(FIND)
            .bind(stored_id(org.0))
            .fetch_optional(self.reads())
            .attempt("read an organization")
            .await?
            .map(|row| decode(&row))
            .transpose()
    }

    /// Returns all organizations, personal ones too, oldest first.
    ///
    /// # Errors
    /// [`ControlError::Database`] when they cannot be read.
    pub async fn list_orgs(&self) -> Result<Vec<Org>, ControlError> {
        let rows = sqlx::query(LIST)
            .fetch_all(self.reads())
            .attempt("list the organizations")
            .await?;
        rows.iter().map(decode).collect()
    }

    /// Returns the organizations that the user is a member of, oldest first. One in which the
    /// stored role is not one of the four is not among them.
    ///
    /// # Errors
    /// [`ControlError::Database`] when they cannot be read.
    pub async fn list_orgs_of(&self, user: UserId) -> Result<Vec<OrgOfUser>, ControlError> {
        let rows = sqlx::query(LIST_OF_USER)
            .bind(stored_id(user.0))
            .fetch_all(self.reads())
            .attempt("list a user's organizations")
            .await?;
        let mut orgs = Vec::with_capacity(rows.len());
        for row in &rows {
            if let Some(role) = Role::parse(&row::text(row, "role")?) {
                let org = decode(row)?;
                orgs.push(OrgOfUser { org, role });
            }
        }
        Ok(orgs)
    }

    /// Returns the organization that the user joined first. A user who is in none gets the
    /// personal one, which is made if need be; none where there is no such user.
    ///
    /// # Errors
    /// [`ControlError::Database`] when it can be neither read nor made.
    pub async fn default_org(&self, user: UserId) -> Result<Option<OrgId>, ControlError> {
        let joined = sqlx::query(
            "SELECT org_id FROM memberships WHERE user_id = $1 ORDER BY created_at, org_id LIMIT 1",
        )
        .bind(stored_id(user.0))
        .fetch_optional(self.reads())
        .attempt("read a user's organizations")
        .await?;
        if let Some(row) = joined {
            return Ok(Some(OrgId(row::uuid(&row, "org_id")?)));
        }
        match self.personal_org(user).await {
            Ok(org) => Ok(Some(org)),
            Err(ControlError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Returns the organization, as this transaction sees it.
///
/// # Errors
/// [`ControlError::NotFound`] when it does not exist.
pub(crate) async fn find(tx: &mut WriteTransaction, org: OrgId) -> Result<Org, ControlError> {
    let row = sqlx::query(FIND)
        .bind(stored_id(org.0))
        .fetch_optional(&mut **tx)
        .attempt("read an organization")
        .await?
        .ok_or(ControlError::NotFound("organization"))?;
    decode(&row)
}

/// Returns the organization, unless it is a personal one, which nobody else joins and nothing
/// changes.
///
/// # Errors
/// [`ControlError::Forbidden`] when it is, [`ControlError::NotFound`] when it does not exist.
pub(crate) async fn find_shared(tx: &mut WriteTransaction, org: OrgId) -> Result<Org, ControlError> {
    let org = find(tx, org).await?;
    if org.is_personal {
        return Err(ControlError::Forbidden(
            "this cannot be done with a personal organization",
        ));
    }
    Ok(org)
}

async fn insert(
    tx: &mut WriteTransaction,
    org: &Org,
    personal_of: Option<UserId>,
) -> Result<(), ControlError> {
    sqlx::query(
        "INSERT INTO orgs (id, name, slug, is_personal, personal_of, created_at, updated_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(stored_id(org.id.0))
    .bind(org.name.clone())
    .bind(org.slug.clone())
    .bind(i64::from(org.is_personal))
    .bind(personal_of.map(|user| stored_id(user.0)))
    .bind(org.created_at.0)
    .bind(org.updated_at.0)
    .execute(&mut **tx)
    .attempt("insert an organization")
    .await
    .map_err(|error| error.or_conflict(slug::TAKEN).or_missing("user"))?;
    Ok(())
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
