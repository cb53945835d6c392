//! Invitations, and `POST /api/invite/accept` (`spec/keys-orgs-auth.md` §6).

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use control::Invitation;
use schemas::access::Role;
use schemas::api::accounts::{AcceptedInvitationView, CreatedInvitationView, InvitationView, Success};
use schemas::id::parse_hyphenated;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::audit::{Action, record};
use super::members::assignable_role;
use super::orgs::org_id;
use super::shapes;
use crate::api::Api;
use crate::body::read_json;
use crate::endpoint::{Access, Endpoint, IpQuota, shape_of};
use crate::error::{ApiError, ErrorCode};
use crate::members::{Fault, Members, text};
use crate::org_auth::OrgCaller;
use crate::query::PathParams;
use crate::reply;
use crate::session_auth::{SessionCaller, session_token};
use crate::state::HttpState;

/// Where a browser goes once an invitation is accepted.
const REDIRECT_URL: &str = "/app";

pub(super) fn api() -> Api<HttpState> {
    const PATH: &str = "/api/orgs/{org}/invitations";
    let list = Endpoint::get(
        PATH,
        Access::PathOrg(Role::Admin),
        "Lists the invitations that can still be accepted, newest first.",
    )
    .path_parameter("org", org_id(), "The organization.")
    .answers_data(200, shape_of::<Vec<InvitationView>>());
    let create = Endpoint::post(
        PATH,
        Access::PathOrg(Role::Admin),
        "Invites someone and shows the token to pass on, this once.",
    )
    .path_parameter("org", org_id(), "The organization.")
    .json(shapes::new_invitation)
    .answers_data(201, shape_of::<CreatedInvitationView>())
    .refuses(&[ErrorCode::Conflict, ErrorCode::LimitExceeded]);
    let revoke = Endpoint::delete(
        "/api/orgs/{org}/invitations/{id}",
        Access::PathOrg(Role::Admin),
        "Takes an invitation back.",
    )
    .path_parameter("org", org_id(), "The organization.")
    .path_parameter(
        "id",
        json!({ "type": "string", "format": "uuid" }),
        "The invitation.",
    )
    .answers_json(200, shape_of::<Success>())
    .refuses(&[ErrorCode::Conflict]);
    let accept = Endpoint::post(
        "/api/invite/accept",
        Access::Session(Role::Viewer),
        "Joins the organization that a token invites to, and makes it the active one.",
    )
    .ip_quota(IpQuota::Attempts)
    .json(shapes::acceptance)
    .answers_json(200, shape_of::<AcceptedInvitationView>())
    .refuses(&[ErrorCode::NotFound, ErrorCode::Conflict, ErrorCode::Expired]);
    Api::new()
        .endpoint(list, list_invitations)
        .endpoint(create, create_invitation)
        .endpoint(revoke, revoke_invitation)
        .endpoint(accept, accept_invitation)
}

async fn list_invitations(State(http): State<HttpState>, caller: OrgCaller) -> Result<Response, ApiError> {
    let invitations = http.control().list_invitations(caller.org_id).await?;
    let views: Vec<_> = invitations.into_iter().map(view).collect();
    reply::data(StatusCode::OK, &views)
}

async fn create_invitation(
    State(http): State<HttpState>,
    caller: OrgCaller,
    request: Request,
) -> Result<Response, ApiError> {
    let body = read_json(request).await?;
    let mut members = Members::of(&body)?;
    let email = members.required("email", |value| text(value).map(str::to_owned));
    let role = members.required("role", assignable_role);
    members.finish()?;
    // `finish` has refused a body without them.
    let (email, role) = (email.unwrap_or_default(), role.unwrap_or(Role::Viewer));
    let (invitation, token) = http
        .control()
        .create_invitation(caller.org_id, caller.user_id, &email, role)
        .await?;
    let created = Action::InvitationCreated {
        id: invitation.id,
        email: &invitation.email,
        role,
    };
    record(&http, caller.org_id, caller.user_id, created).await;
    reply::data(
        StatusCode::CREATED,
        &CreatedInvitationView {
            invitation: view(invitation),
            token: token.expose().to_owned(),
        },
    )
}

#[derive(Deserialize)]
struct InvitationPath {
    id: String,
}

async fn revoke_invitation(
    State(http): State<HttpState>,
    caller: OrgCaller,
    PathParams(path): PathParams<InvitationPath>,
) -> Result<Response, ApiError> {
    let id: Uuid = parse_hyphenated(&path.id).ok_or_else(|| ApiError::not_found("Invitation not found."))?;
    http.control().revoke_invitation(caller.org_id, id).await?;
    record(
        &http,
        caller.org_id,
        caller.user_id,
        Action::InvitationRevoked { id },
    )
    .await;
    reply::json(StatusCode::OK, &Success::DONE)
}

async fn accept_invitation(
    State(http): State<HttpState>,
    caller: SessionCaller,
    request: Request,
) -> Result<Response, ApiError> {
    let session = session_token(request.headers()).map(str::to_owned);
    let body = read_json(request).await?;
    let mut members = Members::of(&body)?;
    let token = members.required("token", invitation_token);
    members.finish()?;
    let (org_id, role, id) = http
        .control()
        .accept_invitation(&token.unwrap_or_default(), caller.user_id)
        .await?;
    record(&http, org_id, caller.user_id, Action::InvitationAccepted { id }).await;
    http.forget_keys(org_id);
    let session = session.ok_or_else(ApiError::no_session)?;
    http.control().switch_org(&session, org_id).await?;
    reply::json(
        StatusCode::OK,
        &AcceptedInvitationView {
            org_id,
            role,
            redirect_url: REDIRECT_URL,
        },
    )
}

fn invitation_token(value: &Value) -> Result<String, Fault> {
    match text(value)? {
        "" => Err("Expected a token".into()),
        token => Ok(token.to_owned()),
    }
}

fn view(invitation: Invitation) -> InvitationView {
    InvitationView {
        id: invitation.id,
        email: invitation.email,
        role: invitation.role,
        status: invitation.status.as_str().to_owned(),
        invited_by: invitation.invited_by,
        token_prefix: invitation.token_prefix,
        expires_at: invitation.expires_at,
        created_at: invitation.created_at,
    }
}
