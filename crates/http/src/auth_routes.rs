//! Sign-in, sign-out and who one is (`spec/README.md` decision 5, `spec/keys-orgs-auth.md` §3.3).

use std::num::NonZeroU32;

use axum::Router;
use axum::extract::{FromRef, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use axum::routing::{get, post};
use control::SessionToken;
use schemas::access::Role;
use schemas::id::{ApiKeyId, OrgId, UserId};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::body::read_json;
use crate::client_ip::limit_key;
use crate::error::{ApiError, ErrorCode, Issue};
use crate::key_auth::ApiKeyCaller;
use crate::reply;
use crate::request_context::RequestContext;
use crate::session_auth::{SessionCaller, session_cookie, session_token};
use crate::state::HttpState;

/// Returns the routes under `/api/auth`.
pub fn auth_router<S>() -> Router<S>
where
    HttpState: FromRef<S>,
    S: Clone + Send + Sync + 'static,
{
    Router::new()
        .route("/api/auth/login", post(sign_in))
        .route("/api/auth/logout", post(sign_out))
        .route("/api/auth/session", get(get_session))
        .route("/api/auth/introspect", get(introspect_key))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionBody {
    user_id: UserId,
    org_id: OrgId,
    role: Role,
}

impl SessionBody {
    fn of(caller: SessionCaller) -> Self {
        Self {
            user_id: caller.user_id,
            org_id: caller.org_id,
            role: caller.role,
        }
    }
}

async fn get_session(caller: SessionCaller) -> Result<Response, ApiError> {
    reply::json(StatusCode::OK, &SessionBody::of(caller))
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct KeyBody {
    user_id: UserId,
    key_id: ApiKeyId,
}

async fn introspect_key(caller: ApiKeyCaller) -> Result<Response, ApiError> {
    reply::json(
        StatusCode::OK,
        &KeyBody {
            user_id: caller.user_id(),
            key_id: caller.key_id(),
        },
    )
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
    let org = http.control().default_org(user).await?;
    let org = org.ok_or_else(|| ApiError::forbidden("You are not a member of any organization."))?;
    let token = http.control().create_session(user, org).await?;
    let caller = SessionCaller::resume(&http, token.expose()).await?;
    with_cookie(
        reply::json(StatusCode::OK, &SessionBody::of(caller))?,
        Some(&token),
        &http,
    )
}

/// Signing out without a session, or twice, is no error.
async fn sign_out(State(http): State<HttpState>, headers: HeaderMap) -> Result<Response, ApiError> {
    if let Some(token) = session_token(&headers) {
        http.control()
            .delete_session(token)
            .await
            .map_err(ApiError::unavailable)?;
    }
    with_cookie(
        reply::json(StatusCode::OK, &json!({ "success": true }))?,
        None,
        &http,
    )
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
        if !body.is_object() {
            return Err(ApiError::validation(&[Issue::new(Vec::new(), "Expected object")]));
        }
        let mut issues = Vec::new();
        let mut member = |name: &'static str| match body.get(name) {
            Some(Value::String(text)) if !text.is_empty() => text.clone(),
            found => {
                issues.push(Issue::at(
                    name,
                    if found.is_some() {
                        "Expected a non-empty string"
                    } else {
                        "Required"
                    },
                ));
                String::new()
            }
        };
        let credentials = Self {
            email: member("email"),
            password: member("password"),
        };
        if issues.is_empty() {
            Ok(credentials)
        } else {
            Err(ApiError::validation(&issues))
        }
    }
}
