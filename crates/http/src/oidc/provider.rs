//! The provider: what it announces of itself, where it sends people, and whom it vouches for.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use openidconnect::core::{
    CoreAuthenticationFlow, CoreClient, CoreClientAuthMethod, CoreErrorResponseType, CoreIdTokenClaims,
    CoreIdTokenVerifier, CoreProviderMetadata, CoreTokenResponse, CoreUserInfoClaims,
};
use openidconnect::{
    AccessTokenHash, AuthType, AuthorizationCode, ClaimsVerificationError, ClientId, CsrfToken,
    DiscoveryError, EndpointMaybeSet, EndpointNotSet, EndpointSet, JwsSigningAlgorithm, Nonce,
    OAuth2TokenResponse, PkceCodeChallenge, RequestTokenError, Scope, SignatureVerificationError,
    StandardErrorResponse, TokenResponse, UserInfoError,
};
use url::Url;

use super::breaker::Breaker;
use super::config::OidcConfig;
use super::error::OidcError;
use super::http_client::{CallError, ProviderHttp};
use super::login_state::LoginState;
use super::return_path::ReturnPath;

/// How long metadata and keys count. A key that they lack is asked for at once; one that the provider
/// has withdrawn is trusted no longer than this.
const METADATA_MAX_AGE: Duration = Duration::from_secs(60 * 60);

const DISCOVERY: &str = "metadata and keys";
const TOKEN: &str = "an ID token";
const USER_INFO: &str = "the user's address";
const UNREADABLE: &str = "the answer cannot be read";

type Client = CoreClient<
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// Whom the provider vouches for.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) issuer: String,
    /// The user's name at the issuer, which never changes.
    pub(super) subject: String,
    /// Empty where the provider tells none.
    pub(super) email: String,
    pub(super) is_email_verified: bool,
}

/// A configured provider. It is first asked when somebody signs in.
#[derive(Debug)]
pub(crate) struct OidcProvider {
    config: OidcConfig,
    http: ProviderHttp,
    breaker: Breaker,
    announced: RwLock<Option<Announced>>,
}

/// Metadata and keys, and when they were asked for.
#[derive(Clone)]
struct Announced {
    metadata: Arc<CoreProviderMetadata>,
    at: Instant,
}

impl OidcProvider {
    pub(crate) fn new(config: OidcConfig) -> Self {
        let limits = config.limits;
        Self {
            http: ProviderHttp::new(limits.call_timeout),
            breaker: Breaker::new(limits.max_failures, limits.open_for),
            announced: RwLock::new(None),
            config,
        }
    }

    /// Returns where the browser signs in, and what it keeps meanwhile.
    pub(super) async fn begin(&self, return_to: ReturnPath) -> Result<(Url, LoginState), OidcError> {
        let RelyingParty { client, .. } = self.party(self.metadata().await?);
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let scopes = self.config.scopes.iter().cloned().map(Scope::new);
        let (url, state, nonce) = client
            .authorize_url(
                CoreAuthenticationFlow::AuthorizationCode,
                CsrfToken::new_random,
                Nonce::new_random,
            )
            .add_scopes(scopes)
            .set_pkce_challenge(challenge)
            .url();
        let login = LoginState::new(&state, &nonce, &verifier, return_to);
        Ok((url, login))
    }

    /// Tells whether `issuer`, as the callback names it (RFC 9207), is this provider.
    pub(super) fn is_issuer(&self, issuer: &str) -> bool {
        self.config.issuer.0.as_str() == issuer
    }

    /// Redeems the code of a callback: returns whom it stands for.
    pub(super) async fn identify(&self, code: String, login: &LoginState) -> Result<Identity, OidcError> {
        let mut party = self.party(self.metadata().await?);
        let tokens = self.redeem(&party.client, code, login).await?;
        let claims = match party.verified(&tokens, &login.nonce()) {
            Err(error) if error.may_lack_key() => {
                // The provider has changed its keys since they were asked for.
                party = self.party(self.discover().await?);
                party.verified(&tokens, &login.nonce())?
            }
            outcome => outcome?,
        };
        let (email, is_email_verified) = match claims.email() {
            Some(email) => (email.to_string(), claims.email_verified()),
            // Many providers tell the address here only (OpenID Connect Core 1.0 §5.4).
            None => self.address(&party.client, &tokens, claims).await?,
        };
        Ok(Identity {
            issuer: self.config.issuer.0.to_string(),
            subject: claims.subject().to_string(),
            email,
            is_email_verified: is_email_verified.unwrap_or(false),
        })
    }

    async fn metadata(&self) -> Result<Arc<CoreProviderMetadata>, OidcError> {
        let announced = self
            .announced
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        match announced {
            Some(announced) if announced.at.elapsed() < METADATA_MAX_AGE => Ok(announced.metadata),
            _ => self.discover().await,
        }
    }

    /// Asks for metadata and keys, and keeps them.
    async fn discover(&self) -> Result<Arc<CoreProviderMetadata>, OidcError> {
        let at = Instant::now();
        let issuer = self.config.issuer.0.clone();
        let metadata = self
            .guarded(async {
                CoreProviderMetadata::discover_async(issuer, &self.http)
                    .await
                    .map_err(discovery_failed)
            })
            .await?;
        let metadata = Arc::new(metadata);
        let announced = Announced {
            metadata: Arc::clone(&metadata),
            at,
        };
        *self.announced.write().unwrap_or_else(PoisonError::into_inner) = Some(announced);
        Ok(metadata)
    }

    fn party(&self, metadata: Arc<CoreProviderMetadata>) -> RelyingParty {
        let client = CoreClient::from_provider_metadata(
            CoreProviderMetadata::clone(&metadata),
            ClientId::new(self.config.client_id.clone()),
            Some(self.config.client_secret.to_client_secret()),
        );
        RelyingParty {
            client: client
                .set_redirect_uri(self.config.redirect_url.0.clone())
                .set_auth_type(auth_type(&metadata)),
            metadata,
        }
    }

    async fn redeem(
        &self,
        client: &Client,
        code: String,
        login: &LoginState,
    ) -> Result<CoreTokenResponse, OidcError> {
        let request = client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|error| OidcError::outage(TOKEN, error))?
            .set_pkce_verifier(login.verifier());
        self.guarded(async { request.request_async(&self.http).await.map_err(redeeming_failed) })
            .await
    }

    /// Returns the user's address, and whether the provider has verified it; empty where it tells none.
    async fn address(
        &self,
        client: &Client,
        tokens: &CoreTokenResponse,
        claims: &CoreIdTokenClaims,
    ) -> Result<(String, Option<bool>), OidcError> {
        let subject = claims.subject().clone();
        let Ok(request) = client.user_info(tokens.access_token().clone(), Some(subject)) else {
            return Ok((String::new(), None));
        };
        let user_info: CoreUserInfoClaims = self
            .guarded(async { request.request_async(&self.http).await.map_err(user_info_failed) })
            .await?;
        let email = user_info.email().map(|email| email.to_string());
        Ok((email.unwrap_or_default(), user_info.email_verified()))
    }

    /// Makes a call unless the breaker is open; an outage counts against the provider, a refusal does not.
    async fn guarded<T>(&self, call: impl Future<Output = Result<T, OidcError>>) -> Result<T, OidcError> {
        let permit = self.breaker.admit(Instant::now()).ok_or(OidcError::LeftAlone)?;
        let outcome = call.await;
        match &outcome {
            Err(error) if error.is_retryable() => permit.fail(Instant::now()),
            Ok(_) | Err(_) => permit.succeed(),
        }
        outcome
    }
}

/// Prints no keys: they are long.
impl fmt::Debug for Announced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announced")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

fn discovery_failed(error: DiscoveryError<CallError>) -> OidcError {
    match error {
        DiscoveryError::Request(error) => OidcError::outage(DISCOVERY, error),
        error => OidcError::outage(DISCOVERY, error),
    }
}

/// Keeps nothing of an answer that cannot be read: it may hold tokens.
fn redeeming_failed(
    error: RequestTokenError<CallError, StandardErrorResponse<CoreErrorResponseType>>,
) -> OidcError {
    match error {
        RequestTokenError::ServerResponse(refusal) => OidcError::Refused(refusal.error().to_string()),
        RequestTokenError::Request(error) => OidcError::outage(TOKEN, error),
        RequestTokenError::Parse(..) | RequestTokenError::Other(_) => OidcError::outage(TOKEN, UNREADABLE),
    }
}

/// Keeps nothing of an answer that cannot be read: it may tell of the user.
fn user_info_failed(error: UserInfoError<CallError>) -> OidcError {
    match error {
        UserInfoError::Request(error) => OidcError::outage(USER_INFO, error),
        UserInfoError::ClaimsVerification(error) => OidcError::Token(error),
        UserInfoError::Response(status, ..) if status.is_client_error() => {
            OidcError::Refused(status.to_string())
        }
        _ => OidcError::outage(USER_INFO, UNREADABLE),
    }
}

/// The secret goes into the header, unless the provider takes it in the body alone.
fn auth_type(metadata: &CoreProviderMetadata) -> AuthType {
    match metadata.token_endpoint_auth_methods_supported() {
        Some(methods)
            if methods.contains(&CoreClientAuthMethod::ClientSecretPost)
                && !methods.contains(&CoreClientAuthMethod::ClientSecretBasic) =>
        {
            AuthType::RequestBody
        }
        _ => AuthType::BasicAuth,
    }
}

/// This service as the provider's client, by metadata and keys of one time.
struct RelyingParty {
    client: Client,
    metadata: Arc<CoreProviderMetadata>,
}

impl RelyingParty {
    /// Returns the claims of the ID token, which is signed by the provider, for this client and this
    /// sign-in, and in force; and the access token is the one that it was issued with.
    fn verified<'t>(
        &self,
        tokens: &'t CoreTokenResponse,
        nonce: &Nonce,
    ) -> Result<&'t CoreIdTokenClaims, OidcError> {
        let token = tokens.id_token().ok_or(OidcError::Proof("there is none"))?;
        let verifier = self.verifier();
        let claims = token.claims(&verifier, nonce).map_err(OidcError::Token)?;
        if let Some(expected) = claims.access_token_hash() {
            let hash = AccessTokenHash::from_token(
                tokens.access_token(),
                token.signing_alg().map_err(unsigned)?,
                token.signing_key(&verifier).map_err(unsigned)?,
            );
            if hash.ok().as_ref() != Some(expected) {
                return Err(OidcError::Proof("the access token is another one's"));
            }
        }
        Ok(claims)
    }

    /// Takes signatures by the provider's keys alone, not by the secret that we share with it.
    fn verifier(&self) -> CoreIdTokenVerifier<'_> {
        let announced = self.metadata.id_token_signing_alg_values_supported();
        let algorithms = announced
            .iter()
            .filter(|algorithm| !algorithm.uses_shared_secret());
        self.client
            .id_token_verifier()
            .set_allowed_algs(algorithms.cloned())
    }
}

fn unsigned(error: SignatureVerificationError) -> OidcError {
    OidcError::Token(ClaimsVerificationError::SignatureVerification(error))
}
