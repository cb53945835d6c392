//! Passwords: argon2id, in a blocking task, a few at a time.

use std::sync::Arc;

use argon2::{Argon2, PasswordHasher, PasswordVerifier, password_hash};
use tokio::sync::Semaphore;

use crate::error::ControlError;

/// Fewest characters of a password (decision 5 of the contract).
pub const MIN_PASSWORD_CHARS: usize = 12;

/// Most hashes computed at once. Each takes 19 MiB and tens of milliseconds of one core, so
/// that a flood of sign-ins waits here and takes neither all memory nor all cores.
pub(crate) const MAX_CONCURRENT_HASHES: usize = 4;

/// Verified where the account is unknown or has no password, so that both take equally long.
/// Same parameters as a real hash; no password is known to match.
const DUMMY_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bWFyZ2luc3RyZWFtLWR1bQ$AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// # Errors
/// [`ControlError::Invalid`] when the password is too short.
pub(crate) fn validate(password: &str) -> Result<(), ControlError> {
    if password.chars().count() < MIN_PASSWORD_CHARS {
        return Err(ControlError::Invalid(
            "a password must have at least 12 characters",
        ));
    }
    Ok(())
}

/// Returns the argon2id hash as a PHC string, with a random salt and the parameters that OWASP
/// recommends (19 MiB, two passes, one lane).
pub(crate) async fn hash(slots: &Arc<Semaphore>, password: String) -> Result<String, ControlError> {
    let hashed = run(slots, move || {
        Argon2::default()
            .hash_password(password.as_bytes())
            .map(|hash| hash.to_string())
    });
    hashed.await?.map_err(ControlError::PasswordHash)
}

/// Tells whether the password matches the stored hash; without one, false after the same work.
pub(crate) async fn verify(
    slots: &Arc<Semaphore>,
    password: String,
    stored: Option<String>,
) -> Result<bool, ControlError> {
    let verified = run(slots, move || {
        let hash = stored.as_deref().unwrap_or(DUMMY_HASH);
        let outcome = Argon2::default().verify_password(password.as_bytes(), hash);
        outcome.map(|()| stored.is_some())
    });
    match verified.await? {
        Ok(matches) => Ok(matches),
        Err(password_hash::Error::PasswordInvalid) => Ok(false),
        Err(_) => Err(ControlError::Corrupt {
            column: "password_hash",
        }),
    }
}

/// Runs `work` off the async workers. The slot goes with the work, not with the caller: a caller
/// who hangs up does not free it while the work still runs.
async fn run<T: Send + 'static>(
    slots: &Arc<Semaphore>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ControlError> {
    // The semaphore is never closed, so there is a slot in the end.
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    let task = tokio::task::spawn_blocking(move || {
        let result = work();
        drop(slot);
        result
    });
    task.await.map_err(ControlError::Task)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots() -> Arc<Semaphore> {
        Arc::new(Semaphore::new(MAX_CONCURRENT_HASHES))
    }

    #[tokio::test]
    async fn only_the_right_password_matches() {
        let stored = hash(&slots(), "correct horse battery".into()).await.unwrap();
        assert!(stored.starts_with("$argon2id$v=19$"));
        assert!(
            verify(&slots(), "correct horse battery".into(), Some(stored.clone()))
                .await
                .unwrap()
        );
        assert!(
            !verify(&slots(), "correct horse batterz".into(), Some(stored))
                .await
                .unwrap()
        );
        assert!(
            !verify(&slots(), "correct horse battery".into(), None)
                .await
                .unwrap()
        );
        let corrupt = verify(&slots(), "any".into(), Some("plain".into())).await;
        assert!(matches!(corrupt, Err(ControlError::Corrupt { .. })));
    }

    #[tokio::test]
    async fn the_dummy_hash_costs_what_a_real_one_costs() {
        let stored = hash(&slots(), "correct horse battery".into()).await.unwrap();
        let parameters = |phc: &str| phc.split('$').take(4).collect::<Vec<_>>().join("$");
        assert_eq!(parameters(&stored), parameters(DUMMY_HASH));
        assert_eq!(stored.len(), DUMMY_HASH.len());
    }

    #[test]
    fn short_passwords_are_refused() {
        assert!(validate("elevenchars").is_err());
        assert!(validate("twelve chars").is_ok());
        assert!(validate("éééééééééééé").is_ok());
    }
}
