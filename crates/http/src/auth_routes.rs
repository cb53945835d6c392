//! Sign-in, sign-out and who one is (`spec/README.md` decision 5, `spec/keys-orgs-auth.md` §3.3).

use std::num::NonZeroU32;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use control::SessionToken;
use schemars::{Schema, SchemaGenerator, json_schema};
use schemas::access::Role;
use schemas::api::accounts::{IntrospectionView, SessionView, Success};
use schemas::api::shapes::id;
use schemas::id::{OrgId, UserId};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::api::Api;
use crate::body::read_json;
use crate::client_ip::limit_key;
use crate::endpoint::{Access, Endpoint, shape_of};
use crate::error::{ApiError, ErrorCode};
use crate::key_auth::ApiKeyCaller;
use crate::members::{Fault, Members, text};
use crate::reply;
use crate::request_context::RequestContext;
use crate::session_auth::{SessionCaller, session_cookie, session_token};
use crate::state::HttpState;

/// Returns the endpoints under `/api/auth`.
pub(crate) fn auth_api() -> Api<HttpState> {
    let sign_in = Endpoint::post(
        "/api/auth/login",
        Access::Public,
        "Signs in with a password, and sets the session cookie.",
    )
    .json(credentials)
    .answers_json(200, shape_of::<SessionView>())
    .refuses(&[ErrorCode::AuthenticationRequired]);
    let sign_out = Endpoint::post(
        "/api/auth/logout",
        Access::Public,
        "Ends the session, where there is one.",
    )
    .answers_json(200, shape_of::<Success>());
    let show = Endpoint::get(
        "/api/auth/session",
        Access::Session(Role::Viewer),
        "Returns who is signed in, and where.",
    )
    .answers_json(200, shape_of::<SessionView>());
    let switch = Endpoint::post(
        "/api/auth/switch-org",
        Access::Session(Role::Viewer),
        "Makes another of the caller's organizations the active one.",
    )
    .json(switch_target)
    .answers_json(200, shape_of::<SessionView>());
    let introspect = Endpoint::get("/api/auth/introspect", Access::ApiKey, "Returns whose key it is.")
        .answers_json(200, shape_of::<IntrospectionView>());
    Api::new()
        .endpoint(sign_in, self::sign_in)
        .endpoint(sign_out, self::sign_out)
        .endpoint(show, get_session)
        .endpoint(switch, switch_org)
        .endpoint(introspect, introspect_key)
}

fn credentials(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["email", "password"],
        "properties": {
            "email": { "type": "string", "minLength": 1 },
            "password": { "type": "string", "minLength": 1 },
        },
    })
}

fn switch_target(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "required": ["orgId"],
        "properties": { "orgId": id(OrgId::PREFIX, true) },
    })
}

fn view(caller: SessionCaller) -> SessionView {
    SessionView {
        user_id: caller.user_id,
        org_id: caller.org_id,
        role: caller.role,
    }
}

async fn get_session(caller: SessionCaller) -> Result<Response, ApiError> {
    reply::json(StatusCode::OK, &view(caller))
}

async fn introspect_key(caller: ApiKeyCaller) -> Result<Response, ApiError> {
    reply::json(
        StatusCode::OK,
        &IntrospectionView {
            user_id: caller.user_id(),
            key_id: caller.key_id(),
        },
    )
}

async fn switch_org(
    State(http): State<HttpState>,
    _caller: SessionCaller,
    request: Request,
) -> Result<Response, ApiError> {
    let token = session_token(request.headers()).map(str::to_owned);
    let token = token.ok_or_else(ApiError::no_session)?;
    let body = read_json(request).await?;
    let mut members = Members::of(&body)?;
    let org = members.required("orgId", |value| {
        OrgId::parse_lenient(text(value)?).map_err(|_| Fault::from("Expected the id of an organization"))
    });
    members.finish()?;
    let org = org.ok_or_else(ApiError::not_a_member)?;
    http.control().switch_org(&token, org).await?;
    let caller = SessionCaller::resume(&http, &token).await?;
    reply::json(StatusCode::OK, &view(caller))
}

async fn sign_in(
    State(http): State<HttpState>,
    context: RequestContext,
    request: Request,
) -> Result<Response, ApiError> {
    let ip = limit_key(context.client_ip());
    http.sign_in_ips()
        .take(&ip, NonZeroU32::MIN)
        .map_err(ApiError::rate_limited)?;
    let Credentials { email, password } = Credentials::of_json(&read_json(request).await?)?;
    let account = Sha256::digest(email.trim().to_lowercase()).into();
    http.sign_in_accounts()
        .take(&account, NonZeroU32::MIN)
        .map_err(ApiError::rate_limited)?;

    let user = http
        .control()
        .authenticate(&email, &password)
        .await
        .map_err(ApiError::unavailable)?;
    // One message, so that nobody learns which addresses have an account.
    let user =
        user.ok_or_else(|| ApiError::new(ErrorCode::AuthenticationRequired, "Invalid email or password."))?;
    let token = start_session(&http, user).await?;
    let caller = SessionCaller::resume(&http, token.expose()).await?;
    with_cookie(reply::json(StatusCode::OK, &view(caller))?, Some(&token), &http)
}

/// Starts a session of the user, in the organization that was joined first.
pub(crate) async fn start_session(http: &HttpState, user: UserId) -> Result<SessionToken, ApiError> {
    let org = http.control().default_org(user).await?;
    let org = org.ok_or_else(|| ApiError::forbidden("You are not a member of any organization."))?;
    Ok(http.control().create_session(user, org).await?)
}

/// Signing out without a session, or twice, is no error.
async fn sign_out(State(http): State<HttpState>, headers: HeaderMap) -> Result<Response, ApiError> {
    if let Some(token) = session_token(&headers) {
        http.control()
            .delete_session(token)
            .await
            .map_err(ApiError::unavailable)?;
    }
    with_cookie(reply::json(StatusCode::OK, &Success::DONE)?, None, &http)
}

fn with_cookie(
    mut response: Response,
    token: Option<&SessionToken>,
    http: &HttpState,
) -> Result<Response, ApiError> {
    let cookie = session_cookie(token, http.config().behind_tls);
    let cookie = HeaderValue::try_from(cookie).map_err(ApiError::internal)?;
    response.headers_mut().insert(header::SET_COOKIE, cookie);
    Ok(response)
}

struct Credentials {
    email: String,
    password: String,
}

impl Credentials {
    fn of_json(body: &Value) -> Result<Self, ApiError> {
        let mut members = Members::of(body)?;
        let credentials = Self {
            email: members.required("email", filled).unwrap_or_default(),
            password: members.required("password", filled).unwrap_or_default(),
        };
        members.finish().map(|()| credentials)
    }
}

fn filled(value: &Value) -> Result<String, Fault> {
    match value.as_str() {
        Some(text) if !text.is_empty() => Ok(text.to_owned()),
        _ => Err("Expected a non-empty string".into()),
    }
}
