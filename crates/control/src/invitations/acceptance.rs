//! Accepting an invitation (keys-orgs-auth §6.1).

use schemas::access::Role;
use schemas::id::{OrgId, UserId};
use schemas::time::TimestampMs;
use uuid::Uuid;

use super::{FIND_BY_TOKEN, InvitationStatus, decode, require_pending, set_status};
use crate::error::{Attempt, ControlError};
use crate::members::{self, ALREADY_A_MEMBER};
use crate::pools::{self, WriteTransaction};
use crate::row::{self, stored_id};
use crate::secret::SecretHash;
use crate::store::ControlStore;
use crate::users;

impl ControlStore {
    /// Makes the user a member of the organization that the token invites to, once, and returns
    /// the organization, the role there and the invitation. Its seat was counted when it was made.
    ///
    /// # Errors
    /// In this order: [`ControlError::NotFound`] when there is no invitation with this token,
    /// [`ControlError::Conflict`] when it is not pending, [`ControlError::Forbidden`] when another
    /// address is invited than the user's, [`ControlError::Expired`] when its time is over,
    /// [`ControlError::Conflict`] when the user is a member already.
    pub async fn accept_invitation(
        &self,
        token: &str,
        user: UserId,
    ) -> Result<(OrgId, Role, Uuid), ControlError> {
        let mut tx = self.begin().await?;
        let found = sqlx::query(FIND_BY_TOKEN)
            .bind(SecretHash::of(token).to_hex())
            .fetch_optional(&mut *tx)
            .attempt("look an invitation up")
            .await?
            .ok_or(ControlError::NotFound("invitation"))?;
        let org = OrgId(row::uuid(&found, "org_id")?);
        let invitation = decode(&found)?;
        require_pending(&invitation)?;
        if users::email_of(&mut tx, user).await?.as_deref() != Some(invitation.email.as_str()) {
            return Err(ControlError::Forbidden(
                "the invitation is for another e-mail address",
            ));
        }
        let now = TimestampMs::now();
        if invitation.expires_at < now {
            set_status(&mut tx, invitation.id, InvitationStatus::Expired).await?;
            pools::commit(tx).await?;
            return Err(ControlError::Expired("invitation"));
        }
        if members::is_listed(&mut tx, org, user).await? {
            return Err(ControlError::Conflict(ALREADY_A_MEMBER));
        }
        members::insert(&mut tx, org, user, invitation.role).await?;
        mark_accepted(&mut tx, invitation.id, user, now).await?;
        pools::commit(tx).await?;
        Ok((org, invitation.role, invitation.id))
    }
}

async fn mark_accepted(
    tx: &mut WriteTransaction,
    invitation: Uuid,
    user: UserId,
    now: TimestampMs,
) -> Result<(), ControlError> {
    sqlx::query("UPDATE invitations SET status = $1, accepted_by = $2, accepted_at = $3 WHERE id = $4")
        .bind(InvitationStatus::Accepted.as_str())
        .bind(stored_id(user.0))
        .bind(now.0)
        .bind(stored_id(invitation))
        .execute(&mut **tx)
        .attempt("accept an invitation")
        .await?;
    Ok(())
}
