//! The audit log of an organization (keys-orgs-auth §9): what was done, by whom, to what. Events
//! are added after the deed was committed and never changed; they outlive the organization.

use schemas::id::{OrgId, UserId};
use schemas::time::TimestampMs;
use serde_json::Value;
use sqlx::any::AnyRow;
use uuid::Uuid;

use crate::error::{Attempt, ControlError};
use crate::page;
use crate::pools;
use crate::row::{self, stored_id};
use crate::store::ControlStore;

/// A deed about to be recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditDraft {
    /// Who did it.
    pub actor_id: UserId,
    /// What was done, as `member.removed`.
    pub action: String,
    /// What kind of thing it was done to, as `membership`.
    pub resource_type: String,
    /// Which one, in its form on the wire.
    pub resource_id: Option<String>,
    /// What else is worth knowing: a JSON object without secrets.
    pub metadata: Option<Value>,
}

/// A deed that was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEvent {
    /// Bare UUID on the wire.
    pub id: Uuid,
    /// As [`AuditDraft::actor_id`].
    pub actor_id: UserId,
    /// As [`AuditDraft::action`].
    pub action: String,
    /// As [`AuditDraft::resource_type`].
    pub resource_type: String,
    /// As [`AuditDraft::resource_id`].
    pub resource_id: Option<String>,
    /// As [`AuditDraft::metadata`].
    pub metadata: Option<Value>,
    /// When it was recorded.
    pub created_at: TimestampMs,
}

macro_rules! select {
    ($condition:literal) => {
        concat!(
            "SELECT id, actor_id, action, resource_type, resource_id, metadata, created_at
             FROM audit_log WHERE org_id = $1 AND (created_at, id) < ($2, $3)",
            $condition,
            " ORDER BY created_at DESC, id DESC LIMIT $4"
        )
    };
}

const LIST: &str = select!("");
const LIST_BY_ACTION: &str = select!(" AND action = $5");

impl ControlStore {
    /// Records a deed in the organization's log, under the present time.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] when a text has the character NUL.
    pub async fn append_audit_event(&self, org: OrgId, draft: AuditDraft) -> Result<(), ControlError> {
        let resource_id = draft.resource_id.as_deref().unwrap_or_default();
        let texts = [&*draft.action, &*draft.resource_type, resource_id];
        if !texts.into_iter().all(row::is_storable) {
            return Err(ControlError::Invalid(
                "an audit event must not contain the character NUL",
            ));
        }
        let metadata = draft.metadata.as_ref();
        let metadata = metadata.map(|value| row::json(value, "metadata")).transpose()?;
        let mut tx = self.begin().await?;
        sqlx::query(
            "INSERT INTO audit_log (id, org_id, actor_id, action, resource_type, resource_id, metadata, created_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(stored_id(Uuid::new_v4()))
        .bind(stored_id(org.0))
        .bind(stored_id(draft.actor_id.0))
        .bind(draft.action)
        .bind(draft.resource_type)
        .bind(draft.resource_id)
        .bind(metadata)
        .bind(TimestampMs::now().0)
        .execute(&mut *tx)
        .attempt("append to the audit log")
        .await?;
        pools::commit(tx).await
    }

    /// Returns the organization's events, all or those of one action, newest first and then by id,
    /// largest first: at most `limit` of those that come after the time and id in `after`.
    ///
    /// # Errors
    /// [`ControlError::Database`] when they cannot be read.
    pub async fn list_audit_events(
        &self,
        org: OrgId,
        action: Option<&str>,
        after: Option<(TimestampMs, Uuid)>,
        limit: u32,
    ) -> Result<Vec<AuditEvent>, ControlError> {
        if !action.is_none_or(row::is_storable) {
            return Ok(Vec::new());
        }
        let (created_at, id) = page::bound(after);
        let mut query = sqlx::query(action.map_or(LIST, |_| LIST_BY_ACTION))
            .bind(stored_id(org.0))
            .bind(created_at)
            .bind(id)
            .bind(i64::from(limit));
        if let Some(action) = action {
            query = query.bind(action.to_owned());
        }
        let rows = query
            .fetch_all(self.reads())
            .attempt("list the audit log")
            .await?;
        rows.iter().map(decode).collect()
    }
}

fn decode(row: &AnyRow) -> Result<AuditEvent, ControlError> {
    let metadata = row::optional_text(row, "metadata")?
        .map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|_| ControlError::Corrupt { column: "metadata" })?;
    Ok(AuditEvent {
        id: row::uuid(row, "id")?,
        actor_id: UserId(row::uuid(row, "actor_id")?),
        action: row::text(row, "action")?,
        resource_type: row::text(row, "resource_type")?,
        resource_id: row::optional_text(row, "resource_id")?,
        metadata,
        created_at: row::timestamp(row, "created_at")?,
    })
}
