//! Plans of organizations.

use schemas::access::Tier;
use schemas::id::OrgId;
use sqlx::any::AnyRow;

use crate::error::{Attempt, ControlError};
use crate::pools::{self, WriteTransaction};
use crate::row::{self, stored_id};
use crate::store::ControlStore;

const FIND: &str = "SELECT tier, status FROM subscriptions WHERE org_id = $1";

impl ControlStore {
    /// Returns the organization's effective tier: free without an active or past-due subscription.
    ///
    /// # Errors
    /// [`ControlError::Database`] when it cannot be read.
    pub async fn org_tier(&self, org: OrgId) -> Result<Tier, ControlError> {
        let row = sqlx::query(FIND)
            .bind(stored_id(org.0))
            .fetch_optional(self.reads())
            .attempt("read a subscription")
            .await?;
        row.map_or(Ok(Tier::Free), |row| effective_tier(&row))
    }

    /// Puts the organization on a tier, which is active at once. What it has beyond the limits of
    /// a lower tier stays.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] when the organization does not exist.
    pub async fn set_tier(&self, org: OrgId, tier: Tier) -> Result<(), ControlError> {
        let mut tx = self.begin().await?;
        set(&mut tx, org, tier).await?;
        pools::commit(tx).await
    }
}

pub(crate) async fn set(tx: &mut WriteTransaction, org: OrgId, tier: Tier) -> Result<(), ControlError> {
    sqlx::query(
        "INSERT INTO subscriptions (org_id, tier, status) VALUES ($1, $2, 'active')
         ON CONFLICT (org_id) DO UPDATE SET tier = excluded.tier, status = excluded.status",
    )
    .bind(stored_id(org.0))
    .bind(tier.as_str())
    .execute(&mut **tx)
    .attempt("write a subscription")
    .await
    .map_err(|error| error.or_missing("organization"))?;
    Ok(())
}

pub(crate) async fn tier(tx: &mut WriteTransaction, org: OrgId) -> Result<Tier, ControlError> {
    let row = sqlx::query(FIND)
        .bind(stored_id(org.0))
        .fetch_optional(&mut **tx)
        .attempt("read a subscription")
        .await?;
    row.map_or(Ok(Tier::Free), |row| effective_tier(&row))
}

/// Reads `tier` and `status` of a subscription that may be absent from a left join.
pub(crate) fn effective_tier(row: &AnyRow) -> Result<Tier, ControlError> {
    let tier = row::optional_text(row, "tier")?;
    let status = row::optional_text(row, "status")?;
    Ok(Tier::effective(tier.as_deref().zip(status.as_deref())))
}
