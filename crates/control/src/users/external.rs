//! Users whom an OpenID Connect issuer vouches for.

use schemas::id::UserId;
use schemas::time::TimestampMs;

use super::{find, insert};
use crate::email;
use crate::error::{Attempt, ControlError};
use crate::pools::{self, WriteTransaction};
use crate::row::{self, stored_id};
use crate::store::ControlStore;

const FIND: &str = "SELECT user_id FROM external_identities WHERE issuer = $1 AND subject = $2";

impl ControlStore {
    /// Returns the user that this subject of this issuer is. One who comes for the first time is
    /// linked to the user with this address, or made: both only where the issuer has verified the
    /// address, which decides whose invitations the user may accept. Later the address does not
    /// matter.
    ///
    /// # Errors
    /// [`ControlError::Forbidden`] for a new subject with an address that is not verified,
    /// [`ControlError::Invalid`] for an issuer or subject that is empty or has the character NUL,
    /// or a new subject with what cannot be an address.
    pub async fn upsert_external_user(
        &self,
        issuer: &str,
        subject: &str,
        email: &str,
        email_verified: bool,
    ) -> Result<UserId, ControlError> {
        if [issuer, subject]
            .into_iter()
            .any(|text| text.is_empty() || !row::is_storable(text))
        {
            return Err(ControlError::Invalid(
                "an external identity needs an issuer and a subject",
            ));
        }
        let known = sqlx::query(FIND)
            .bind(issuer.to_owned())
            .bind(subject.to_owned())
            .fetch_optional(self.reads())
            .attempt("look an external identity up")
            .await?;
        if let Some(known) = known {
            return row::uuid(&known, "user_id").map(UserId);
        }
        let email = email::normalize(email)?;
        if !email_verified {
            return Err(ControlError::Forbidden("the e-mail address is not verified"));
        }
        let mut tx = self.begin().await?;
        let user = link(&mut tx, issuer, subject, &email).await?;
        pools::commit(tx).await?;
        Ok(user)
    }
}

/// Links the identity, unless another call has done so meanwhile.
async fn link(
    tx: &mut WriteTransaction,
    issuer: &str,
    subject: &str,
    email: &str,
) -> Result<UserId, ControlError> {
    let known = sqlx::query(FIND)
        .bind(issuer.to_owned())
        .bind(subject.to_owned())
        .fetch_optional(&mut **tx)
        .attempt("look an external identity up")
        .await?;
    if let Some(known) = known {
        return row::uuid(&known, "user_id").map(UserId);
    }
    let user = match find(tx, email).await? {
        Some(user) => user,
        None => insert(tx, email, None).await?,
    };
    sqlx::query(
        "INSERT INTO external_identities (issuer, subject, user_id, created_at) VALUES ($1, $2, $3, $4)",
    )
    .bind(issuer.to_owned())
    .bind(subject.to_owned())
    .bind(stored_id(user.0))
    .bind(TimestampMs::now().0)
    .execute(&mut **tx)
    .attempt("link an external identity")
    .await?;
    Ok(user)
}
