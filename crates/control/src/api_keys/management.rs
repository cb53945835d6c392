//! Making, changing and revoking keys (keys-orgs-auth §2).

use schemas::access::Role;
use schemas::id::{ApiKeyId, OrgId, UserId};
use schemas::tags::{self, Tags};
use schemas::time::TimestampMs;

use super::list::{ApiKey, columns, decode};
use crate::error::{Attempt, ControlError};
use crate::limits;
use crate::members;
use crate::pools::{self, WriteTransaction};
use crate::row::{self, stored_id};
use crate::secret::{ApiKeySecret, SecretHash};
use crate::store::ControlStore;

/// All keys are for production (keys-orgs-auth §2.1).
const ENVIRONMENT: &str = "live";
const MAX_NAME_CHARS: usize = 50;
const MAX_ALLOWED: usize = 50;
const MAX_ALLOWED_CHARS: usize = 100;

const FIND: &str = concat!(
    "SELECT ",
    columns!(),
    " FROM api_keys WHERE org_id = $1 AND id = $2 AND revoked_at IS NULL"
);

/// A key about to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiKeyDraft {
    /// 1 to 50 characters after trimming.
    pub name: String,
    /// At most 10 tags, none with a key of the system's.
    pub default_tags: Tags,
    /// At most 50 models of 1 to 100 characters; none is all.
    pub allowed_models: Option<Vec<String>>,
    /// Providers; none is all.
    pub allowed_providers: Option<Vec<String>>,
}

/// A change of a key. What is none stays; what is given replaces the whole value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ApiKeyPatch {
    /// As [`ApiKeyDraft::name`].
    pub name: Option<String>,
    /// As [`ApiKeyDraft::default_tags`].
    pub default_tags: Option<Tags>,
    /// As [`ApiKeyDraft::allowed_models`]: `Some(None)` removes the restriction.
    pub allowed_models: Option<Option<Vec<String>>>,
    /// As [`ApiKeyDraft::allowed_providers`]: `Some(None)` removes the restriction.
    pub allowed_providers: Option<Option<Vec<String>>>,
}

impl ControlStore {
    /// Makes a key of this user in this organization. Its secret is returned here and never again.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`] when the user is no member of the organization, or a viewer;
    /// [`ControlError::LimitExceeded`] when the tier allows no more keys;
    /// [`ControlError::Invalid`] when the draft breaks a rule.
    pub async fn create_api_key(
        &self,
        org: OrgId,
        user: UserId,
        draft: ApiKeyDraft,
    ) -> Result<(ApiKey, ApiKeySecret), ControlError> {
        let draft = validated(draft)?;
        let secret = ApiKeySecret::generate()?;
        let mut tx = self.begin().await?;
        members::require_role(&mut tx, org, user, Role::Member).await?;
        limits::check_api_keys(&mut tx, org).await?;
        let key = insert(&mut tx, (org, user), draft, &secret).await?;
        pools::commit(tx).await?;
        Ok((key, secret))
    }

    /// Changes a key and returns it as it is now.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] when the organization has no such key that is not revoked,
    /// [`ControlError::Invalid`] when the patch breaks a rule.
    pub async fn update_api_key(
        &self,
        org: OrgId,
        key: ApiKeyId,
        patch: ApiKeyPatch,
    ) -> Result<ApiKey, ControlError> {
        let mut tx = self.begin().await?;
        let known = sqlx::query(FIND)
            .bind(stored_id(org.0))
            .bind(stored_id(key.0))
            .fetch_optional(&mut *tx)
            .attempt("look an API key up")
            .await?
            .ok_or(ControlError::NotFound("API key"))?;
        let known = decode(&known)?;
        let draft = validated(ApiKeyDraft {
            name: patch.name.unwrap_or(known.name),
            default_tags: patch.default_tags.unwrap_or(known.default_tags),
            allowed_models: patch.allowed_models.unwrap_or(known.allowed_models),
            allowed_providers: patch.allowed_providers.unwrap_or(known.allowed_providers),
        })?;
        update(&mut tx, key, &draft).await?;
        pools::commit(tx).await?;
        Ok(ApiKey {
            name: draft.name,
            default_tags: draft.default_tags,
            allowed_models: draft.allowed_models,
            allowed_providers: draft.allowed_providers,
            ..known
        })
    }

    /// Revokes a key for good and returns when. It counts against the tier's limit no more.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] when the organization has no such key that is not revoked.
    pub async fn revoke_api_key(&self, org: OrgId, key: ApiKeyId) -> Result<TimestampMs, ControlError> {
        let now = TimestampMs::now();
        let mut tx = self.begin().await?;
        let revoked = sqlx::query(
            "UPDATE api_keys SET revoked_at = $1 WHERE org_id = $2 AND id = $3 AND revoked_at IS NULL",
        )
        .bind(now.0)
        .bind(stored_id(org.0))
        .bind(stored_id(key.0))
        .execute(&mut *tx)
        .attempt("revoke an API key")
        .await?;
        if revoked.rows_affected() == 0 {
            return Err(ControlError::NotFound("API key"));
        }
        pools::commit(tx).await?;
        Ok(now)
    }
}

/// Stores a key of the organization and the user in `owner`.
pub(crate) async fn insert(
    tx: &mut WriteTransaction,
    owner: (OrgId, UserId),
    draft: ApiKeyDraft,
    secret: &ApiKeySecret,
) -> Result<ApiKey, ControlError> {
    let key = ApiKey {
        id: ApiKeyId::random(),
        name: draft.name,
        key_prefix: secret.display_prefix().to_owned(),
        default_tags: draft.default_tags,
        allowed_models: draft.allowed_models,
        allowed_providers: draft.allowed_providers,
        last_used_at: None,
        created_at: TimestampMs::now(),
    };
    sqlx::query(
        "INSERT INTO api_keys (id, org_id, user_id, name, key_hash, key_prefix, default_tags, allowed_models,
                               allowed_providers, api_version, environment, created_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
    )
    .bind(stored_id(key.id.0))
    .bind(stored_id(owner.0.0))
    .bind(stored_id(owner.1.0))
    .bind(key.name.clone())
    .bind(SecretHash::of(secret.expose()).to_hex())
    .bind(key.key_prefix.clone())
    .bind(row::json(&key.default_tags, "default_tags")?)
    .bind(stored_list(key.allowed_models.as_ref())?)
    .bind(stored_list(key.allowed_providers.as_ref())?)
    .bind(super::CURRENT_API_VERSION)
    .bind(ENVIRONMENT)
    .bind(key.created_at.0)
    .execute(&mut **tx)
    .attempt("insert an API key")
    .await?;
    Ok(key)
}

async fn update(tx: &mut WriteTransaction, key: ApiKeyId, draft: &ApiKeyDraft) -> Result<(), ControlError> {
    sqlx::query(
        "UPDATE api_keys SET name = $1, default_tags = $2, allowed_models = $3, allowed_providers = $4
         WHERE id = $5",
    )
    .bind(draft.name.clone())
    .bind(row::json(&draft.default_tags, "default_tags")?)
    .bind(stored_list(draft.allowed_models.as_ref())?)
    .bind(stored_list(draft.allowed_providers.as_ref())?)
    .bind(stored_id(key.0))
    .execute(&mut **tx)
    .attempt("update an API key")
    .await?;
    Ok(())
}

fn stored_list(allowed: Option<&Vec<String>>) -> Result<Option<String>, ControlError> {
    allowed.map(|list| row::json(list, "allowed")).transpose()
}

/// Returns the draft with its name trimmed. Services say what is wrong with each part; here
/// nothing broken is stored.
fn validated(mut draft: ApiKeyDraft) -> Result<ApiKeyDraft, ControlError> {
    draft.name = draft.name.trim().to_owned();
    if !(1..=MAX_NAME_CHARS).contains(&draft.name.chars().count()) || !row::is_storable(&draft.name) {
        return Err(ControlError::Invalid(
            "an API key's name must have 1 to 50 characters",
        ));
    }
    let is_valid_tag = |(key, value): (&String, &String)| {
        tags::is_valid_key(key) && !key.starts_with(tags::SYSTEM_PREFIX) && tags::is_valid_value(value)
    };
    if draft.default_tags.len() > tags::MAX_TAGS || !draft.default_tags.iter().all(is_valid_tag) {
        return Err(ControlError::Invalid(
            "default tags must be at most 10 valid tags, none of them the system's",
        ));
    }
    let is_valid_list = |list: &Vec<String>| {
        list.len() <= MAX_ALLOWED
            && list
                .iter()
                .all(|entry| (1..=MAX_ALLOWED_CHARS).contains(&entry.chars().count()))
    };
    let lists = [&draft.allowed_models, &draft.allowed_providers];
    if !lists.into_iter().flatten().all(is_valid_list) {
        return Err(ControlError::Invalid(
            "allowed models and providers must be at most 50 names of 1 to 100 characters",
        ));
    }
    Ok(draft)
}
