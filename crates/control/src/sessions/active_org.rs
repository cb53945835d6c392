//! The organization that a session acts in (keys-orgs-auth §3.2).

use schemas::access::Role;
use schemas::id::{OrgId, UserId};
use schemas::time::TimestampMs;
use sqlx::any::AnyRow;

use super::Session;
use crate::error::{Attempt, ControlError};
use crate::members;
use crate::orgs;
use crate::pools::{self, WriteTransaction};
use crate::row::{self, stored_id};
use crate::secret::SecretHash;
use crate::store::ControlStore;
use crate::subscriptions::effective_tier;

const RESOLVE: &str = "
    SELECT t.user_id, t.org_id, m.role, s.tier, s.status
    FROM sessions t
    LEFT JOIN memberships m ON m.org_id = t.org_id AND m.user_id = t.user_id
    LEFT JOIN subscriptions s ON s.org_id = t.org_id
    WHERE t.token_hash = $1 AND t.expires_at > $2";

impl ControlStore {
    /// Returns the session with this token, unless it is unknown or has run out. Role and tier are
    /// read anew each time, in one read. A session whose user is not a member of its organization
    /// any more goes on in the user's personal one, which is made if need be.
    ///
    /// # Errors
    /// [`ControlError::Database`] when the answer is not known.
    pub async fn resolve_session(&self, token: &str) -> Result<Option<Session>, ControlError> {
        let token = SecretHash::of(token);
        let stored = sqlx::query(RESOLVE)
            .bind(token.to_hex())
            .bind(TimestampMs::now().0)
            .fetch_optional(self.reads())
            .attempt("look a session up")
            .await?;
        match stored {
            None => Ok(None),
            Some(row) if is_member(&row)? => decode(&row).map(Some),
            Some(_) => self.fall_back(token).await,
        }
    }

    /// Moves a session to the user's personal organization, unless it has become one of a member
    /// meanwhile.
    async fn fall_back(&self, token: SecretHash) -> Result<Option<Session>, ControlError> {
        let mut tx = self.begin().await?;
        let Some(row) = find(&mut tx, token).await? else {
            return Ok(None);
        };
        if is_member(&row)? {
            return decode(&row).map(Some);
        }
        let personal = orgs::ensure_personal(&mut tx, UserId(row::uuid(&row, "user_id")?)).await?;
        let session = activate(&mut tx, token, personal).await?;
        pools::commit(tx).await?;
        Ok(Some(session))
    }

    /// Makes an organization the session's active one and returns the session as it is now.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] when the session is unknown or has run out,
    /// [`ControlError::Forbidden`] when its user is not a member of the organization.
    pub async fn switch_org(&self, token: &str, org: OrgId) -> Result<Session, ControlError> {
        let token = SecretHash::of(token);
        let mut tx = self.begin().await?;
        let row = find(&mut tx, token)
            .await?
            .ok_or(ControlError::NotFound("session"))?;
        let user = UserId(row::uuid(&row, "user_id")?);
        members::require_role(&mut tx, org, user, Role::Viewer).await?;
        let session = activate(&mut tx, token, org).await?;
        pools::commit(tx).await?;
        Ok(session)
    }
}

async fn find(tx: &mut WriteTransaction, token: SecretHash) -> Result<Option<AnyRow>, ControlError> {
    sqlx::query(RESOLVE)
        .bind(token.to_hex())
        .bind(TimestampMs::now().0)
        .fetch_optional(&mut **tx)
        .attempt("look a session up")
        .await
}

/// Writes the session's organization, of which its user is a member, and reads the session anew.
async fn activate(tx: &mut WriteTransaction, token: SecretHash, org: OrgId) -> Result<Session, ControlError> {
    sqlx::query("UPDATE sessions SET org_id = $1 WHERE token_hash = $2")
        .bind(stored_id(org.0))
        .bind(token.to_hex())
        .execute(&mut **tx)
        .attempt("switch a session's organization")
        .await?;
    // It may run out at this very moment.
    let row = find(tx, token).await?.ok_or(ControlError::NotFound("session"))?;
    decode(&row)
}

/// Tells whether there is a membership, whatever its role.
fn is_member(row: &AnyRow) -> Result<bool, ControlError> {
    Ok(row::optional_text(row, "role")?.is_some())
}

fn decode(row: &AnyRow) -> Result<Session, ControlError> {
    Ok(Session {
        user_id: UserId(row::uuid(row, "user_id")?),
        org_id: OrgId(row::uuid(row, "org_id")?),
        role: row::optional_text(row, "role")?.as_deref().and_then(Role::parse),
        tier: effective_tier(row)?,
    })
}
