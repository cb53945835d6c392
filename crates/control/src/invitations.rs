//! Invitations of people to organizations (keys-orgs-auth §6).

mod acceptance;
mod issue;

use schemas::access::Role;
use schemas::id::{OrgId, UserId};
use schemas::time::TimestampMs;
use sqlx::any::AnyRow;
use uuid::Uuid;

use crate::error::{Attempt, ControlError};
use crate::pools::{self, WriteTransaction};
use crate::row::{self, stored_id};
use crate::store::ControlStore;

/// What has become of an invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InvitationStatus {
    /// It can be accepted until its time is over.
    Pending,
    /// The invited person has joined.
    Accepted,
    /// The invited person has refused.
    Declined,
    /// An admin has taken it back.
    Revoked,
    /// Its time was over before it was accepted.
    Expired,
}

impl InvitationStatus {
    /// The name on the wire and in storage.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Accepted => "accepted",
            Self::Declined => "declined",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }

    fn parse(text: &str) -> Option<Self> {
        [
            Self::Pending,
            Self::Accepted,
            Self::Declined,
            Self::Revoked,
            Self::Expired,
        ]
        .into_iter()
        .find(|status| status.as_str() == text)
    }
}

/// An invitation. Its token is stored nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    /// Bare UUID on the wire.
    pub id: Uuid,
    /// The invited address, in lower case.
    pub email: String,
    /// The role that it gives; never the owner's.
    pub role: Role,
    /// What has become of it.
    pub status: InvitationStatus,
    /// The admin who invited.
    pub invited_by: UserId,
    /// The first 15 characters of its token, by which people know it again.
    pub token_prefix: String,
    /// The last instant at which it can be accepted.
    pub expires_at: TimestampMs,
    /// When it was made.
    pub created_at: TimestampMs,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, org_id, email, role, status, invited_by, token_prefix, expires_at, created_at
             FROM invitations WHERE ",
            $rest
        )
    };
}

const LIST_LIVE: &str =
    select!("org_id = $1 AND status = 'pending' AND expires_at >= $2 ORDER BY created_at DESC, id DESC");
const FIND: &str = select!("org_id = $1 AND id = $2");
const FIND_BY_TOKEN: &str = select!("token_hash = $1");

impl ControlStore {
    /// Returns the organization's invitations that can be accepted, newest first.
    ///
    /// # Errors
    /// [`ControlError::Database`] when they cannot be read.
    pub async fn list_invitations(&self, org: OrgId) -> Result<Vec<Invitation>, ControlError> {
        let rows = sqlx::query(LIST_LIVE)
            .bind(stored_id(org.0))
            .bind(TimestampMs::now().0)
            .fetch_all(self.reads())
            .attempt("list the invitations")
            .await?;
        rows.iter().map(decode).collect()
    }

    /// Takes an invitation back.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] when the organization has no such invitation,
    /// [`ControlError::Conflict`] when it is not pending any more.
    pub async fn revoke_invitation(&self, org: OrgId, invitation: Uuid) -> Result<(), ControlError> {
        let mut tx = self.begin().await?;
        let found = sqlx::query(FIND)
            .bind(stored_id(org.0))
            .bind(stored_id(invitation))
            .fetch_optional(&mut *tx)
            .attempt("look an invitation up")
            .await?
            .ok_or(ControlError::NotFound("invitation"))?;
        require_pending(&decode(&found)?)?;
        set_status(&mut tx, invitation, InvitationStatus::Revoked).await?;
        pools::commit(tx).await
    }
}

/// # Errors
/// [`ControlError::Conflict`] when the invitation is not pending.
fn require_pending(invitation: &Invitation) -> Result<(), ControlError> {
    match invitation.status {
        InvitationStatus::Pending => Ok(()),
        InvitationStatus::Accepted => Err(ControlError::Conflict("the invitation was accepted")),
        InvitationStatus::Declined => Err(ControlError::Conflict("the invitation was declined")),
        InvitationStatus::Revoked => Err(ControlError::Conflict("the invitation was revoked")),
        InvitationStatus::Expired => Err(ControlError::Conflict("the invitation has expired")),
    }
}

async fn set_status(
    tx: &mut WriteTransaction,
    invitation: Uuid,
    status: InvitationStatus,
) -> Result<(), ControlError> {
    sqlx::query("UPDATE invitations SET status = $1 WHERE id = $2")
        .bind(status.as_str())
        .bind(stored_id(invitation))
        .execute(&mut **tx)
        .attempt("change an invitation's status")
        .await?;
    Ok(())
}

fn decode(row: &AnyRow) -> Result<Invitation, ControlError> {
    let role = Role::parse(&row::text(row, "role")?);
    let status = InvitationStatus::parse(&row::text(row, "status")?);
    Ok(Invitation {
        id: row::uuid(row, "id")?,
        email: row::text(row, "email")?,
        // Only a transfer makes an owner.
        role: role
            .filter(|role| *role != Role::Owner)
            .ok_or(ControlError::Corrupt { column: "role" })?,
        status: status.ok_or(ControlError::Corrupt { column: "status" })?,
        invited_by: UserId(row::uuid(row, "invited_by")?),
        token_prefix: row::text(row, "token_prefix")?,
        expires_at: row::timestamp(row, "expires_at")?,
        created_at: row::timestamp(row, "created_at")?,
    })
}
