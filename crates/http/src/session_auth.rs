//! Callers that have signed in (`spec/keys-orgs-auth.md` §3.2, `spec/README.md` decision 5).

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use control::{Session, SessionToken};
use schemas::access::{Role, Tier};
use schemas::id::{OrgId, UserId};

use crate::api::UndeclaredCaller;
use crate::error::ApiError;
use crate::key_auth::presents_key;
use crate::state::HttpState;

const COOKIE_NAME: &str = "ns-session";
/// The control store ends a session after 30 days, however much it is used.
const COOKIE_MAX_AGE_SECS: u64 = 30 * 24 * 60 * 60;

/// A caller with a session, a member of the session's organization (so a viewer at least). Role
/// and tier are read from the store for each request.
///
/// An extractor of endpoints that are declared with [`crate::Access::Session`]. 401 without a valid session,
/// and where an API key is presented: this route takes none. 403 for a member of no organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionCaller {
    /// The user who signed in.
    pub user_id: UserId,
    /// The active organization.
    pub org_id: OrgId,
    /// The user's role there.
    pub role: Role,
    /// The organization's effective tier.
    pub tier: Tier,
}

impl SessionCaller {
    pub(crate) fn require_role(&self, min: Role) -> Result<(), ApiError> {
        require_role(self.role, min)
    }

    pub(crate) async fn authenticate(http: &HttpState, parts: &Parts) -> Result<Self, ApiError> {
        if presents_key(&parts.headers) {
            return Err(ApiError::no_session());
        }
        let token = session_token(&parts.headers).ok_or_else(ApiError::no_session)?;
        Self::resume(http, token).await
    }

    /// Resolves a token. A store that does not answer is a 503, never a 401.
    pub(crate) async fn resume(http: &HttpState, token: &str) -> Result<Self, ApiError> {
        let session = http
            .control()
            .resolve_session(token)
            .await
            .map_err(ApiError::unavailable)?;
        let Session {
            user_id,
            org_id,
            role,
            tier,
        } = session.ok_or_else(ApiError::no_session)?;
        let role = role.ok_or_else(ApiError::not_a_member)?;
        Ok(Self {
            user_id,
            org_id,
            role,
            tier,
        })
    }
}

impl<S: Send + Sync> FromRequestParts<S> for SessionCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let caller = parts.extensions.get().copied();
        caller.ok_or_else(|| ApiError::internal(UndeclaredCaller("session")))
    }
}

pub(crate) fn require_role(role: Role, min: Role) -> Result<(), ApiError> {
    if role >= min {
        return Ok(());
    }
    Err(ApiError::forbidden(format!(
        "This action requires the {} role or higher.",
        min.as_str()
    )))
}

/// Returns the value of the session cookie; an empty one counts as absent.
pub(crate) fn session_token(headers: &HeaderMap) -> Option<&str> {
    cookie_value(headers, COOKIE_NAME)
}

/// Returns the value of the first cookie of this name; an empty one counts as absent.
pub(crate) fn cookie_value<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let mut cookies = lines
        .flat_map(|line| line.split(';'))
        .filter_map(|cookie| cookie.trim().split_once('='));
    let (_, value) = cookies.find(|(given, _)| *given == name)?;
    Some(value).filter(|value| !value.is_empty())
}

/// Returns the `Set-Cookie` value that starts a session, or without a token ends it.
pub(crate) fn session_cookie(token: Option<&SessionToken>, is_secure: bool) -> String {
    let (value, max_age_secs) = token.map_or(("", 0), |token| (token.expose(), COOKIE_MAX_AGE_SECS));
    let secure = if is_secure { "; Secure" } else { "" };
    format!("{COOKIE_NAME}={value}; HttpOnly; SameSite=Lax; Path=/; Max-Age={max_age_secs}{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_its_cookie_among_others() {
        let token = |lines: &[&'static str]| {
            let headers = lines
                .iter()
                .map(|line| (header::COOKIE, line.parse().unwrap()))
                .collect();
            session_token(&headers).map(str::to_owned)
        };
        assert_eq!(
            token(&["theme=dark; ns-session=abc; x=1"]).as_deref(),
            Some("abc")
        );
        assert_eq!(token(&["theme=dark", "ns-session=abc"]).as_deref(), Some("abc"));
        for none in [&["ns-session="][..], &["xns-session=abc"], &["ns-session"], &[]] {
            assert_eq!(token(none), None);
        }
    }

    #[test]
    fn roles_include_the_lower_ones() {
        assert!(require_role(Role::Member, Role::Viewer).is_ok());
        assert!(require_role(Role::Member, Role::Member).is_ok());
        let refused = require_role(Role::Member, Role::Admin).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "forbidden: This action requires the admin role or higher."
        );
    }
}
