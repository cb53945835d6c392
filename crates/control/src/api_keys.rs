//! API keys: looked up by the hash of their secret.

mod list;
mod management;

use std::collections::HashMap;

use schemas::access::{Role, Tier};
use schemas::id::{ApiKeyId, OrgId, UserId};
use schemas::tags::Tags;
use schemas::time::TimestampMs;
use sqlx::any::AnyRow;

use crate::error::{Attempt, ControlError};
use crate::pools;
use crate::row::{self, stored_id};
use crate::secret::SecretHash;
use crate::store::ControlStore;
use crate::subscriptions::effective_tier;

pub use list::ApiKey;
pub(crate) use management::insert;
pub use management::{ApiKeyDraft, ApiKeyPatch};

/// The API version that new keys are made for.
pub const CURRENT_API_VERSION: &str = "2026-04-01";
/// A key's last use is written at most this often, in milliseconds.
const TOUCH_INTERVAL_MS: i64 = 60_000;

const RESOLVE: &str = "
    SELECT k.id, k.org_id, k.user_id, k.name, k.default_tags, k.api_version, m.role, s.tier, s.status
    FROM api_keys k
    LEFT JOIN memberships m ON m.org_id = k.org_id AND m.user_id = k.user_id
    LEFT JOIN subscriptions s ON s.org_id = k.org_id
    WHERE k.key_hash = $1 AND k.revoked_at IS NULL";

/// Who an API key speaks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolvedApiKey {
    /// The key.
    pub key_id: ApiKeyId,
    /// The organization it belongs to.
    pub org_id: OrgId,
    /// The user who made it.
    pub user_id: UserId,
    /// Its name.
    pub name: String,
    /// Tags that its events carry unless they say otherwise.
    pub default_tags: Tags,
    /// The API version that it was made for.
    pub api_version: String,
    /// False where its user has left the organization: the key is known but not allowed.
    pub owner_is_member: bool,
    /// The organization's effective tier.
    pub tier: Tier,
}

impl ControlStore {
    /// Returns the key whose secret has this hash, unless it is unknown or revoked.
    ///
    /// # Errors
    /// [`ControlError::Database`] and [`ControlError::Corrupt`] when the answer is not known, which
    /// is not the same as an unknown key.
    pub async fn resolve_api_key(&self, secret: SecretHash) -> Result<Option<ResolvedApiKey>, ControlError> {
        sqlx::query(RESOLVE)
            .bind(secret.to_hex())
            .fetch_optional(self.reads())
            .attempt("look an API key up")
            .await?
            .map(|row| decode(&row))
            .transpose()
    }

    /// Records that the keys were used at `now`, all or none. A key touched in the 60 seconds
    /// before is left alone. Returns how many were written.
    ///
    /// # Errors
    /// [`ControlError::Database`] when they cannot be written.
    pub async fn touch_api_keys(&self, keys: &[ApiKeyId], now: TimestampMs) -> Result<u64, ControlError> {
        if keys.is_empty() {
            return Ok(0);
        }
        // One order for all, so that two transactions never wait for each other's rows.
        let mut ids: Vec<String> = keys.iter().map(|key| stored_id(key.0)).collect();
        ids.sort_unstable();
        let mut tx = self.begin().await?;
        let mut num_touched = 0;
        for id in ids {
            let update = sqlx::query(
                "UPDATE api_keys SET last_used_at = $1
                 WHERE id = $2 AND (last_used_at IS NULL OR last_used_at <= $3)",
            );
            let bound = update
                .bind(now.0)
                .bind(id)
                .bind(now.0.saturating_sub(TOUCH_INTERVAL_MS));
            let result = bound.execute(&mut *tx).attempt("record an API key's use").await?;
            num_touched += result.rows_affected();
        }
        pools::commit(tx).await?;
        Ok(num_touched)
    }

    /// Returns the names of all keys that the organization ever had, revoked ones too.
    ///
    /// # Errors
    /// [`ControlError::Database`] when they cannot be read.
    pub async fn api_key_names(&self, org: OrgId) -> Result<HashMap<ApiKeyId, String>, ControlError> {
        let rows = sqlx::query("SELECT id, name FROM api_keys WHERE org_id = $1")
            .bind(stored_id(org.0))
            .fetch_all(self.reads())
            .attempt("list the API keys")
            .await?;
        let named = |row: &AnyRow| Ok((ApiKeyId(row::uuid(row, "id")?), row::text(row, "name")?));
        rows.iter().map(named).collect()
    }
}

fn decode(row: &AnyRow) -> Result<ResolvedApiKey, ControlError> {
    let default_tags =
        serde_json::from_str(&row::text(row, "default_tags")?).map_err(|_| ControlError::Corrupt {
            column: "default_tags",
        })?;
    // A role that is not one of the four passes no check, this one neither.
    let role = row::optional_text(row, "role")?.as_deref().and_then(Role::parse);
    Ok(ResolvedApiKey {
        key_id: ApiKeyId(row::uuid(row, "id")?),
        org_id: OrgId(row::uuid(row, "org_id")?),
        user_id: UserId(row::uuid(row, "user_id")?),
        name: row::text(row, "name")?,
        default_tags,
        api_version: row::text(row, "api_version")?,
        owner_is_member: role.is_some(),
        tier: effective_tier(row)?,
    })
}
