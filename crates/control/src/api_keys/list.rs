//! An organization's keys, as people see them.

use schemas::id::{ApiKeyId, OrgId};
use schemas::tags::Tags;
use schemas::time::TimestampMs;
use serde::de::DeserializeOwned;
use sqlx::any::AnyRow;

use crate::error::{Attempt, ControlError};
use crate::page;
use crate::row::{self, stored_id};
use crate::store::ControlStore;

/// A key that is not revoked. Its secret is stored nowhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its identifier.
    pub id: ApiKeyId,
    /// 1 to 50 characters.
    pub name: String,
    /// The first 19 characters of its secret, by which people know it again.
    pub key_prefix: String,
    /// Tags that its events carry unless they say otherwise.
    pub default_tags: Tags,
    /// Models that it may be used for; none is all, an empty list is no model.
    pub allowed_models: Option<Vec<String>>,
    /// Providers that it may be used for; none is all, an empty list is no provider.
    pub allowed_providers: Option<Vec<String>>,
    /// When it was used last, to the minute; none before its first use.
    pub last_used_at: Option<TimestampMs>,
    /// When it was made.
    pub created_at: TimestampMs,
}

macro_rules! columns {
    () => {
        "id, name, key_prefix, default_tags, allowed_models, allowed_providers, last_used_at, created_at"
    };
}
pub(super) use columns;

const LIST: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM api_keys WHERE org_id = $1 AND revoked_at IS NULL AND (created_at, id) < ($2, $3)
     ORDER BY created_at DESC, id DESC LIMIT $4"
);

impl ControlStore {
    /// Returns the organization's keys that are not revoked, newest first and then by id, largest
    /// first: at most `limit` of those that come after the time and id in `after`.
    ///
    /// # Errors
    /// [`ControlError::Database`] when they cannot be read.
    pub async fn list_api_keys(
        &self,
        org: OrgId,
        after: Option<(TimestampMs, ApiKeyId)>,
        limit: u32,
    ) -> Result<Vec<ApiKey>, ControlError> {
        let (created_at, id) = page::bound(after.map(|(at, key)| (at, key.0)));
        let rows = sqlx::query(LIST)
            .bind(stored_id(org.0))
            .bind(created_at)
            .bind(id)
            .bind(i64::from(limit))
            .fetch_all(self.reads())
            .attempt("list the API keys")
            .await?;
        rows.iter().map(decode).collect()
    }
}

pub(super) fn decode(row: &AnyRow) -> Result<ApiKey, ControlError> {
    Ok(ApiKey {
        id: ApiKeyId(row::uuid(row, "id")?),
        name: row::text(row, "name")?,
        key_prefix: row::text(row, "key_prefix")?,
        default_tags: json(&row::text(row, "default_tags")?, "default_tags")?,
        allowed_models: optional_json(row, "allowed_models")?,
        allowed_providers: optional_json(row, "allowed_providers")?,
        last_used_at: row::optional_integer(row, "last_used_at")?.map(TimestampMs),
        created_at: row::timestamp(row, "created_at")?,
    })
}

fn optional_json<T: DeserializeOwned>(row: &AnyRow, column: &'static str) -> Result<Option<T>, ControlError> {
    row::optional_text(row, column)?
        .map(|text| json(&text, column))
        .transpose()
}

fn json<T: DeserializeOwned>(text: &str, column: &'static str) -> Result<T, ControlError> {
    serde_json::from_str(text).map_err(|_| ControlError::Corrupt { column })
}
