//! Removing mappings: one, or all of an organization.

use schemas::id::OrgId;
use schemas::mapping::MappingChange;
use schemas::time::TimestampMs;
use uuid::Uuid;

use super::{announce, columns, decode, entry};
use crate::error::{Attempt, ControlError};
use crate::outbox;
use crate::pools::WriteTransaction;
use crate::row::stored_id;
use crate::store::ControlStore;

const DELETE: &str = concat!(
    "DELETE FROM customer_mappings WHERE org_id = $1 AND id = $2 RETURNING ",
    columns!()
);
const DELETE_ALL: &str = concat!(
    "DELETE FROM customer_mappings WHERE org_id = $1 RETURNING ",
    columns!()
);

impl ControlStore {
    /// Removes a mapping of the organization.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] when the organization has no such mapping.
    pub async fn delete_mapping(&self, org: OrgId, mapping: Uuid) -> Result<(), ControlError> {
        let mut tx = self.begin().await?;
        let version = outbox::next_sequence(&mut tx).await?;
        let removed = sqlx::query(DELETE)
            .bind(stored_id(org.0))
            .bind(stored_id(mapping))
            .fetch_optional(&mut *tx)
            .attempt("delete a customer mapping")
            .await?
            .ok_or(ControlError::NotFound("mapping"))?;
        let change = MappingChange {
            mapping: decode(&removed)?,
            deleted: true,
            version,
        };
        announce(&mut tx, change, TimestampMs::now()).await?;
        self.commit_with_outbox(tx).await
    }
}

/// Removes all mappings of the organization and announces it.
pub(crate) async fn delete_all(
    tx: &mut WriteTransaction,
    org: OrgId,
    now: TimestampMs,
) -> Result<(), ControlError> {
    let removed = sqlx::query(DELETE_ALL)
        .bind(stored_id(org.0))
        .fetch_all(&mut **tx)
        .attempt("delete an organization's customer mappings")
        .await?;
    let first = outbox::take_sequences(tx, removed.len()).await?;
    let entries = removed.iter().zip(first..).map(|(row, version)| {
        entry(&MappingChange {
            mapping: decode(row)?,
            deleted: true,
            version,
        })
    });
    let entries = entries.collect::<Result<Vec<_>, _>>()?;
    outbox::append_all(tx, entries, now).await
}
