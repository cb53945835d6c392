//! Settings of the provider.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use openidconnect::{ClientSecret, IssuerUrl, RedirectUrl};
use url::{Host, Url};

/// Where the provider sends the browser back to.
pub const CALLBACK_PATH: &str = "/api/auth/oidc/callback";

/// The provider, and what it knows this service by.
#[derive(Debug, Clone)]
pub struct OidcConfig {
    /// The issuer. Its metadata are at `/.well-known/openid-configuration` under it.
    pub issuer: OidcIssuer,
    /// The client's id at the provider.
    pub client_id: String,
    /// The client's secret at the provider.
    pub client_secret: OidcSecret,
    /// The callback's URL, as the provider and the browser know it.
    pub redirect_url: OidcRedirectUrl,
    /// Scopes that are asked for beside `openid`. Default `email`: without an address nobody new
    /// can sign in.
    pub scopes: Vec<String>,
    /// How long the provider is waited for.
    pub limits: ProviderLimits,
}

impl OidcConfig {
    /// Returns settings with the default scopes and limits.
    #[must_use]
    pub fn new(
        issuer: OidcIssuer,
        client_id: String,
        client_secret: OidcSecret,
        redirect_url: OidcRedirectUrl,
    ) -> Self {
        Self {
            issuer,
            client_id,
            client_secret,
            redirect_url,
            scopes: vec!["email".to_owned()],
            limits: ProviderLimits::default(),
        }
    }
}

/// When a provider counts as down (`spec/keys-orgs-auth.md` §3.2).
#[derive(Debug, Clone, Copy)]
pub struct ProviderLimits {
    /// How long one call may take. Default 5 s.
    pub call_timeout: Duration,
    /// Failures in a row after which the provider is left alone. Default 5.
    pub max_failures: u32,
    /// How long it is left alone. Default 30 s.
    pub open_for: Duration,
}

impl Default for ProviderLimits {
    fn default() -> Self {
        Self {
            call_timeout: Duration::from_secs(5),
            max_failures: 5,
            open_for: Duration::from_secs(30),
        }
    }
}

/// An issuer: `https`, or `http` on this machine, without query and fragment (OpenID Connect
/// Discovery 1.0 §3). Compared to the character, so a final slash counts.
#[derive(Debug, Clone)]
pub struct OidcIssuer(pub(super) IssuerUrl);

/// The URL of this service's callback: `https`, or `http`, ending in [`CALLBACK_PATH`].
#[derive(Debug, Clone)]
pub struct OidcRedirectUrl(pub(super) RedirectUrl);

/// A text that is no such URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidOidcUrl {
    /// Not an absolute URL.
    #[error("must be an absolute URL such as https://accounts.example.com")]
    NotAbsolute,
    /// The provider's answers could be changed on the way.
    #[error("must start with https://; http:// is for a provider on this machine only")]
    Unprotected,
    /// A query or a fragment.
    #[error("must have neither a query nor a fragment")]
    HasQuery,
    /// Another path than that of the callback.
    #[error("must end in {CALLBACK_PATH}")]
    NotTheCallback,
}

fn parse(text: &str) -> Result<Url, InvalidOidcUrl> {
    let url = Url::parse(text).map_err(|_| InvalidOidcUrl::NotAbsolute)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(InvalidOidcUrl::NotAbsolute);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(InvalidOidcUrl::HasQuery);
    }
    Ok(url)
}

/// Tells whether nobody on the way can read or change what is sent to `url`.
pub(super) fn is_protected(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_here)
}

impl FromStr for OidcIssuer {
    type Err = InvalidOidcUrl;

    fn from_str(text: &str) -> Result<Self, InvalidOidcUrl> {
        if !is_protected(&parse(text)?) {
            return Err(InvalidOidcUrl::Unprotected);
        }
        let issuer = IssuerUrl::new(text.to_owned());
        issuer.map(Self).map_err(|_| InvalidOidcUrl::NotAbsolute)
    }
}

impl FromStr for OidcRedirectUrl {
    type Err = InvalidOidcUrl;

    fn from_str(text: &str) -> Result<Self, InvalidOidcUrl> {
        if parse(text)?.path() != CALLBACK_PATH {
            return Err(InvalidOidcUrl::NotTheCallback);
        }
        let redirect_url = RedirectUrl::new(text.to_owned());
        redirect_url.map(Self).map_err(|_| InvalidOidcUrl::NotAbsolute)
    }
}

/// The client's secret; `Debug` does not show it.
#[derive(Clone)]
pub struct OidcSecret(String);

impl OidcSecret {
    /// Takes a secret as a file holds it, with a final newline or without; none where it is blank.
    #[must_use]
    pub fn of(text: &str) -> Option<Self> {
        let secret = text.trim();
        (!secret.is_empty()).then(|| Self(secret.to_owned()))
    }

    pub(super) fn to_client_secret(&self) -> ClientSecret {
        ClientSecret::new(self.0.clone())
    }
}

impl fmt::Debug for OidcSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OidcSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer(text: &str) -> Result<(), InvalidOidcUrl> {
        text.parse::<OidcIssuer>().map(drop)
    }

    #[test]
    fn an_issuer_is_reached_over_tls_or_on_this_machine() {
        for good in [
            "https://accounts.example.com",
            "https://login.example.com/tenant/v2.0",
            "http://127.0.0.1:4000",
            "http://[::1]:4000",
            "http://localhost:4000/realms/acme",
        ] {
            assert_eq!(issuer(good), Ok(()), "{good}");
        }
        for (bad, reason) in [
            ("accounts.example.com", InvalidOidcUrl::NotAbsolute),
            ("ftp://accounts.example.com", InvalidOidcUrl::NotAbsolute),
            ("http://accounts.example.com", InvalidOidcUrl::Unprotected),
            ("http://localhost.example.com", InvalidOidcUrl::Unprotected),
            ("https://accounts.example.com/?a=b", InvalidOidcUrl::HasQuery),
        ] {
            assert_eq!(issuer(bad), Err(reason), "{bad}");
        }
    }

    #[test]
    fn the_redirect_url_is_that_of_the_callback() {
        let redirect_url = |text: &str| text.parse::<OidcRedirectUrl>().map(drop);
        assert_eq!(
            redirect_url("https://app.example.com/api/auth/oidc/callback"),
            Ok(())
        );
        assert_eq!(
            redirect_url("http://127.0.0.1:8080/api/auth/oidc/callback"),
            Ok(())
        );
        let refused = redirect_url("https://app.example.com/callback").unwrap_err();
        assert_eq!(refused.to_string(), "must end in /api/auth/oidc/callback");
    }

    #[test]
    fn a_secret_is_read_as_files_hold_it_and_never_printed() {
        let secret = OidcSecret::of("hunter2-hunter2\n").unwrap();
        assert_eq!(secret.to_client_secret().secret(), "hunter2-hunter2");
        assert_eq!(format!("{secret:?}"), "OidcSecret(..)");
        assert!(OidcSecret::of(" \n").is_none());
    }
}
