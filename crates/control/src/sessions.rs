//! Sign-in and sessions (decision 5 of the contract, keys-orgs-auth §3.2).

mod active_org;

use schemas::access::{Role, Tier};
use schemas::id::{OrgId, UserId};
use schemas::time::TimestampMs;
use sqlx::any::AnyRow;

use crate::email;
use crate::error::{Attempt, ControlError};
use crate::password;
use crate::pools;
use crate::row::{self, stored_id};
use crate::secret::{SecretHash, SessionToken};
use crate::store::ControlStore;

/// How long a session lasts: 30 days, in milliseconds, however much it is used.
const SESSION_MS: i64 = 30 * 24 * 60 * 60 * 1_000;

/// Who a session speaks for, as of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The user who signed in.
    pub user_id: UserId,
    /// The active organization.
    pub org_id: OrgId,
    /// The user's role there. None passes no check: the stored role is not one of the four.
    pub role: Option<Role>,
    /// The organization's effective tier.
    pub tier: Tier,
}

impl ControlStore {
    /// Returns the user with this address and password. An unknown address and a user without a
    /// password take as long as a wrong password.
    ///
    /// # Errors
    /// [`ControlError::Database`] and [`ControlError::Corrupt`] when the answer is not known.
    pub async fn authenticate(&self, email: &str, password: &str) -> Result<Option<UserId>, ControlError> {
        let account = self.find_account(&email::lookup_form(email)).await?;
        let stored = match &account {
            Some(row) => row::optional_text(row, "password_hash")?,
            None => None,
        };
        let matches = password::verify(self.password_slots(), password.to_owned(), stored).await?;
        match account {
            Some(row) if matches => Ok(Some(UserId(row::uuid(&row, "id")?))),
            _ => Ok(None),
        }
    }

    async fn find_account(&self, email: &str) -> Result<Option<AnyRow>, ControlError> {
        if !row::is_storable(email) {
            return Ok(None);
        }
        sqlx::query("SELECT id, password_hash FROM users WHERE email = $1")
            .bind(email.to_owned())
            .fetch_optional(self.reads())
            .attempt("look a user up")
            .await
    }

    /// Replaces the password of the user with this address and ends all of the user's sessions.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] when it has fewer than 12 characters, [`ControlError::NotFound`]
    /// when there is no such user.
    pub async fn set_password(&self, email: &str, password: &str) -> Result<UserId, ControlError> {
        password::validate(password)?;
        let email = email::lookup_form(email);
        if !row::is_storable(&email) {
            return Err(ControlError::NotFound("user"));
        }
        let hash = password::hash(self.password_slots(), password.to_owned()).await?;
        let mut tx = self.begin().await?;
        let user = sqlx::query("UPDATE users SET password_hash = $1 WHERE email = $2 RETURNING id")
            .bind(hash)
            .bind(email)
            .fetch_optional(&mut *tx)
            .attempt("replace a password")
            .await?
            .ok_or(ControlError::NotFound("user"))?;
        let user = UserId(row::uuid(&user, "id")?);
        sqlx::query("DELETE FROM sessions WHERE user_id = $1")
            .bind(stored_id(user.0))
            .execute(&mut *tx)
            .attempt("end a user's sessions")
            .await?;
        pools::commit(tx).await?;
        Ok(user)
    }

    /// Starts a session of 30 days and removes those that have run out.
    ///
    /// # Errors
    /// [`ControlError::NotFound`] when the user or the organization does not exist.
    pub async fn create_session(&self, user: UserId, org: OrgId) -> Result<SessionToken, ControlError> {
        let token = SessionToken::generate()?;
        let now = TimestampMs::now();
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM sessions WHERE expires_at <= $1")
            .bind(now.0)
            .execute(&mut *tx)
            .attempt("remove old sessions")
            .await?;
        sqlx::query(
            "INSERT INTO sessions (token_hash, user_id, org_id, created_at, expires_at)
             VALUES ($1, $2, $3, $4, $5)",
        )
        .bind(SecretHash::of(token.expose()).to_hex())
        .bind(stored_id(user.0))
        .bind(stored_id(org.0))
        .bind(now.0)
        .bind(now.0.saturating_add(SESSION_MS))
        .execute(&mut *tx)
        .attempt("insert a session")
        .await
        .map_err(|error| error.or_missing("user or organization"))?;
        pools::commit(tx).await?;
        Ok(token)
    }

    /// Ends the session with this token. An unknown one is no error.
    ///
    /// # Errors
    /// [`ControlError::Database`] when it cannot be removed.
    pub async fn delete_session(&self, token: &str) -> Result<(), ControlError> {
        let mut tx = self.begin().await?;
        sqlx::query("DELETE FROM sessions WHERE token_hash = $1")
            .bind(SecretHash::of(token).to_hex())
            .execute(&mut *tx)
            .attempt("end a session")
            .await?;
        pools::commit(tx).await
    }
}
