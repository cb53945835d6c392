//! Sign-in and sessions (decision 5 of the contract, keys-orgs-auth §3.2).

use schemas::access::{Role, Tier};
use schemas::id::{OrgId, UserId};
use schemas::time::TimestampMs;
use sqlx::any::AnyRow;

use crate::error::{Attempt, ControlError};
use crate::orgs::effective_tier;
use crate::password;
use crate::pools;
use crate::row::{self, stored_id};
use crate::secret::{SecretHash, SessionToken};
use crate::store::ControlStore;

/// How long a session lasts: 30 days, in milliseconds, however much it is used.
const SESSION_MS: i64 = 30 * 24 * 60 * 60 * 1_000;
const MAX_EMAIL_CHARS: usize = 254;

const RESOLVE: &str = "
    SELECT t.user_id, t.org_id, m.role, s.tier, s.status
    FROM sessions t
    LEFT JOIN memberships m ON m.org_id = t.org_id AND m.user_id = t.user_id
    LEFT JOIN subscriptions s ON s.org_id = t.org_id
    WHERE t.token_hash = $1 AND t.expires_at > $2";

const OLDEST_MEMBERSHIP: &str = "
    SELECT m.user_id, m.org_id, m.role, s.tier, s.status
    FROM memberships m
    LEFT JOIN subscriptions s ON s.org_id = m.org_id
    WHERE m.user_id = $1 ORDER BY m.created_at, m.org_id LIMIT 1";

/// Who a session speaks for, as of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// The user who signed in.
    pub user_id: UserId,
    /// The active organization.
    pub org_id: OrgId,
    /// The user's role there. None passes no check: the user is in no organization any more, or
    /// the stored role is not one of the four.
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
        let account = self.find_account(&lookup_form(email)).await?;
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
        let email = lookup_form(email);
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

    /// Returns the session with this token, unless it is unknown or has run out. Role and tier are
    /// read anew each time. A user who has left the session's organization gets the one they
    /// joined first instead; one who is in none gets no role.
    ///
    /// # Errors
    /// [`ControlError::Database`] when the answer is not known.
    pub async fn resolve_session(&self, token: &str) -> Result<Option<Session>, ControlError> {
        let stored = sqlx::query(RESOLVE)
            .bind(SecretHash::of(token).to_hex())
            .bind(TimestampMs::now().0)
            .fetch_optional(self.reads())
            .attempt("look a session up")
            .await?;
        let Some(stored) = stored else { return Ok(None) };
        if row::optional_text(&stored, "role")?.is_some() {
            return decode(&stored).map(Some);
        }
        let other = sqlx::query(OLDEST_MEMBERSHIP)
            .bind(row::text(&stored, "user_id")?)
            .fetch_optional(self.reads())
            .attempt("read a user's organizations")
            .await?;
        decode(other.as_ref().unwrap_or(&stored)).map(Some)
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

fn decode(row: &AnyRow) -> Result<Session, ControlError> {
    Ok(Session {
        user_id: UserId(row::uuid(row, "user_id")?),
        org_id: OrgId(row::uuid(row, "org_id")?),
        role: row::optional_text(row, "role")?.as_deref().and_then(Role::parse),
        tier: effective_tier(row)?,
    })
}

/// Returns the address as it would be stored, whether it can be one or not.
fn lookup_form(email: &str) -> String {
    email.trim().to_lowercase()
}

/// Returns the address trimmed and in lower case, its stored form.
///
/// # Errors
/// [`ControlError::Invalid`] when it cannot be an address. Whether it receives mail is not checked.
pub(crate) fn normalize_email(email: &str) -> Result<String, ControlError> {
    let email = lookup_form(email);
    let has_two_parts = email
        .rsplit_once('@')
        .is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty());
    let is_clean = !email.chars().any(|c| c.is_whitespace() || c.is_control());
    if !has_two_parts || !is_clean || email.chars().count() > MAX_EMAIL_CHARS {
        return Err(ControlError::Invalid(
            "an e-mail address must look like name@example.com",
        ));
    }
    Ok(email)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_normalized_or_refused() {
        assert_eq!(normalize_email(" Ada@Example.COM ").unwrap(), "ada@example.com");
        for bad in [
            "",
            "ada",
            "@example.com",
            "ada@",
            "a da@example.com",
            "ada@exa\0mple.com",
        ] {
            assert!(normalize_email(bad).is_err(), "{bad}");
        }
    }
}
