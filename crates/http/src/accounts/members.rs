//! `/api/orgs/:orgId/members` (`spec/keys-orgs-auth.md` §5).

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use control::Member;
use schemas::access::Role;
use schemas::api::accounts::{MemberView, Success};
use schemas::id::UserId;
use serde::Deserialize;
use serde_json::Value;

use super::audit::{Action, record};
use super::orgs::org_id;
use super::shapes;
use crate::api::Api;
use crate::body::read_json;
use crate::endpoint::{Access, Endpoint, shape_of};
use crate::error::{ApiError, Issue};
use crate::members::{Fault, Members, text};
use crate::org_auth::OrgCaller;
use crate::query::PathParams;
use crate::reply;
use crate::state::HttpState;

pub(super) fn api() -> Api<HttpState> {
    const PATH: &str = "/api/orgs/{org}/members/{user}";
    let user_id = || shapes::id(UserId::PREFIX, true);
    let list = Endpoint::get(
        "/api/orgs/{org}/members",
        Access::PathOrg(Role::Viewer),
        "Lists the members of an organization, in the order in which they joined.",
    )
    .path_parameter("org", org_id(), "The organization.")
    .answers_data(200, shape_of::<Vec<MemberView>>());
    let update = Endpoint::patch(
        PATH,
        Access::PathOrg(Role::Admin),
        "Gives a member another role; only the owner changes admins.",
    )
    .path_parameter("org", org_id(), "The organization.")
    .path_parameter("user", user_id(), "The member.")
    .json(shapes::role_change)
    .answers_data(200, shape_of::<MemberView>());
    let remove = Endpoint::delete(
        PATH,
        Access::PathOrg(Role::Admin),
        "Removes a member and revokes the member's keys in the organization.",
    )
    .path_parameter("org", org_id(), "The organization.")
    .path_parameter("user", user_id(), "The member.")
    .answers_json(200, shape_of::<Success>());
    Api::new()
        .endpoint(list, list_members)
        .endpoint(update, update_member)
        .endpoint(remove, remove_member)
}

#[derive(Deserialize)]
struct MemberPath {
    user: String,
}

impl MemberPath {
    fn user(&self) -> Result<UserId, ApiError> {
        UserId::parse_lenient(&self.user)
            .map_err(|_| ApiError::validation(&[Issue::at("userId", "Expected the id of a user")]))
    }
}

async fn list_members(State(http): State<HttpState>, caller: OrgCaller) -> Result<Response, ApiError> {
    let members = http.control().list_members(caller.org_id).await?;
    let views: Vec<_> = members.into_iter().map(view).collect();
    reply::data(StatusCode::OK, &views)
}

async fn update_member(
    State(http): State<HttpState>,
    caller: OrgCaller,
    PathParams(path): PathParams<MemberPath>,
    request: Request,
) -> Result<Response, ApiError> {
    let user = path.user()?;
    let body = read_json(request).await?;
    let mut members = Members::of(&body)?;
    let role = members.required("role", assignable_role);
    members.finish()?;
    // `finish` has refused a body without it; the least is what an error here could do.
    let role = role.unwrap_or(Role::Viewer);
    let member = http
        .control()
        .set_member_role(caller.org_id, caller.user_id, user, role)
        .await?;
    http.forget_keys(caller.org_id);
    record(
        &http,
        caller.org_id,
        caller.user_id,
        Action::RoleChanged { user, role },
    )
    .await;
    reply::data(StatusCode::OK, &view(member))
}

async fn remove_member(
    State(http): State<HttpState>,
    caller: OrgCaller,
    PathParams(path): PathParams<MemberPath>,
) -> Result<Response, ApiError> {
    let user = path.user()?;
    http.control()
        .remove_member(caller.org_id, caller.user_id, user)
        .await?;
    http.forget_keys(caller.org_id);
    record(
        &http,
        caller.org_id,
        caller.user_id,
        Action::MemberRemoved { user },
    )
    .await;
    reply::json(StatusCode::OK, &Success::DONE)
}

/// Reads a role that may be given: any but owner, which is only transferred.
pub(super) fn assignable_role(value: &Value) -> Result<Role, Fault> {
    Role::parse(text(value)?)
        .filter(|role| *role != Role::Owner)
        .ok_or_else(|| "Expected one of: admin, member, viewer".into())
}

fn view(member: Member) -> MemberView {
    MemberView {
        user_id: member.user_id,
        email: member.email,
        role: member.role,
        created_at: member.created_at,
    }
}
