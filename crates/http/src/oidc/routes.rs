//! `GET /api/auth/oidc/login` and `GET /api/auth/oidc/callback`.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use control::{ControlError, SessionToken};
use schemas::id::UserId;
use serde_json::json;
use tracing::warn;

use super::config::CALLBACK_PATH;
use super::error::{OidcError, not_signed_in};
use super::login_state::{LoginState, removed_cookie};
use super::provider::{Identity, OidcProvider};
use super::return_path::ReturnPath;
use crate::api::Api;
use crate::auth_routes::start_session;
use crate::client_ip::limit_key;
use crate::endpoint::{Access, Endpoint};
use crate::error::{ApiError, ErrorCause, ErrorCode};
use crate::query::QueryParams;
use crate::request_context::RequestContext;
use crate::session_auth::session_cookie;
use crate::state::HttpState;

/// RFC 6749 §4.1.2.1 and OpenID Connect Core 1.0 §3.1.2.6.
const AUTHORIZATION_ERRORS: [&str; 16] = [
    "access_denied",
    "account_selection_required",
    "consent_required",
    "interaction_required",
    "invalid_request",
    "invalid_request_object",
    "invalid_request_uri",
    "invalid_scope",
    "login_required",
    "registration_not_supported",
    "request_not_supported",
    "request_uri_not_supported",
    "server_error",
    "temporarily_unavailable",
    "unauthorized_client",
    "unsupported_response_type",
];

/// Returns the endpoints. They are there without a provider too, and then answer 404.
pub(crate) fn oidc_api() -> Api<HttpState> {
    let start = Endpoint::get(
        "/api/auth/oidc/login",
        Access::Public,
        "Sends the browser to the identity provider to sign in. 404 where none is configured.",
    )
    .query(
        "returnTo",
        json!({ "type": "string", "pattern": "^/", "maxLength": 2048, "default": "/app" }),
        "Where the browser goes afterwards: an absolute path of this host.",
    )
    .answers_redirect(302, "To the identity provider.")
    .refuses(&[ErrorCode::NotFound]);
    let finish = Endpoint::get(
        CALLBACK_PATH,
        Access::Public,
        "Takes the browser back from the identity provider, and sets the session cookie.",
    )
    .query("state", json!({ "type": "string" }), "Which sign-in it is.")
    .query(
        "code",
        json!({ "type": "string" }),
        "Who signed in, for the provider.",
    )
    .query("error", json!({ "type": "string" }), "Why nobody did.")
    .query(
        "iss",
        json!({ "type": "string" }),
        "The issuer, where it names itself.",
    )
    .answers_redirect(302, "To where the sign-in was to lead.")
    .refuses(&[
        ErrorCode::NotFound,
        ErrorCode::AuthenticationRequired,
        ErrorCode::Forbidden,
    ]);
    Api::new()
        .endpoint(start, start_login)
        .endpoint(finish, finish_login)
}

fn provider(http: &HttpState) -> Result<&OidcProvider, ApiError> {
    let no_provider = || ApiError::not_found("No identity provider is configured.");
    http.oidc().ok_or_else(no_provider)
}

async fn start_login(State(http): State<HttpState>, mut query: QueryParams) -> Result<Response, ApiError> {
    let provider = provider(&http)?;
    let return_to = query.parse("returnTo", |text| {
        ReturnPath::parse(text).ok_or_else(|| "Expected an absolute path of this host".to_owned())
    });
    query.finish()?;
    let (url, login) = provider.begin(return_to.unwrap_or_default()).await?;
    let cookie = login.to_cookie(http.config().behind_tls);
    redirect(url.as_str(), &[cookie])
}

/// Ends the sign-in however it went; but one that the provider's outage cut short may be repeated.
async fn finish_login(
    State(http): State<HttpState>,
    context: RequestContext,
    headers: HeaderMap,
    query: QueryParams,
) -> Result<Response, ApiError> {
    let provider = provider(&http)?;
    let ip = limit_key(context.client_ip());
    http.sign_in_ips()
        .take(&ip, NonZeroU32::MIN)
        .map_err(ApiError::rate_limited)?;
    let is_secure = http.config().behind_tls;
    let login = LoginState::of_cookie(&headers);
    let signed_in = sign_in(&http, provider, login, &query, &context).await;
    let refused = match signed_in {
        Ok((token, return_to)) => {
            let cookies = [session_cookie(Some(&token), is_secure), removed_cookie(is_secure)];
            return redirect(return_to.as_str(), &cookies);
        }
        Err(refused) => refused,
    };
    let is_repeatable = refused.code() == ErrorCode::ServiceUnavailable;
    let mut response = refused.into_response();
    if !is_repeatable {
        append_cookies(&mut response, &[removed_cookie(is_secure)])?;
    }
    Ok(response)
}

async fn sign_in(
    http: &HttpState,
    provider: &OidcProvider,
    login: Option<LoginState>,
    query: &QueryParams,
    context: &RequestContext,
) -> Result<(SessionToken, ReturnPath), ApiError> {
    let state = query.text("state").unwrap_or_default();
    let login = login
        .filter(|login| login.matches(state))
        .ok_or_else(not_signed_in)?;
    let identity = match redeemable_code(provider, query) {
        Ok(code) => provider.identify(code.to_owned(), &login).await,
        Err(refused) => Err(refused),
    };
    let identity = identity.map_err(|error| refusal(error, context))?;
    let user = user_of(http, &identity).await?;
    let token = start_session(http, user).await?;
    Ok((token, login.return_to))
}

fn redeemable_code<'q>(provider: &OidcProvider, query: &'q QueryParams) -> Result<&'q str, OidcError> {
    if query
        .text("iss")
        .is_some_and(|issuer| !provider.is_issuer(issuer))
    {
        return Err(OidcError::Refused("the callback names another issuer".to_owned()));
    }
    if let Some(error) = query.text("error") {
        return Err(OidcError::Refused(known_error(error).to_owned()));
    }
    let code = query.text("code").filter(|code| !code.is_empty());
    code.ok_or_else(|| OidcError::Refused("the callback has no code".to_owned()))
}

/// Anybody can write a callback's query, so only words of the standards are logged.
fn known_error(error: &str) -> &'static str {
    let known = AUTHORIZATION_ERRORS.iter().find(|known| **known == error);
    known.copied().unwrap_or("an unknown error")
}

/// An outage is logged by the edge, as every 5xx; a refusal here.
fn refusal(error: OidcError, context: &RequestContext) -> ApiError {
    if error.is_retryable() {
        return error.into();
    }
    let error = ErrorCause(Arc::new(error));
    warn!(%error, request_id = context.request_id(), "sign-in with the identity provider was refused");
    not_signed_in()
}

async fn user_of(http: &HttpState, identity: &Identity) -> Result<UserId, ApiError> {
    let user = http
        .control()
        .upsert_external_user(
            &identity.issuer,
            &identity.subject,
            &identity.email,
            identity.is_email_verified,
        )
        .await;
    user.map_err(|error| match error {
        // The provider's claims are no input of the caller's.
        ControlError::Invalid(_) => {
            ApiError::forbidden("The identity provider gave no usable e-mail address.")
        }
        error => error.into(),
    })
}

fn redirect(location: &str, cookies: &[String]) -> Result<Response, ApiError> {
    let location = HeaderValue::try_from(location).map_err(ApiError::internal)?;
    let mut response = (StatusCode::FOUND, [(header::LOCATION, location)]).into_response();
    append_cookies(&mut response, cookies)?;
    Ok(response)
}

fn append_cookies(response: &mut Response, cookies: &[String]) -> Result<(), ApiError> {
    for cookie in cookies {
        let cookie = HeaderValue::try_from(cookie).map_err(ApiError::internal)?;
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(())
}
