//! Secrets and their stored forms. No `Debug` here prints a secret.

use std::fmt;

use sha2::{Digest, Sha256};

use crate::error::ControlError;

/// What every API key's secret starts with.
const API_KEY_PREFIX: &str = "ns_live_sk_";
/// Length of the displayable start of an API key's secret, in characters.
const DISPLAY_PREFIX_CHARS: usize = 19;
/// What every invitation's token starts with.
const INVITATION_PREFIX: &str = "ns_inv_";
/// Length of the displayable start of an invitation's token, in characters.
const INVITATION_DISPLAY_CHARS: usize = 15;
/// 32 letters and digits that people do not confuse, so that 5 random bits choose one evenly.
const READABLE: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// A generated password: groups of characters joined by hyphens, 120 random bits in all.
const PASSWORD_GROUPS: usize = 4;
const PASSWORD_GROUP_CHARS: usize = 6;

macro_rules! secret_text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq)]
        pub struct $name(String);

        impl $name {
            /// Returns the secret itself, to hand to its owner.
            #[must_use]
            pub fn expose(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

secret_text!(
    /// An API key's secret: `ns_live_sk_` and 32 lower-case hex digits of 16 random bytes.
    /// Shown once, when the key is made; only its [`SecretHash`] is stored.
    ApiKeySecret
);
secret_text!(
    /// A session's token: 64 lower-case hex digits of 32 random bytes. Only its
    /// [`SecretHash`] is stored.
    SessionToken
);
secret_text!(
    /// An invitation's token: `ns_inv_` and 48 lower-case hex digits of 24 random bytes. Shown
    /// once, when the invitation is made; only its [`SecretHash`] is stored.
    InvitationToken
);
secret_text!(
    /// A password made for a person to read and type: 24 unambiguous letters and digits in
    /// four groups joined by hyphens (120 random bits).
    GeneratedPassword
);

secret_text!(
    /// A line of the file that holds the keys of a [`Keyring`](crate::Keyring), with a key.
    SealingKey
);
secret_text!(
    /// A secret that was stored sealed, in clear.
    OpenedSecret
);

impl SealingKey {
    pub(crate) fn of(line: String) -> Self {
        Self(line)
    }
}

impl OpenedSecret {
    pub(crate) fn of(plaintext: String) -> Self {
        Self(plaintext)
    }
}

impl ApiKeySecret {
    pub(crate) fn generate() -> Result<Self, ControlError> {
        Ok(Self(format!("{API_KEY_PREFIX}{}", hex(&random_bytes::<16>()?))))
    }

    /// Returns the start that may be shown and stored: 19 characters.
    #[must_use]
    pub fn display_prefix(&self) -> &str {
        self.0.get(..DISPLAY_PREFIX_CHARS).unwrap_or_default()
    }
}

impl SessionToken {
    pub(crate) fn generate() -> Result<Self, ControlError> {
        Ok(Self(hex(&random_bytes::<32>()?)))
    }
}

impl InvitationToken {
    pub(crate) fn generate() -> Result<Self, ControlError> {
        Ok(Self(format!(
            "{INVITATION_PREFIX}{}",
            hex(&random_bytes::<24>()?)
        )))
    }

    /// Returns the start that may be shown and stored: 15 characters.
    #[must_use]
    pub fn display_prefix(&self) -> &str {
        self.0.get(..INVITATION_DISPLAY_CHARS).unwrap_or_default()
    }
}

impl GeneratedPassword {
    /// Makes a new random one.
    ///
    /// # Errors
    /// [`ControlError::Random`] when the system gives no random bytes.
    pub fn generate() -> Result<Self, ControlError> {
        let bytes = random_bytes::<{ PASSWORD_GROUPS * PASSWORD_GROUP_CHARS }>()?;
        let groups = bytes.chunks(PASSWORD_GROUP_CHARS).map(|group| {
            let letter = |byte: &u8| char::from(READABLE[usize::from(byte % 32)]);
            group.iter().map(letter).collect::<String>()
        });
        Ok(Self(groups.collect::<Vec<_>>().join("-")))
    }
}

/// The SHA-256 of a secret: what is stored, looked up and cached in its place.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SecretHash([u8; 32]);

impl SecretHash {
    /// Hashes a secret as the client sent it. Any text is taken: a malformed one is found nowhere.
    #[must_use]
    pub fn of(secret: &str) -> Self {
        Self(Sha256::digest(secret.as_bytes()).into())
    }

    /// The stored form: 64 lower-case hex digits.
    pub(crate) fn to_hex(self) -> String {
        hex(&self.0)
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(..)")
    }
}

pub(crate) fn random_bytes<const N: usize>() -> Result<[u8; N], ControlError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(ControlError::Random)?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 0xf)]);
    bytes
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(*byte)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_api_key_has_the_form_that_clients_expect() {
        let secret = ApiKeySecret::generate().unwrap();
        let digits = secret.expose().strip_prefix("ns_live_sk_").unwrap();
        assert_eq!(secret.expose().len(), 43);
        assert!(
            digits
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        );
        assert_eq!(secret.display_prefix(), &secret.expose()[..19]);
        assert_ne!(secret, ApiKeySecret::generate().unwrap());
    }

    #[test]
    fn an_invitations_token_has_its_form() {
        let token = InvitationToken::generate().unwrap();
        let digits = token.expose().strip_prefix("ns_inv_").unwrap();
        assert_eq!(token.expose().len(), 55);
        assert!(
            digits
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        );
        assert_eq!(token.display_prefix(), &token.expose()[..15]);
        assert_ne!(token, InvitationToken::generate().unwrap());
    }

    #[test]
    fn a_generated_password_is_long_and_readable() {
        let password = GeneratedPassword::generate().unwrap();
        assert_eq!(password.expose().len(), 27);
        assert!(
            password
                .expose()
                .bytes()
                .all(|b| b == b'-' || READABLE.contains(&b))
        );
    }

    #[test]
    fn hashes_are_sha256_in_hex() {
        // FIPS 180-2, appendix B.1.
        assert_eq!(
            SecretHash::of("abc").to_hex(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn debug_never_prints_a_secret() {
        let key = ApiKeySecret::generate().unwrap();
        let token = SessionToken::generate().unwrap();
        let invitation = InvitationToken::generate().unwrap();
        let password = GeneratedPassword::generate().unwrap();
        let hash = SecretHash::of(key.expose());
        assert_eq!(
            format!("{key:?} {token:?} {invitation:?} {password:?} {hash:?}"),
            "ApiKeySecret(..) SessionToken(..) InvitationToken(..) GeneratedPassword(..) SecretHash(..)"
        );
    }
}
