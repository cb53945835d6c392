//! Inviting.

use schemas::access::Role;
use schemas::id::{OrgId, UserId};
use schemas::time::TimestampMs;
use uuid::Uuid;

use super::{Invitation, InvitationStatus};
use crate::error::{Attempt, ControlError};
use crate::pools::{self, WriteTransaction};
use crate::row::stored_id;
use crate::secret::{InvitationToken, SecretHash};
use crate::store::ControlStore;
use crate::{email, limits, members, orgs, users};

/// How long an invitation can be accepted: 7 days, in milliseconds.
const INVITATION_MS: i64 = 7 * 24 * 60 * 60 * 1_000;

const INVITED: &str = "there is a pending invitation of this address already";

impl ControlStore {
    /// Invites a person for 7 days. The token is returned here and never again; no mail is sent.
    /// An invitation of the same address whose time is over gives way.
    ///
    /// # Errors
    /// In this order: [`ControlError::Invalid`] for what cannot be an address and for the role
    /// owner, [`ControlError::Forbidden`] when the actor is not an admin or the owner and for a
    /// personal organization, [`ControlError::Invalid`] for the actor's own address,
    /// [`ControlError::Conflict`] when the address has a pending invitation,
    /// [`ControlError::LimitExceeded`] when the tier has no seat left for one who is no viewer.
    pub async fn create_invitation(
        &self,
        org: OrgId,
        actor: UserId,
        email: &str,
        role: Role,
    ) -> Result<(Invitation, InvitationToken), ControlError> {
        let email = email::normalize(email)?;
        if role == Role::Owner {
            return Err(ControlError::Invalid("a role must be admin, member or viewer"));
        }
        let token = InvitationToken::generate()?;
        let now = TimestampMs::now();
        let invitation = Invitation {
            id: Uuid::new_v4(),
            email,
            role,
            status: InvitationStatus::Pending,
            invited_by: actor,
            token_prefix: token.display_prefix().to_owned(),
            expires_at: TimestampMs(now.0.saturating_add(INVITATION_MS)),
            created_at: now,
        };
        let mut tx = self.begin().await?;
        check(&mut tx, org, &invitation).await?;
        insert(&mut tx, org, &invitation, &token).await?;
        pools::commit(tx).await?;
        Ok((invitation, token))
    }
}

/// Checks the rules of a new invitation in the documented order.
async fn check(tx: &mut WriteTransaction, org: OrgId, new: &Invitation) -> Result<(), ControlError> {
    members::require_role(tx, org, new.invited_by, Role::Admin).await?;
    orgs::find_shared(tx, org).await?;
    if users::email_of(tx, new.invited_by).await?.as_deref() == Some(new.email.as_str()) {
        return Err(ControlError::Invalid("you cannot invite yourself"));
    }
    expire(tx, org, new.created_at).await?;
    let pending =
        sqlx::query("SELECT id FROM invitations WHERE org_id = $1 AND email = $2 AND status = 'pending'")
            .bind(stored_id(org.0))
            .bind(new.email.clone())
            .fetch_optional(&mut **tx)
            .attempt("look an invitation up")
            .await?;
    if pending.is_some() {
        return Err(ControlError::Conflict(INVITED));
    }
    if new.role > Role::Viewer {
        limits::check_seats(tx, org, new.created_at).await?;
    }
    Ok(())
}

/// Marks the organization's invitations whose time is over: they block no address any more.
async fn expire(tx: &mut WriteTransaction, org: OrgId, now: TimestampMs) -> Result<(), ControlError> {
    sqlx::query(
        "UPDATE invitations SET status = 'expired' WHERE org_id = $1 AND status = 'pending' AND expires_at < $2",
    )
    .bind(stored_id(org.0))
    .bind(now.0)
    .execute(&mut **tx)
    .attempt("mark expired invitations")
    .await?;
    Ok(())
}

async fn insert(
    tx: &mut WriteTransaction,
    org: OrgId,
    new: &Invitation,
    token: &InvitationToken,
) -> Result<(), ControlError> {
    sqlx::query(
        "INSERT INTO invitations (id, org_id, email, role, status, token_hash, token_prefix, invited_by,
                                  expires_at, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
    )
    .bind(stored_id(new.id))
    .bind(stored_id(org.0))
    .bind(new.email.clone())
    .bind(new.role.as_str())
    .bind(new.status.as_str())
    .bind(SecretHash::of(token.expose()).to_hex())
    .bind(new.token_prefix.clone())
    .bind(stored_id(new.invited_by.0))
    .bind(new.expires_at.0)
    .bind(new.created_at.0)
    .execute(&mut **tx)
    .attempt("insert an invitation")
    .await
    .map_err(|error| error.or_conflict(INVITED))?;
    Ok(())
}
