//! What an organization's tier lets it make anew (keys-orgs-auth §10). Counted in the transaction
//! that makes it: two calls never take the last place both.

use schemas::access::Tier;
use schemas::id::OrgId;
use schemas::time::TimestampMs;
use sqlx::any::AnyRow;

use crate::error::{Attempt, ControlError};
use crate::pools::WriteTransaction;
use crate::row::{self, stored_id};
use crate::subscriptions;

const COUNT_API_KEYS: &str = "SELECT COUNT(*) AS used FROM api_keys WHERE org_id = $1 AND revoked_at IS NULL";
const COUNT_SEATS: &str = "
    SELECT (SELECT COUNT(*) FROM memberships WHERE org_id = $1 AND role IN ('owner', 'admin', 'member'))
        + (SELECT COUNT(*) FROM invitations
           WHERE org_id = $1 AND status = 'pending' AND expires_at >= $2 AND role IN ('admin', 'member')) AS used";

/// Checks that the organization may have one more key.
///
/// # Errors
/// [`ControlError::LimitExceeded`] when it may not.
pub(crate) async fn check_api_keys(tx: &mut WriteTransaction, org: OrgId) -> Result<(), ControlError> {
    let tier = subscriptions::tier(tx, org).await?;
    let Some(max) = tier.limits().max_api_keys else {
        return Ok(());
    };
    let counted = sqlx::query(COUNT_API_KEYS)
        .bind(stored_id(org.0))
        .fetch_one(&mut **tx)
        .attempt("count the API keys")
        .await?;
    check(&counted, max, "active API keys", tier)
}

/// Checks that the organization may have one more member who is not a viewer. Invitations take a
/// seat until their time is over.
///
/// # Errors
/// [`ControlError::LimitExceeded`] when it may not.
pub(crate) async fn check_seats(
    tx: &mut WriteTransaction,
    org: OrgId,
    now: TimestampMs,
) -> Result<(), ControlError> {
    let tier = subscriptions::tier(tx, org).await?;
    let Some(max) = tier.limits().max_seats else {
        return Ok(());
    };
    let counted = sqlx::query(COUNT_SEATS)
        .bind(stored_id(org.0))
        .bind(now.0)
        .fetch_one(&mut **tx)
        .attempt("count the seats")
        .await?;
    check(&counted, max, "seats", tier)
}

fn check(counted: &AnyRow, max: u32, what: &'static str, tier: Tier) -> Result<(), ControlError> {
    if row::unsigned(counted, "used")? < u64::from(max) {
        return Ok(());
    }
    Err(ControlError::LimitExceeded(format!(
        "the {} plan allows at most {max} {what}",
        tier.label()
    )))
}
