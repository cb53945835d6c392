//! Handing an organization on (keys-orgs-auth §7).

use schemas::access::Role;
use schemas::id::{OrgId, UserId};

use super::{find, require_role, set_role};
use crate::error::ControlError;
use crate::pools;
use crate::store::ControlStore;

impl ControlStore {
    /// Makes another member the owner, and the owner an admin. There is exactly one owner before,
    /// afterwards and in between.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`] when `owner` is not the owner any more, [`ControlError::Invalid`]
    /// when both are the same or the other is a viewer, [`ControlError::NotFound`] when the other
    /// is not a member.
    pub async fn transfer_org(
        &self,
        org: OrgId,
        owner: UserId,
        new_owner: UserId,
    ) -> Result<(), ControlError> {
        let mut tx = self.begin().await?;
        require_role(&mut tx, org, owner, Role::Owner).await?;
        if owner == new_owner {
            return Err(ControlError::Invalid("you own this organization already"));
        }
        if find(&mut tx, org, new_owner).await?.role == Role::Viewer {
            return Err(ControlError::Invalid("a viewer cannot become the owner"));
        }
        // In this order: the database holds two owners to be a conflict.
        set_role(&mut tx, org, owner, Role::Admin).await?;
        set_role(&mut tx, org, new_owner, Role::Owner).await?;
        pools::commit(tx).await
    }
}
