//! `/api/orgs` (`spec/keys-orgs-auth.md` §4, §7).

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use control::Org;
use schemas::access::Role;
use schemas::api::accounts::{OrgOfCallerView, OrgView, Success, TransferView};
use schemas::id::{OrgId, UserId};
use serde_json::Value;

use super::audit::{Action, record};
use super::shapes;
use crate::api::Api;
use crate::body::read_json;
use crate::endpoint::{Access, Endpoint, shape_of};
use crate::error::{ApiError, ErrorCode};
use crate::members::{Fault, Members, text, trimmed};
use crate::org_auth::OrgCaller;
use crate::reply;
use crate::session_auth::SessionCaller;
use crate::state::HttpState;

const MAX_NAME_CHARS: usize = 50;
const MIN_SLUG_CHARS: usize = 3;
const MAX_SLUG_CHARS: usize = 50;

pub(super) fn api() -> Api<HttpState> {
    collection().merge(one_org())
}

fn collection() -> Api<HttpState> {
    let list = Endpoint::get(
        "/api/orgs",
        Access::Session(Role::Viewer),
        "Lists the organizations that the caller belongs to, oldest first.",
    )
    .answers_data(200, shape_of::<Vec<OrgOfCallerView>>());
    let create = Endpoint::post(
        "/api/orgs",
        Access::Session(Role::Viewer),
        "Makes an organization that the caller owns; the active one stays.",
    )
    .json(shapes::new_org)
    .answers_data(201, shape_of::<OrgView>())
    .refuses(&[ErrorCode::Conflict]);
    Api::new().endpoint(list, list_orgs).endpoint(create, create_org)
}

fn one_org() -> Api<HttpState> {
    const PATH: &str = "/api/orgs/{org}";
    let get = Endpoint::get(PATH, Access::PathOrg(Role::Viewer), "Returns an organization.")
        .path_parameter("org", org_id(), "The organization.")
        .answers_data(200, shape_of::<OrgView>());
    let update = Endpoint::patch(PATH, Access::PathOrg(Role::Admin), "Renames an organization.")
        .path_parameter("org", org_id(), "The organization.")
        .json(shapes::org_patch)
        .answers_data(200, shape_of::<OrgView>())
        .refuses(&[ErrorCode::Conflict]);
    let delete = Endpoint::delete(
        PATH,
        Access::PathOrg(Role::Owner),
        "Deletes an organization with all that it has.",
    )
    .path_parameter("org", org_id(), "The organization.")
    .answers_json(200, shape_of::<Success>());
    let leave = Endpoint::post(
        "/api/orgs/{org}/leave",
        Access::PathOrg(Role::Viewer),
        "Leaves an organization; the caller's keys in it are revoked.",
    )
    .path_parameter("org", org_id(), "The organization.")
    .answers_json(200, shape_of::<Success>());
    let transfer = Endpoint::post(
        "/api/orgs/{org}/transfer",
        Access::PathOrg(Role::Owner),
        "Hands an organization to another member; the old owner becomes an admin.",
    )
    .path_parameter("org", org_id(), "The organization.")
    .json(shapes::transfer)
    .answers_json(200, shape_of::<TransferView>())
    .refuses(&[ErrorCode::NotFound]);
    Api::new()
        .endpoint(get, get_org)
        .endpoint(update, update_org)
        .endpoint(delete, delete_org)
        .endpoint(leave, leave_org)
        .endpoint(transfer, transfer_org)
}

/// The schema of an organization's id in a path.
pub(super) fn org_id() -> Value {
    shapes::id(OrgId::PREFIX, false)
}

async fn list_orgs(State(http): State<HttpState>, caller: SessionCaller) -> Result<Response, ApiError> {
    let orgs = http.control().list_orgs_of(caller.user_id).await?;
    let views: Vec<_> = orgs
        .into_iter()
        .map(|of_user| OrgOfCallerView {
            org: view(of_user.org),
            role: of_user.role,
        })
        .collect();
    reply::data(StatusCode::OK, &views)
}

async fn create_org(
    State(http): State<HttpState>,
    caller: SessionCaller,
    request: Request,
) -> Result<Response, ApiError> {
    let body = read_json(request).await?;
    let mut members = Members::of(&body)?;
    let name = members.required("name", trimmed(1..=MAX_NAME_CHARS));
    let slug = members.required("slug", slug);
    members.finish()?;
    let (name, slug) = (name.unwrap_or_default(), slug.unwrap_or_default());
    let org = http.control().create_org(caller.user_id, &name, &slug).await?;
    let created = Action::OrgCreated {
        name: &org.name,
        slug: &org.slug,
    };
    record(&http, org.id, caller.user_id, created).await;
    reply::data(StatusCode::CREATED, &view(org))
}

async fn get_org(State(http): State<HttpState>, caller: OrgCaller) -> Result<Response, ApiError> {
    let org = http.control().org(caller.org_id).await?;
    let org = org.ok_or_else(|| ApiError::not_found("Organization not found."))?;
    reply::data(StatusCode::OK, &view(org))
}

async fn update_org(
    State(http): State<HttpState>,
    caller: OrgCaller,
    request: Request,
) -> Result<Response, ApiError> {
    let body = read_json(request).await?;
    let mut members = Members::of(&body)?;
    let name = members.optional("name", trimmed(1..=MAX_NAME_CHARS));
    let slug = members.optional("slug", slug);
    let is_empty = !members.has("name") && !members.has("slug");
    members.finish()?;
    if is_empty {
        return Err(ApiError::new(
            ErrorCode::ValidationError,
            "Expected at least one of: name, slug.",
        ));
    }
    let org = http
        .control()
        .update_org(caller.org_id, name.as_deref(), slug.as_deref())
        .await?;
    reply::data(StatusCode::OK, &view(org))
}

async fn delete_org(State(http): State<HttpState>, caller: OrgCaller) -> Result<Response, ApiError> {
    http.control().delete_org(caller.org_id).await?;
    http.forget_keys(caller.org_id);
    record(&http, caller.org_id, caller.user_id, Action::OrgDeleted).await;
    reply::json(StatusCode::OK, &Success::DONE)
}

async fn leave_org(State(http): State<HttpState>, caller: OrgCaller) -> Result<Response, ApiError> {
    http.control().leave_org(caller.org_id, caller.user_id).await?;
    http.forget_keys(caller.org_id);
    let left = Action::MemberLeft { user: caller.user_id };
    record(&http, caller.org_id, caller.user_id, left).await;
    reply::json(StatusCode::OK, &Success::DONE)
}

async fn transfer_org(
    State(http): State<HttpState>,
    caller: OrgCaller,
    request: Request,
) -> Result<Response, ApiError> {
    let body = read_json(request).await?;
    let mut members = Members::of(&body)?;
    let new_owner = members.required("newOwnerUserId", user_id);
    members.finish()?;
    // `finish` has refused a body without it.
    let new_owner = new_owner.unwrap_or(caller.user_id);
    http.control()
        .transfer_org(caller.org_id, caller.user_id, new_owner)
        .await?;
    let transferred = Action::OwnershipTransferred { new_owner };
    record(&http, caller.org_id, caller.user_id, transferred).await;
    reply::json(
        StatusCode::OK,
        &TransferView {
            success: true,
            new_owner_user_id: new_owner,
        },
    )
}

fn user_id(value: &Value) -> Result<UserId, Fault> {
    UserId::parse_lenient(text(value)?).map_err(|_| "Expected the id of a user".into())
}

/// Reads runs of `[a-z0-9]` joined by single hyphens.
fn slug(value: &Value) -> Result<String, Fault> {
    let slug = text(value)?.trim();
    let is_run = |run: &str| {
        !run.is_empty()
            && run
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
    };
    let fits = (MIN_SLUG_CHARS..=MAX_SLUG_CHARS).contains(&slug.len());
    if fits && slug.split('-').all(is_run) {
        Ok(slug.to_owned())
    } else {
        Err("Expected 3 to 50 characters: a-z and 0-9, joined by single hyphens".into())
    }
}

fn view(org: Org) -> OrgView {
    OrgView {
        id: org.id,
        name: org.name,
        slug: org.slug,
        is_personal: org.is_personal,
        created_at: org.created_at,
        updated_at: org.updated_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn slugs_are_runs_joined_by_single_hyphens() {
        for good in ["abc", "a-1", " trimmed ", &"x".repeat(50)] {
            assert!(slug(&json!(good)).is_ok(), "{good}");
        }
        for bad in [
            "ab",
            "-abc",
            "abc-",
            "a--b",
            "Abc",
            "a_b",
            "a b",
            "é-a",
            &"x".repeat(51),
        ] {
            assert!(slug(&json!(bad)).is_err(), "{bad}");
        }
    }
}
