//! Secrets at rest: encrypted under keys of the operator's, which are not in the store.
//!
//! A value is sealed with XChaCha20-Poly1305 under the newest key of a [`Keyring`] and opened with
//! the key that its text names. Nonces are random: at 192 bits none comes twice. The context says
//! where the value belongs and is authenticated with it, so that a sealed value that is moved to
//! another place in the store is not opened there.

mod key_file;

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};

use crate::error::ControlError;
use crate::secret::{OpenedSecret, SealingKey, random_bytes};

const NONCE_BYTES: usize = 24;
const KEY_BYTES: usize = 32;

/// The keys that secrets are sealed under, by version. The newest seals; all open.
pub struct Keyring {
    keys: BTreeMap<NonZeroU32, XChaCha20Poly1305>,
    newest: NonZeroU32,
}

impl Keyring {
    /// Reads a key file: one `<version>:<base64 of 32 bytes>` a line, versions from 1, in any
    /// order. Empty lines do not count.
    ///
    /// # Errors
    /// [`ControlError::KeyFile`], which names the line and prints nothing of it;
    /// [`ControlError::Invalid`] when the file has no key.
    pub fn parse(file: &str) -> Result<Self, ControlError> {
        let keys = key_file::parse(file)?;
        let newest = *keys
            .last_key_value()
            .ok_or(ControlError::Invalid("the key file has no key"))?
            .0;
        let ciphers = keys
            .into_iter()
            .map(|(version, key)| (version, XChaCha20Poly1305::new(&key.into())));
        Ok(Self {
            keys: ciphers.collect(),
            newest,
        })
    }

    /// Makes a new random key as a line of a key file, without its end.
    ///
    /// # Errors
    /// [`ControlError::Random`] when the system gives no random bytes.
    pub fn generate_key(version: NonZeroU32) -> Result<SealingKey, ControlError> {
        let key = STANDARD.encode(random_bytes::<KEY_BYTES>()?);
        Ok(SealingKey::of(format!("{version}:{key}")))
    }

    /// Returns the version of the key that seals.
    #[must_use]
    pub fn newest_version(&self) -> NonZeroU32 {
        self.newest
    }

    /// Encrypts a text that [`Keyring::open`] gives back for the same context. The result is
    /// `v<key version>:<base64 of nonce and ciphertext>`, another one each time.
    ///
    /// # Errors
    /// [`ControlError::Random`] when the system gives no random bytes, [`ControlError::Invalid`]
    /// for a text of more than 256 GiB.
    pub fn seal(&self, plaintext: &str, context: &str) -> Result<String, ControlError> {
        let nonce = random_bytes::<NONCE_BYTES>()?;
        let payload = Payload {
            msg: plaintext.as_bytes(),
            aad: context.as_bytes(),
        };
        let ciphertext = self
            .key(self.newest)?
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_| ControlError::Invalid("the secret is too long to be sealed"))?;
        let body = STANDARD.encode([&nonce[..], &ciphertext].concat());
        Ok(format!("{}{body}", prefix(self.newest)))
    }

    /// Decrypts what [`Keyring::seal`] has made for the same context.
    ///
    /// # Errors
    /// [`ControlError::MissingKey`] when the keyring lacks the key, [`ControlError::Corrupt`] for
    /// a text that was not sealed, was changed since, or was sealed for another context.
    pub fn open(&self, sealed: &str, context: &str) -> Result<OpenedSecret, ControlError> {
        const CORRUPT: ControlError = ControlError::Corrupt { column: "sealed" };
        let (version, body) = parse_sealed(sealed).ok_or(CORRUPT)?;
        let key = self.key(version)?;
        let bytes = STANDARD.decode(body).map_err(|_| CORRUPT)?;
        let (nonce, ciphertext) = bytes.split_first_chunk::<NONCE_BYTES>().ok_or(CORRUPT)?;
        let payload = Payload {
            msg: ciphertext,
            aad: context.as_bytes(),
        };
        let plaintext = key.decrypt(&XNonce::from(*nonce), payload).map_err(|_| CORRUPT)?;
        String::from_utf8(plaintext)
            .map(OpenedSecret::of)
            .map_err(|_| CORRUPT)
    }

    fn key(&self, version: NonZeroU32) -> Result<&XChaCha20Poly1305, ControlError> {
        self.keys
            .get(&version)
            .ok_or(ControlError::MissingKey { version })
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keyring(newest {}, ..)", self.newest)
    }
}

/// What a text that is sealed under this key starts with.
pub(crate) fn prefix(version: NonZeroU32) -> String {
    format!("v{version}:")
}

fn parse_sealed(sealed: &str) -> Option<(NonZeroU32, &str)> {
    let (version, body) = sealed.strip_prefix('v')?.split_once(':')?;
    Some((key_file::parse_version(version)?, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(number: u32) -> NonZeroU32 {
        NonZeroU32::new(number).unwrap()
    }

    fn line(number: u32) -> String {
        Keyring::generate_key(version(number))
            .unwrap()
            .expose()
            .to_owned()
    }

    #[test]
    fn what_is_sealed_opens_for_its_context_alone() {
        let keyring = Keyring::parse(&line(1)).unwrap();
        for text in ["", "sk_live_é\0", &"x".repeat(100_000)] {
            let sealed = keyring.seal(text, "org/stripe").unwrap();
            assert!(sealed.starts_with("v1:"));
            assert_eq!(keyring.open(&sealed, "org/stripe").unwrap().expose(), text);
            for other in ["org/strip", "org/stripe2", ""] {
                let opened = keyring.open(&sealed, other);
                assert!(matches!(opened, Err(ControlError::Corrupt { .. })), "{other}");
            }
        }
        let twice = [(); 2].map(|()| keyring.seal("same", "context").unwrap());
        assert_ne!(twice[0], twice[1]);
    }

    #[test]
    fn a_changed_character_anywhere_is_found() {
        let keyring = Keyring::parse(&line(1)).unwrap();
        let sealed = keyring.seal("sk_live_1234", "context").unwrap();
        for index in 0..sealed.len() {
            let mut changed = sealed.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(keyring.open(&changed, "context").is_err(), "{index}");
        }
        for broken in [
            "", "v1:", "v1", "v0:AAAA", "v01:AAAA", "v-1:AAAA", "1:AAAA", "v1:AAAA",
        ] {
            let opened = keyring.open(broken, "context");
            assert!(matches!(opened, Err(ControlError::Corrupt { .. })), "{broken}");
        }
        let cut = &sealed[..sealed.len() - 4];
        assert!(keyring.open(cut, "context").is_err());
    }

    #[test]
    fn the_newest_key_seals_and_all_open() {
        let (first, second) = (line(2), line(10));
        let old = Keyring::parse(&first).unwrap();
        let both = Keyring::parse(&format!("{second}\n{first}\n")).unwrap();
        assert_eq!(both.newest_version(), version(10));
        let by_old = old.seal("text", "context").unwrap();
        let by_both = both.seal("text", "context").unwrap();
        assert!(by_old.starts_with("v2:") && by_both.starts_with("v10:"));
        assert_eq!(both.open(&by_old, "context").unwrap().expose(), "text");
        let unknown = old.open(&by_both, "context");
        let missing = version(10);
        assert!(matches!(unknown, Err(ControlError::MissingKey { version }) if version == missing));
        // Another key under the same version is not the same key.
        let other = Keyring::parse(&line(2)).unwrap();
        assert!(other.open(&by_old, "context").is_err());
    }

    /// Made by an implementation of draft-irtf-cfrg-xchacha that is not this one.
    #[test]
    fn the_stored_form_stays_readable() {
        let keyring = Keyring::parse("7:AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
        let sealed = "v7:QEFCQ0RFRkdISUpLTE1OT1BRUlNUVVZXp1JaHLmWHEm+xrSKORrhC05Vh735mure+eApxQ==";
        assert_eq!(
            keyring.open(sealed, "ns_org_1/stripe").unwrap().expose(),
            "sk_live_1234"
        );
    }

    #[test]
    fn debug_prints_no_key_and_no_secret() {
        let line = line(3);
        let keyring = Keyring::parse(&line).unwrap();
        let key = Keyring::generate_key(version(1)).unwrap();
        let opened = keyring.open(&keyring.seal("hunter2", "c").unwrap(), "c").unwrap();
        assert_eq!(
            format!("{keyring:?} {key:?} {opened:?}"),
            "Keyring(newest 3, ..) SealingKey(..) OpenedSecret(..)"
        );
    }
}
