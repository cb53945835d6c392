//! Secrets of organizations, sealed: keys of other services.

use schemas::id::OrgId;

use crate::error::{Attempt, ControlError};
use crate::pools::{self, WriteTransaction};
use crate::row::{self, stored_id};
use crate::sealed::{self, Keyring};
use crate::secret::OpenedSecret;
use crate::store::ControlStore;

/// Secrets that are sealed anew in one transaction, so that other writers need not wait long.
const MAX_ROTATED_AT_ONCE: i64 = 100;

/// What a rotation has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RotationReport {
    /// Secrets that were sealed anew under the newest key.
    pub num_rotated: u64,
    /// Organization and name of those that could not be opened and were left alone. While there
    /// are any, the keys that they name must be kept.
    pub unreadable: Vec<(OrgId, String)>,
}

impl ControlStore {
    /// Seals a secret of the organization under the newest key, replacing an earlier value.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] when the organization does not exist, [`ControlError::Invalid`]
    /// when the name is empty or has the character NUL.
    pub async fn set_secret(
        &self,
        keyring: &Keyring,
        org: OrgId,
        name: &str,
        value: &str,
    ) -> Result<(), ControlError> {
        if name.is_empty() || !row::is_storable(name) {
            return Err(ControlError::Invalid(
                "a secret's name must not be empty nor contain the character NUL",
            ));
        }
        let sealed = keyring.seal(value, &context(org, name))?;
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO org_secrets (org_id, name, sealed) VALUES ($1, $2, $3)
             ON CONFLICT (org_id, name) DO UPDATE SET sealed = excluded.sealed",
        )
        .bind(stored_id(org.0))
        .bind(name.to_owned())
        .bind(sealed)
        .execute(&mut *tx)
        .attempt("write a secret")
        .await
        .map_err(|error| error.or_missing("organization"))?;
        pools::commit(tx).await
    }

    /// Opens a secret of the organization, if it was ever set.
    ///
    /// # Errors
    /// [`ControlError::MissingKey`] when the keyring lacks its key, [`ControlError::Corrupt`] when
    /// it was changed or moved in the store.
    pub async fn secret(
        &self,
        keyring: &Keyring,
        org: OrgId,
        name: &str,
    ) -> Result<Option<OpenedSecret>, ControlError> {
        if !row::is_storable(name) {
            return Ok(None);
        }
        let row = sqlx::query("SELECT sealed FROM org_secrets WHERE org_id = $1 AND name = $2")
            .bind(stored_id(org.0))
            .bind(name.to_owned())
            .fetch_optional(self.reads())
            .attempt("read a secret")
            .await?;
        row.map(|row| keyring.open(&row::text(&row, "sealed")?, &context(org, name)))
            .transpose()
    }

    /// Removes a secret of the organization. An unknown one is no error.
    ///
    /// # Errors
    /// [`ControlError::Database`] when it cannot be removed.
    pub async fn delete_secret(&self, org: OrgId, name: &str) -> Result<(), ControlError> {
        if !row::is_storable(name) {
            return Ok(());
        }
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM org_secrets WHERE org_id = $1 AND name = $2")
            .bind(stored_id(org.0))
            .bind(name.to_owned())
            .execute(&mut *tx)
            .attempt("remove a secret")
            .await?;
        pools::commit(tx).await
    }

    /// Seals all secrets anew that are not under the newest key, a hundred in a transaction. One
    /// that fails half-way has done what it has done; another call goes on from there.
    ///
    /// # Errors
    /// [`ControlError::Database`] when the secrets can be neither read nor written.
    pub async fn rotate_secrets(&self, keyring: &Keyring) -> Result<RotationReport, ControlError> {
        let mut report = RotationReport::default();
        let mut after = (String::new(), String::new());
        loop {
            let mut tx = self.begin().await?;
            let secrets = stale(&mut tx, keyring, after).await?;
            let Some(last) = secrets.last() else {
                return Ok(report);
            };
            after = (stored_id(last.org.0), last.name.clone());
            for secret in secrets {
                match secret.sealed_anew(keyring) {
                    Ok(sealed) => {
                        secret.replace(&mut tx, sealed).await?;
                        report.num_rotated += 1;
                    }
                    Err(ControlError::MissingKey { .. } | ControlError::Corrupt { .. }) => {
                        report.unreadable.push((secret.org, secret.name));
                    }
                    Err(error) => return Err(error),
                }
            }
            pools::commit(tx).await?;
        }
    }
}

/// What a secret is sealed for. An id has one length, so no two places look alike.
fn context(org: OrgId, name: &str) -> String {
    format!("{org}/{name}")
}

/// A secret that is not sealed under the newest key.
struct StaleSecret {
    org: OrgId,
    name: String,
    sealed: String,
}

impl StaleSecret {
    fn sealed_anew(&self, keyring: &Keyring) -> Result<String, ControlError> {
        let context = context(self.org, &self.name);
        keyring.seal(keyring.open(&self.sealed, &context)?.expose(), &context)
    }

    async fn replace(&self, tx: &mut WriteTransaction, sealed: String) -> Result<(), ControlError> {
        sqlx::query("UPDATE org_secrets SET sealed = $1 WHERE org_id = $2 AND name = $3")
            .bind(sealed)
            .bind(stored_id(self.org.0))
            .bind(self.name.clone())
            .execute(&mut **tx)
            .attempt("seal a secret anew")
            .await?;
        Ok(())
    }
}

/// Returns the next stale secrets that come after an organization and name.
async fn stale(
    tx: &mut WriteTransaction,
    keyring: &Keyring,
    after: (String, String),
) -> Result<Vec<StaleSecret>, ControlError> {
    let rows = sqlx::query(
        "SELECT org_id, name, sealed FROM org_secrets
         WHERE (org_id, name) > ($1, $2) AND sealed NOT LIKE $3 ORDER BY org_id, name LIMIT $4",
    )
    .bind(after.0)
    .bind(after.1)
    .bind(format!("{}%", sealed::prefix(keyring.newest_version())))
    .bind(MAX_ROTATED_AT_ONCE)
    .fetch_all(&mut **tx)
    .attempt("read the secrets to be sealed anew")
    .await?;
    let decode = |row| {
        Ok(StaleSecret {
            org: OrgId(row::uuid(row, "org_id")?),
            name: row::text(row, "name")?,
            sealed: row::text(row, "sealed")?,
        })
    };
    rows.iter().map(decode).collect()
}
