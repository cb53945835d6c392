//! What a sign-in under way keeps in the browser.

use std::fmt;

use axum::http::HeaderMap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openidconnect::{CsrfToken, Nonce, PkceCodeVerifier};
use sha2::{Digest, Sha256};

use super::return_path::ReturnPath;
use crate::session_auth::cookie_value;

const COOKIE_NAME: &str = "ns-oidc";
/// How long a person may take to sign in at the provider.
const COOKIE_MAX_AGE_SECS: u64 = 10 * 60;

/// The secrets of one sign-in, and where it leads. The cookie needs no seal: the state must equal the
/// callback's, the nonce the ID token's, and the provider checks the verifier; the path is checked anew.
#[derive(Clone)]
pub(super) struct LoginState {
    state: String,
    nonce: String,
    verifier: String,
    pub(super) return_to: ReturnPath,
}

impl LoginState {
    pub(super) fn new(
        state: &CsrfToken,
        nonce: &Nonce,
        verifier: &PkceCodeVerifier,
        return_to: ReturnPath,
    ) -> Self {
        Self {
            state: state.secret().clone(),
            nonce: nonce.secret().clone(),
            verifier: verifier.secret().clone(),
            return_to,
        }
    }

    /// Returns the sign-in that the browser has under way.
    pub(super) fn of_cookie(headers: &HeaderMap) -> Option<Self> {
        let mut fields = cookie_value(headers, COOKIE_NAME)?.split('.');
        let mut secret = || fields.next().filter(|text| !text.is_empty()).map(str::to_owned);
        let (state, nonce, verifier) = (secret()?, secret()?, secret()?);
        let return_to = URL_SAFE_NO_PAD.decode(secret()?).ok()?;
        let return_to = ReturnPath::parse(str::from_utf8(&return_to).ok()?)?;
        fields.next().is_none().then_some(Self {
            state,
            nonce,
            verifier,
            return_to,
        })
    }

    /// Returns the `Set-Cookie` value that keeps the sign-in, for ten minutes and the callback alone.
    pub(super) fn to_cookie(&self, is_secure: bool) -> String {
        let return_to = URL_SAFE_NO_PAD.encode(self.return_to.as_str());
        let value = format!("{}.{}.{}.{return_to}", self.state, self.nonce, self.verifier);
        cookie(&value, COOKIE_MAX_AGE_SECS, is_secure)
    }

    /// Tells whether a callback answers this sign-in. Hashes are compared, so the time that it takes tells
    /// nothing about the state.
    pub(super) fn matches(&self, state: &str) -> bool {
        Sha256::digest(state) == Sha256::digest(&self.state)
    }

    pub(super) fn nonce(&self) -> Nonce {
        Nonce::new(self.nonce.clone())
    }

    pub(super) fn verifier(&self) -> PkceCodeVerifier {
        PkceCodeVerifier::new(self.verifier.clone())
    }
}

impl fmt::Debug for LoginState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginState")
            .field("return_to", &self.return_to)
            .finish_non_exhaustive()
    }
}

/// Returns the `Set-Cookie` value that ends a sign-in.
pub(super) fn removed_cookie(is_secure: bool) -> String {
    cookie("", 0, is_secure)
}

/// `Lax`, because the provider's redirect is a navigation from another site.
fn cookie(value: &str, max_age_secs: u64, is_secure: bool) -> String {
    let secure = if is_secure { "; Secure" } else { "" };
    format!(
        "{COOKIE_NAME}={value}; HttpOnly; SameSite=Lax; Path=/api/auth/oidc; Max-Age={max_age_secs}{secure}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::header;

    fn login() -> LoginState {
        LoginState {
            state: "the-state".to_owned(),
            nonce: "the-nonce".to_owned(),
            verifier: "the-verifier".to_owned(),
            return_to: ReturnPath::parse("/app/margins?a=b").unwrap(),
        }
    }

    fn read(cookie: &str) -> Option<LoginState> {
        LoginState::of_cookie(&HeaderMap::from_iter([(header::COOKIE, cookie.parse().unwrap())]))
    }

    #[test]
    fn a_cookie_is_read_as_it_was_set() {
        let set = login().to_cookie(true);
        let (cookie, attributes) = set.split_once(';').unwrap();
        assert_eq!(
            attributes,
            " HttpOnly; SameSite=Lax; Path=/api/auth/oidc; Max-Age=600; Secure"
        );
        let login = read(cookie).unwrap();
        assert!(login.matches("the-state") && !login.matches("the-stat"));
        assert_eq!(login.nonce().secret(), "the-nonce");
        assert_eq!(login.verifier().secret(), "the-verifier");
        assert_eq!(login.return_to.as_str(), "/app/margins?a=b");
    }

    #[test]
    fn a_cookie_of_another_form_is_none() {
        let evil = URL_SAFE_NO_PAD.encode("//evil.example");
        for bad in [
            "ns-oidc=".to_owned(),
            "ns-oidc=a.b.c".to_owned(),
            "ns-oidc=a.b.c.L2FwcA.d".to_owned(),
            "ns-oidc=a..c.L2FwcA".to_owned(),
            "ns-oidc=a.b.c.***".to_owned(),
            format!("ns-oidc=a.b.c.{evil}"),
        ] {
            assert!(read(&bad).is_none(), "{bad}");
        }
        assert!(read("ns-oidc=a.b.c.L2FwcA").is_some());
    }

    #[test]
    fn debug_prints_no_secret() {
        assert!(!format!("{:?}", login()).contains("the-"));
    }
}
