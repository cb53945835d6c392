//! Sign-in with OpenID Connect (`spec/README.md` decision 5): the authorization code flow with PKCE,
//! where a provider is configured.
//!
//! Protocol and checks of tokens: OpenID Connect Core 1.0 §3.1, RFC 7636 (PKCE), RFC 9207 (`iss` of the
//! callback), in the crate `openidconnect`.

mod breaker;
mod config;
mod error;
mod http_client;
mod login_state;
mod provider;
mod return_path;
mod routes;

pub use config::{
    CALLBACK_PATH, InvalidOidcUrl, OidcConfig, OidcIssuer, OidcRedirectUrl, OidcSecret, ProviderLimits,
};
pub(crate) use provider::OidcProvider;
pub(crate) use routes::oidc_api;
