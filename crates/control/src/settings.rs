//! Settings of organizations.

use schemas::id::OrgId;

use crate::error::{Attempt, ControlError};
use crate::pools;
use crate::row::{self, stored_id};
use crate::store::ControlStore;

impl ControlStore {
    /// Returns the value of an organization's setting, if it was ever set.
    ///
    /// # Errors
    /// [`ControlError::Database`] when it cannot be read.
    pub async fn setting(&self, org: OrgId, name: &str) -> Result<Option<String>, ControlError> {
        if !row::is_storable(name) {
            return Ok(None);
        }
        sqlx::query("SELECT value FROM org_settings WHERE org_id = $1 AND name = $2")
            .bind(stored_id(org.0))
            .bind(name.to_owned())
            .fetch_optional(self.reads())
            .attempt("read a setting")
            .await?
            .map(|row| row::text(&row, "value"))
            .transpose()
    }

    /// Sets an organization's setting, replacing an earlier value.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] when the organization does not exist, [`ControlError::Invalid`]
    /// when name or value has the character NUL.
    pub async fn set_setting(&self, org: OrgId, name: &str, value: &str) -> Result<(), ControlError> {
        if !row::is_storable(name) || !row::is_storable(value) {
            return Err(ControlError::Invalid(
                "a setting must not contain the character NUL",
            ));
        }
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO org_settings (org_id, name, value) VALUES ($1, $2, $3)
             ON CONFLICT (org_id, name) DO UPDATE SET value = excluded.value",
        )
        .bind(stored_id(org.0))
        .bind(name.to_owned())
        .bind(value.to_owned())
        .execute(&mut *tx)
        .attempt("write a setting")
        .await
        .map_err(|error| error.or_missing("organization"))?;
        pools::commit(tx).await
    }
}
