//! Changing roles, removing members, leaving (keys-orgs-auth §5, §7). Rules are checked in the
//! documented order, within the transaction that they allow.

use schemas::access::Role;
use schemas::id::{OrgId, UserId};
use schemas::time::TimestampMs;

use super::{ALREADY_A_MEMBER, Member, find, insert, is_listed, require_role, set_role};
use crate::error::{Attempt, ControlError};
use crate::limits;
use crate::orgs;
use crate::pools::{self, WriteTransaction};
use crate::row::stored_id;
use crate::store::ControlStore;

impl ControlStore {
    /// Gives a member another role. Keys are left alone.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`] when the actor is not an admin or the owner, or is the target,
    /// or the target is the owner, or both are admins; [`ControlError::Invalid`] for the role
    /// owner, which only a transfer gives; [`ControlError::NotFound`] when the target is not a
    /// member.
    pub async fn set_member_role(
        &self,
        org: OrgId,
        actor: UserId,
        target: UserId,
        role: Role,
    ) -> Result<Member, ControlError> {
        let mut tx = self.begin().await?;
        let actor_role = require_role(&mut tx, org, actor, Role::Admin).await?;
        if actor == target {
            return Err(ControlError::Forbidden("you cannot change your own role"));
        }
        if role == Role::Owner {
            return Err(ControlError::Invalid("a role must be admin, member or viewer"));
        }
        let member = find(&mut tx, org, target).await?;
        check_below(actor_role, &member)?;
        set_role(&mut tx, org, target, role).await?;
        pools::commit(tx).await?;
        Ok(Member { role, ..member })
    }

    /// Removes a member and revokes all of the member's keys in this organization.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`] when the actor is not an admin or the owner, or is the target,
    /// or the target is the owner, or both are admins; [`ControlError::NotFound`] when the target
    /// is not a member.
    pub async fn remove_member(&self, org: OrgId, actor: UserId, target: UserId) -> Result<(), ControlError> {
        let mut tx = self.begin().await?;
        let actor_role = require_role(&mut tx, org, actor, Role::Admin).await?;
        if actor == target {
            return Err(ControlError::Forbidden("you cannot remove yourself"));
        }
        let member = find(&mut tx, org, target).await?;
        check_below(actor_role, &member)?;
        end(&mut tx, org, target).await?;
        pools::commit(tx).await
    }

    /// Ends the user's own membership and revokes all of the user's keys in this organization.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`] when the user is not a member, or is the owner.
    pub async fn leave_org(&self, org: OrgId, user: UserId) -> Result<(), ControlError> {
        let mut tx = self.begin().await?;
        if require_role(&mut tx, org, user, Role::Viewer).await? == Role::Owner {
            return Err(ControlError::Forbidden(
                "the owner cannot leave: transfer the organization first",
            ));
        }
        end(&mut tx, org, user).await?;
        pools::commit(tx).await
    }

    /// Adds a user to an organization without an invitation, for operators. The tier's seats count
    /// here, too.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] for the role owner, [`ControlError::Forbidden`] for a personal
    /// organization, [`ControlError::LimitExceeded`] when the tier has no seat left,
    /// [`ControlError::Conflict`] when the user is a member already, [`ControlError::NotFound`]
    /// when there is no such user or organization.
    pub async fn add_member(&self, org: OrgId, user: UserId, role: Role) -> Result<(), ControlError> {
        if role == Role::Owner {
            return Err(ControlError::Invalid("a role must be admin, member or viewer"));
        }
        let mut tx = self.begin().await?;
        orgs::find_shared(&mut tx, org).await?;
        if is_listed(&mut tx, org, user).await? {
            return Err(ControlError::Conflict(ALREADY_A_MEMBER));
        }
        if role > Role::Viewer {
            limits::check_seats(&mut tx, org, TimestampMs::now()).await?;
        }
        insert(&mut tx, org, user, role).await?;
        pools::commit(tx).await
    }
}

/// Checks that a member is below the one who acts: nobody touches the owner, and an admin no admin.
fn check_below(actor: Role, target: &Member) -> Result<(), ControlError> {
    match target.role {
        Role::Owner => Err(ControlError::Forbidden(
            "the owner's membership cannot be changed",
        )),
        Role::Admin if actor == Role::Admin => {
            Err(ControlError::Forbidden("only the owner can change another admin"))
        }
        Role::Admin | Role::Member | Role::Viewer => Ok(()),
    }
}

async fn end(tx: &mut WriteTransaction, org: OrgId, user: UserId) -> Result<(), ControlError> {
    sqlx::query(
        "UPDATE api_keys SET revoked_at = $1 WHERE org_id = $2 AND user_id = $3 AND revoked_at IS NULL",
    )
    .bind(TimestampMs::now().0)
    .bind(stored_id(org.0))
    .bind(stored_id(user.0))
    .execute(&mut **tx)
    .attempt("revoke a member's API keys")
    .await?;
    sqlx::query("DELETE FROM memberships WHERE org_id = $1 AND user_id = $2")
        .bind(stored_id(org.0))
        .bind(stored_id(user.0))
        .execute(&mut **tx)
        .attempt("end a membership")
        .await?;
    Ok(())
}
