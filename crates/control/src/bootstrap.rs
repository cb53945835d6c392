//! The first owner of an organization (decision 5 of the contract).

use schemas::access::{Role, Tier};
use schemas::id::{ApiKeyId, OrgId, UserId};

use crate::api_keys::{self, ApiKeyDraft};
use crate::error::ControlError;
use crate::pools;
use crate::secret::{ApiKeySecret, GeneratedPassword};
use crate::store::ControlStore;
use crate::{email, members, orgs, password, subscriptions, users};

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
        let email = email::normalize(&request.email)?;
        let new_password = GeneratedPassword::generate()?;
        // Hashed even where it turns out not to be needed: hashing must not hold the write lock.
        let password_hash = password::hash(self.password_slots(), new_password.expose().to_owned()).await?;
        let api_key = ApiKeySecret::generate()?;

        let mut tx = self.begin().await?;
        let (user_id, is_new) = users::find_or_insert(&mut tx, &email, password_hash).await?;
        let org_id = orgs::insert_shared(&mut tx, org_name).await?;
        members::insert(&mut tx, org_id, user_id, Role::Owner).await?;
        subscriptions::set(&mut tx, org_id, request.tier).await?;
        let draft = ApiKeyDraft {
            name: FIRST_KEY_NAME.to_owned(),
            ..ApiKeyDraft::default()
        };
        let key = api_keys::insert(&mut tx, (org_id, user_id), draft, &api_key).await?;
        pools::commit(tx).await?;
        let password = is_new.then_some(new_password);
        Ok(Bootstrapped {
            org_id,
            user_id,
            email,
            password,
            api_key,
            api_key_id: key.id,
        })
    }
}
