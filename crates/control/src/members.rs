//! Members of organizations and their roles (keys-orgs-auth §5).

mod changes;
mod transfer;

use schemas::access::Role;
use schemas::id::{OrgId, UserId};
use schemas::time::TimestampMs;
use sqlx::any::AnyRow;

use crate::error::{Attempt, ControlError};
use crate::pools::WriteTransaction;
use crate::row::{self, stored_id};
use crate::store::ControlStore;

/// A user in an organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The user.
    pub user_id: UserId,
    /// The user's address, in lower case.
    pub email: Option<String>,
    /// What the user may do.
    pub role: Role,
    /// When the user joined.
    pub created_at: TimestampMs,
}

pub(crate) const ALREADY_A_MEMBER: &str = "the user is a member of this organization already";

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT m.user_id, u.email, m.role, m.created_at
             FROM memberships m LEFT JOIN users u ON u.id = m.user_id WHERE m.org_id = $1",
            $rest
        )
    };
}

const LIST: &str = select!(" ORDER BY m.created_at, m.user_id");
const FIND: &str = select!(" AND m.user_id = $2");
const FIND_ROLE: &str = "SELECT role FROM memberships WHERE org_id = $1 AND user_id = $2";

impl ControlStore {
    /// Returns the organization's members in the order in which they joined. One whose stored role
    /// is not one of the four counts as no member, here and elsewhere.
    ///
    /// # Errors
    /// [`ControlError::Database`] when they cannot be read.
    pub async fn list_members(&self, org: OrgId) -> Result<Vec<Member>, ControlError> {
        let rows = sqlx::query(LIST)
            .bind(stored_id(org.0))
            .fetch_all(self.reads())
            .attempt("list the members")
            .await?;
        rows.iter().filter_map(|row| decode(row).transpose()).collect()
    }

    /// Returns the user's role in the organization; none where the user is not a member, or the
    /// organization does not exist.
    ///
    /// # Errors
    /// [`ControlError::Database`] when it cannot be read.
    pub async fn membership(&self, org: OrgId, user: UserId) -> Result<Option<Role>, ControlError> {
        let row = sqlx::query(FIND_ROLE)
            .bind(stored_id(org.0))
            .bind(stored_id(user.0))
            .fetch_optional(self.reads())
            .attempt("read a membership")
            .await?;
        match row {
            Some(row) => Ok(Role::parse(&row::text(&row, "role")?)),
            None => Ok(None),
        }
    }
}

/// None where the stored role is not one of the four.
fn decode(row: &AnyRow) -> Result<Option<Member>, ControlError> {
    let Some(role) = Role::parse(&row::text(row, "role")?) else {
        return Ok(None);
    };
    Ok(Some(Member {
        user_id: UserId(row::uuid(row, "user_id")?),
        email: row::optional_text(row, "email")?,
        role,
        created_at: row::timestamp(row, "created_at")?,
    }))
}

/// Returns the member, as this transaction sees it.
///
/// # Errors
/// [`ControlError::NotFound`] when the user is not a member.
async fn find(tx: &mut WriteTransaction, org: OrgId, user: UserId) -> Result<Member, ControlError> {
    let row = sqlx::query(FIND)
        .bind(stored_id(org.0))
        .bind(stored_id(user.0))
        .fetch_optional(&mut **tx)
        .attempt("read a member")
        .await?;
    let member = row.as_ref().map(decode).transpose()?.flatten();
    member.ok_or(ControlError::NotFound("member"))
}

/// Returns the user's role, which this transaction relies on.
///
/// # Errors
/// [`ControlError::Forbidden`] when the user is not a member, or the role is below `min`.
pub(crate) async fn require_role(
    tx: &mut WriteTransaction,
    org: OrgId,
    user: UserId,
    min: Role,
) -> Result<Role, ControlError> {
    let role = match find(tx, org, user).await {
        Ok(member) => member.role,
        Err(ControlError::NotFound(_)) => {
            return Err(ControlError::Forbidden(
                "you are not a member of this organization",
            ));
        }
        Err(error) => return Err(error),
    };
    if role >= min {
        return Ok(role);
    }
    Err(ControlError::Forbidden(match min {
        Role::Viewer | Role::Member => "this action requires the member role or higher",
        Role::Admin => "this action requires the admin role or higher",
        Role::Owner => "this action requires the owner role",
    }))
}

/// Tells whether there is a membership, whatever its role.
pub(crate) async fn is_listed(
    tx: &mut WriteTransaction,
    org: OrgId,
    user: UserId,
) -> Result<bool, ControlError> {
    let row = sqlx::query(FIND_ROLE)
        .bind(stored_id(org.0))
        .bind(stored_id(user.0))
        .fetch_optional(&mut **tx)
        .attempt("read a membership")
        .await?;
    Ok(row.is_some())
}

/// Inserts a membership that begins now.
///
/// # Errors
/// [`ControlError::Conflict`] when there is one already, [`ControlError::NotFound`] when there is
/// no such user or organization.
pub(crate) async fn insert(
    tx: &mut WriteTransaction,
    org: OrgId,
    user: UserId,
    role: Role,
) -> Result<(), ControlError> {
    sqlx::query("INSERT INTO memberships (org_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)")
        .bind(stored_id(org.0))
        .bind(stored_id(user.0))
        .bind(role.as_str())
        .bind(TimestampMs::now().0)
        .execute(&mut **tx)
        .attempt("insert a membership")
        .await
        .map_err(|error| {
            error
                .or_conflict(ALREADY_A_MEMBER)
                .or_missing("user or organization")
        })?;
    Ok(())
}

async fn set_role(
    tx: &mut WriteTransaction,
    org: OrgId,
    user: UserId,
    role: Role,
) -> Result<(), ControlError> {
    sqlx::query("UPDATE memberships SET role = $1 WHERE org_id = $2 AND user_id = $3")
        .bind(role.as_str())
        .bind(stored_id(org.0))
        .bind(stored_id(user.0))
        .execute(&mut **tx)
        .attempt("change a role")
        .await?;
    Ok(())
}
