//! Users.

mod external;

use schemas::id::UserId;
use schemas::time::TimestampMs;
use sqlx::any::AnyRow;

use crate::email;
use crate::error::{Attempt, ControlError};
use crate::password;
use crate::pools::{self, WriteTransaction};
use crate::row::{self, stored_id};
use crate::secret::GeneratedPassword;
use crate::store::ControlStore;

const FIND_EMAIL: &str = "SELECT email FROM users WHERE id = $1";
const FIND_BY_EMAIL: &str = "SELECT id FROM users WHERE email = $1";

/// A person who signs in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The user's identifier.
    pub id: UserId,
    /// The user's address, in lower case.
    pub email: String,
    /// When the user was made.
    pub created_at: TimestampMs,
}

impl ControlStore {
    /// Returns the user's address, in lower case, if there is such a user.
    ///
    /// # Errors
    /// [`ControlError::Database`] when it cannot be read.
    pub async fn user_email(&self, user: UserId) -> Result<Option<String>, ControlError> {
        sqlx::query(FIND_EMAIL)
            .bind(stored_id(user.0))
            .fetch_optional(self.reads())
            .attempt("read a user's address")
            .await?
            .map(|row| row::text(&row, "email"))
            .transpose()
    }

    /// Returns the user with this address, whose case does not matter.
    ///
    /// # Errors
    /// [`ControlError::Database`] when it cannot be read.
    pub async fn find_user(&self, email: &str) -> Result<Option<UserId>, ControlError> {
        let email = email::lookup_form(email);
        if !row::is_storable(&email) {
            return Ok(None);
        }
        sqlx::query(FIND_BY_EMAIL)
            .bind(email)
            .fetch_optional(self.reads())
            .attempt("look a user up")
            .await?
            .map(|row| row::uuid(&row, "id").map(UserId))
            .transpose()
    }

    /// Returns all users, oldest first.
    ///
    /// # Errors
    /// [`ControlError::Database`] when they cannot be read.
    pub async fn list_users(&self) -> Result<Vec<User>, ControlError> {
        let rows = sqlx::query("SELECT id, email, created_at FROM users ORDER BY created_at, id")
            .fetch_all(self.reads())
            .attempt("list the users")
            .await?;
        rows.iter().map(decode).collect()
    }

    /// Makes a user with a new password, which is returned here and never again. The personal
    /// organization follows when the user first signs in.
    ///
    /// # Errors
    /// [`ControlError::Invalid`] for what cannot be an address, [`ControlError::Conflict`] when
    /// there is a user with this address.
    pub async fn create_user(&self, email: &str) -> Result<(UserId, GeneratedPassword), ControlError> {
        let email = email::normalize(email)?;
        let new_password = GeneratedPassword::generate()?;
        let hash = password::hash(self.password_slots(), new_password.expose().to_owned()).await?;
        let mut tx = self.begin().await?;
        let user = insert(&mut tx, &email, Some(hash)).await?;
        pools::commit(tx).await?;
        Ok((user, new_password))
    }
}

fn decode(row: &AnyRow) -> Result<User, ControlError> {
    Ok(User {
        id: UserId(row::uuid(row, "id")?),
        email: row::text(row, "email")?,
        created_at: row::timestamp(row, "created_at")?,
    })
}

/// Returns the user's address in its stored form, if there is such a user.
pub(crate) async fn email_of(
    tx: &mut WriteTransaction,
    user: UserId,
) -> Result<Option<String>, ControlError> {
    sqlx::query(FIND_EMAIL)
        .bind(stored_id(user.0))
        .fetch_optional(&mut **tx)
        .attempt("read a user's address")
        .await?
        .map(|row| row::text(&row, "email"))
        .transpose()
}

/// Returns the user with this address in its stored form.
pub(crate) async fn find(tx: &mut WriteTransaction, email: &str) -> Result<Option<UserId>, ControlError> {
    sqlx::query(FIND_BY_EMAIL)
        .bind(email.to_owned())
        .fetch_optional(&mut **tx)
        .attempt("look a user up")
        .await?
        .map(|row| row::uuid(&row, "id").map(UserId))
        .transpose()
}

/// Returns the user with this address, and whether it was made just now.
pub(crate) async fn find_or_insert(
    tx: &mut WriteTransaction,
    email: &str,
    password_hash: String,
) -> Result<(UserId, bool), ControlError> {
    match find(tx, email).await? {
        Some(user) => Ok((user, false)),
        None => Ok((insert(tx, email, Some(password_hash)).await?, true)),
    }
}

/// Inserts a user, who without a password cannot sign in with one.
pub(crate) async fn insert(
    tx: &mut WriteTransaction,
    email: &str,
    password_hash: Option<String>,
) -> Result<UserId, ControlError> {
    let user = UserId::random();
    sqlx::query("INSERT INTO users (id, email, password_hash, created_at) VALUES ($1, $2, $3, $4)")
        .bind(stored_id(user.0))
        .bind(email.to_owned())
        .bind(password_hash)
        .bind(TimestampMs::now().0)
        .execute(&mut **tx)
        .attempt("insert a user")
        .await
        .map_err(|error| error.or_conflict("there is a user with this address already"))?;
    Ok(user)
}
