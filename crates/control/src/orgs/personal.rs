//! The organization that belongs to a single user (keys-orgs-auth §3.2).

use schemas::access::Role;
use schemas::id::{OrgId, UserId};
use schemas::time::TimestampMs;

use super::{Org, insert, slug};
use crate::error::{Attempt, ControlError};
use crate::members;
use crate::pools::{self, WriteTransaction};
use crate::row::{self, stored_id};
use crate::store::ControlStore;

const NAME: &str = "Personal";

const FIND_WITH_MEMBERSHIP: &str = "
    SELECT o.id FROM orgs o JOIN memberships m ON m.org_id = o.id AND m.user_id = o.personal_of
    WHERE o.personal_of = $1";

impl ControlStore {
    /// Returns the user's personal organization. It is made, with the user as its owner, where it
    /// is missing: once, however many ask for it at the same time.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] when there is no such user.
    pub async fn personal_org(&self, user: UserId) -> Result<OrgId, ControlError> {
        let known = sqlx::query(FIND_WITH_MEMBERSHIP)
            .bind(stored_id(user.0))
            .fetch_optional(self.reads())
            .attempt("read a personal organization")
            .await?;
        if let Some(known) = known {
            return Ok(OrgId(row::uuid(&known, "id")?));
        }
        let mut tx = self.begin().await?;
        let org = ensure_personal(&mut tx, user).await?;
        pools::commit(tx).await?;
        Ok(org)
    }
}

/// Returns the user's personal organization, of which the user is a member afterwards.
///
/// # Errors
/// [`ControlError::NotFound`] when there is no such user.
pub(crate) async fn ensure_personal(tx: &mut WriteTransaction, user: UserId) -> Result<OrgId, ControlError> {
    let known = sqlx::query("SELECT id FROM orgs WHERE personal_of = $1")
        .bind(stored_id(user.0))
        .fetch_optional(&mut **tx)
        .attempt("read a personal organization")
        .await?;
    let org = match known {
        Some(known) => OrgId(row::uuid(&known, "id")?),
        None => insert_personal(tx, user).await?,
    };
    if !members::is_listed(tx, org, user).await? {
        members::insert(tx, org, user, Role::Owner).await?;
    }
    Ok(org)
}

async fn insert_personal(tx: &mut WriteTransaction, user: UserId) -> Result<OrgId, ControlError> {
    let id = OrgId::random();
    let now = TimestampMs::now();
    let org = Org {
        id,
        name: NAME.to_owned(),
        slug: slug::free(tx, slug::of_user(user, now), id).await?,
        is_personal: true,
        created_at: now,
        updated_at: now,
    };
    insert(tx, &org, Some(user)).await?;
    Ok(id)
}
