//! Callers of the routes of one organization, which the path names (`spec/keys-orgs-auth.md` §1, §4).

use axum::extract::{FromRequestParts, RawPathParams};
use axum::http::request::Parts;
use schemas::access::Role;
use schemas::id::{OrgId, UserId};

use crate::api::UndeclaredCaller;
use crate::error::{ApiError, Issue};
use crate::session_auth::{SessionCaller, require_role};
use crate::state::HttpState;

/// The part of the path that names the organization.
const ORG_PARAMETER: &str = "org";

/// A caller who has signed in and is a member of the organization that the path names, which need not be
/// the session's.
///
/// In this order: 401 without a session, 400 where the path holds no id, 403 for a member of other
/// organizations only, also where there is no such organization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrgCaller {
    /// The user who signed in.
    pub user_id: UserId,
    /// The organization of the path.
    pub org_id: OrgId,
    /// The user's role there.
    pub role: Role,
}

impl OrgCaller {
    pub(crate) fn require_role(&self, min: Role) -> Result<(), ApiError> {
        require_role(self.role, min)
    }

    pub(crate) async fn authenticate(http: &HttpState, parts: &mut Parts) -> Result<Self, ApiError> {
        let SessionCaller { user_id, .. } = SessionCaller::authenticate(http, parts).await?;
        let org_id = org_of_path(parts).await?;
        let role = http.control().membership(org_id, user_id).await;
        let role = role.map_err(ApiError::unavailable)?;
        let role = role.ok_or_else(ApiError::not_a_member)?;
        Ok(Self {
            user_id,
            org_id,
            role,
        })
    }
}

async fn org_of_path(parts: &mut Parts) -> Result<OrgId, ApiError> {
    let params = RawPathParams::from_request_parts(parts, &()).await;
    let params = params.map_err(ApiError::internal)?;
    let named = params.iter().find(|(name, _)| *name == ORG_PARAMETER);
    let id: Option<OrgId> = named.and_then(|(_, id)| id.parse().ok());
    id.ok_or_else(|| ApiError::validation(&[Issue::at("orgId", "Expected the id of an organization")]))
}

impl<S: Send + Sync> FromRequestParts<S> for OrgCaller {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        let caller = parts.extensions.get().copied();
        caller.ok_or_else(|| ApiError::internal(UndeclaredCaller("organization's member")))
    }
}
