//! Deleting organizations (keys-orgs-auth §4.5).

use schemas::id::OrgId;
use schemas::time::TimestampMs;

use super::find_shared;
use crate::error::{Attempt, ControlError};
use crate::mappings;
use crate::pools::WriteTransaction;
use crate::row::stored_id;
use crate::store::ControlStore;

/// What an organization's rows are removed with, those first that refer to others. The audit log
/// is kept. A session whose organization it was goes on without one.
const STATEMENTS: [&str; 8] = [
    "UPDATE sessions SET org_id = NULL WHERE org_id = $1",
    "DELETE FROM org_secrets WHERE org_id = $1",
    "DELETE FROM org_settings WHERE org_id = $1",
    "DELETE FROM api_keys WHERE org_id = $1",
    "DELETE FROM subscriptions WHERE org_id = $1",
    "DELETE FROM invitations WHERE org_id = $1",
    "DELETE FROM memberships WHERE org_id = $1",
    "DELETE FROM orgs WHERE id = $1",
];

impl ControlStore {
    /// Deletes an organization with all that belongs to it, but for its audit log, which nobody
    /// can ask for any more. The removal of its customer mappings is announced in the outbox.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`] for a personal organization, [`ControlError::NotFound`] when
    /// the organization does not exist.
    pub async fn delete_org(&self, org: OrgId) -> Result<(), ControlError> {
        let mut tx = self.begin().await?;
        find_shared(&mut tx, org).await?;
        mappings::delete_all(&mut tx, org, TimestampMs::now()).await?;
        delete_rows(&mut tx, org).await?;
        self.commit_with_outbox(tx).await
    }
}

async fn delete_rows(tx: &mut WriteTransaction, org: OrgId) -> Result<(), ControlError> {
    for statement in STATEMENTS {
        sqlx::query(statement)
            .bind(stored_id(org.0))
            .execute(&mut **tx)
            .attempt("delete an organization")
            .await?;
    }
    Ok(())
}
