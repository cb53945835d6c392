//! The first owner of an organization (decision 5 of the contract).

use schemas::access::{Role, Tier};
use schemas::id::{ApiKeyId, OrgId, UserId};
use schemas::time::TimestampMs;

use crate::api_keys;
use crate::error::{Attempt, ControlError};
use crate::pools::{self, WriteTransaction};
use crate::row::{self, stored_id};
use crate::secret::{ApiKeySecret, GeneratedPassword};
use crate::sessions::normalize_email;
use crate::store::ControlStore;
use crate::{orgs, password};

/// Name of the key that comes with a new organization.
const FIRST_KEY_NAME: &str = "default";

/// What a new organization starts with.
#[derive(Debug, Clone)]
pub struct BootstrapRequest {
    /// 1 to 50 characters.
    pub org_name: String,
    /// The owner's address; its case does not matter.
    pub email: String,
    /// The plan, which is active at once.
    pub tier: Tier,
}

/// What a new organization got. The secrets are shown here and nowhere else.
#[derive(Debug, Clone)]
pub struct Bootstrapped {
    /// The new organization.
    pub org_id: OrgId,
    /// Its owner.
    pub user_id: UserId,
    /// The owner's address, in lower case.
    pub email: String,
    /// The owner's password. None where the user existed already: theirs still holds.
    pub password: Option<GeneratedPassword>,
    /// The secret of the organization's first key.
    pub api_key: ApiKeySecret,
    /// The identifier of that key.
    pub api_key_id: ApiKeyId,
}

impl ControlStore {
    /// Makes an organization with its owner, its plan and one API key named `default`, all or
    /// nothing. A user with this address is reused and keeps the password; a taken slug gets a
    /// suffix, so that the same name may be used twice.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] for a bad name or address, [`ControlError::Database`] for the rest.
    pub async fn bootstrap(&self, request: BootstrapRequest) -> Result<Bootstrapped, ControlError> {
        let org_name = orgs::validate_name(&request.org_name)?;
        let email = normalize_email(&request.email)?;
        let new_password = GeneratedPassword::generate()?;
        // Hashed even where it turns out not to be needed: hashing must not hold the write lock.
        let password_hash = password::hash(self.password_slots(), new_password.expose().to_owned()).await?;
        let api_key = ApiKeySecret::generate()?;
        let now = TimestampMs::now();

        let mut tx = self.begin().await?;
        let (user_id, is_new) = find_or_insert_user(&mut tx, &email, password_hash, now).await?;
        let org_id = orgs::insert(&mut tx, org_name, now).await?;
        insert_membership(&mut tx, org_id, user_id, now).await?;
        insert_subscription(&mut tx, org_id, request.tier).await?;
        let key = api_keys::NewApiKey {
            org_id,
            user_id,
            name: FIRST_KEY_NAME,
            secret: &api_key,
        };
        let api_key_id = api_keys::insert(&mut tx, key, now).await?;
        pools::commit(tx).await?;
        let password = is_new.then_some(new_password);
        Ok(Bootstrapped {
            org_id,
            user_id,
            email,
            password,
            api_key,
            api_key_id,
        })
    }
}

/// Returns the user with this address, and whether it was made just now.
async fn find_or_insert_user(
    tx: &mut WriteTransaction,
    email: &str,
    password_hash: String,
    now: TimestampMs,
) -> Result<(UserId, bool), ControlError> {
    let known = sqlx::query("SELECT id FROM users WHERE email = $1")
        .bind(email.to_owned())
        .fetch_optional(&mut **tx)
        .attempt("look a user up")
        .await?;
    if let Some(known) = known {
        return Ok((UserId(row::uuid(&known, "id")?), false));
    }
    let user = UserId::random();
    sqlx::query("INSERT INTO users (id, email, password_hash, created_at) VALUES ($1, $2, $3, $4)")
        .bind(stored_id(user.0))
        .bind(email.to_owned())
        .bind(password_hash)
        .bind(now.0)
        .execute(&mut **tx)
        .attempt("insert a user")
        .await
        .map_err(|error| error.or_conflict("the user was made at the same time elsewhere"))?;
    Ok((user, true))
}

async fn insert_membership(
    tx: &mut WriteTransaction,
    org: OrgId,
    user: UserId,
    now: TimestampMs,
) -> Result<(), ControlError> {
    sqlx::query("INSERT INTO memberships (org_id, user_id, role, created_at) VALUES ($1, $2, $3, $4)")
        .bind(stored_id(org.0))
        .bind(stored_id(user.0))
        .bind(Role::Owner.as_str())
        .bind(now.0)
        .execute(&mut **tx)
        .attempt("insert a membership")
        .await?;
    Ok(())
}

async fn insert_subscription(tx: &mut WriteTransaction, org: OrgId, tier: Tier) -> Result<(), ControlError> {
    sqlx::query("INSERT INTO subscriptions (org_id, tier, status) VALUES ($1, $2, 'active')")
        .bind(stored_id(org.0))
        .bind(tier.as_str())
        .execute(&mut **tx)
        .attempt("insert a subscription")
        .await?;
    Ok(())
}
