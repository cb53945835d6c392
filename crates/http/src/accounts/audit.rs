//! The audit log: what is written to it, and `GET /api/audit-log` (`spec/keys-orgs-auth.md` §9).

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use control::AuditDraft;
use schemas::access::Role;
use schemas::api::accounts::{AuditEventView, CursorView, PageView};
use schemas::id::{ApiKeyId, OrgId, UserId};
use serde_json::json;
use uuid::Uuid;

use super::api_keys::page;
use super::shapes;
use crate::api::Api;
use crate::endpoint::{Access, Endpoint, shape_of};
use crate::error::ApiError;
use crate::query::{BareId, QueryParams};
use crate::reply;
use crate::session_auth::SessionCaller;
use crate::state::HttpState;

const DEFAULT_LIMIT: u32 = 50;

/// What is recorded once it has been done.
#[derive(Debug, Clone, Copy)]
pub(super) enum Action<'a> {
    OrgCreated { name: &'a str, slug: &'a str },
    OrgDeleted,
    OwnershipTransferred { new_owner: UserId },
    RoleChanged { user: UserId, role: Role },
    MemberRemoved { user: UserId },
    MemberLeft { user: UserId },
    InvitationCreated { id: Uuid, email: &'a str, role: Role },
    InvitationRevoked { id: Uuid },
    InvitationAccepted { id: Uuid },
    ApiKeyCreated { id: ApiKeyId, name: &'a str },
    ApiKeyRevoked { id: ApiKeyId },
}

/// Writes an event of the audit log. The change has been made by now, so that a failure is logged and does
/// not change the answer.
pub(super) async fn record(http: &HttpState, org: OrgId, actor: UserId, action: Action<'_>) {
    let draft = draft(org, actor, action);
    let name = draft.action.clone();
    if let Err(error) = http.control().append_audit_event(org, draft).await {
        tracing::warn!(%error, action = name, "could not write the audit log");
    }
}

fn draft(org: OrgId, actor: UserId, action: Action<'_>) -> AuditDraft {
    let (action, resource_type, resource_id, metadata) = match action {
        Action::OrgCreated { name, slug } => (
            "org.created",
            "org",
            org.to_string(),
            Some(json!({ "name": name, "slug": slug })),
        ),
        Action::OrgDeleted => ("org.deleted", "org", org.to_string(), None),
        Action::OwnershipTransferred { new_owner } => (
            "org.ownership_transferred",
            "org",
            org.to_string(),
            Some(json!({ "newOwnerUserId": new_owner })),
        ),
        Action::RoleChanged { user, role } => (
            "member.role_changed",
            "membership",
            user.to_string(),
            Some(json!({ "newRole": role })),
        ),
        Action::MemberRemoved { user } => ("member.removed", "membership", user.to_string(), None),
        Action::MemberLeft { user } => ("member.left", "membership", user.to_string(), None),
        Action::InvitationCreated { id, email, role } => (
            "invitation.created",
            "invitation",
            id.to_string(),
            Some(json!({ "email": email, "role": role })),
        ),
        Action::InvitationRevoked { id } => ("invitation.revoked", "invitation", id.to_string(), None),
        Action::InvitationAccepted { id } => ("invitation.accepted", "invitation", id.to_string(), None),
        Action::ApiKeyCreated { id, name } => (
            "api_key.created",
            "api_key",
            id.to_string(),
            Some(json!({ "name": name })),
        ),
        Action::ApiKeyRevoked { id } => ("api_key.revoked", "api_key", id.to_string(), None),
    };
    AuditDraft {
        actor_id: actor,
        action: action.to_owned(),
        resource_type: resource_type.to_owned(),
        resource_id: Some(resource_id),
        metadata,
    }
}

pub(super) fn api() -> Api<HttpState> {
    let list = Endpoint::get(
        "/api/audit-log",
        Access::Session(Role::Admin),
        "Lists what was done in the organization, newest first.",
    )
    .query("limit", shapes::limit(DEFAULT_LIMIT), "Most events of a page.")
    .query(
        "cursor",
        json!({ "type": "string", "pattern": format!("^({})?$", shapes::cursor_pattern("")) }),
        "The `cursor` of the page before.",
    )
    .query(
        "action",
        json!({ "type": "string" }),
        "Only this action, as `api_key.created`.",
    )
    .answers_json(200, shape_of::<PageView<AuditEventView, Uuid>>());
    Api::new().endpoint(list, list_audit_events)
}

async fn list_audit_events(
    State(http): State<HttpState>,
    caller: SessionCaller,
    query: QueryParams,
) -> Result<Response, ApiError> {
    // Here, and nowhere else, an empty value counts as absent.
    let mut query = query.without_empty();
    let limit = query.integer("limit", 1..=100, DEFAULT_LIMIT);
    let after = query.cursor::<BareId>();
    let action = query.text("action").map(str::to_owned);
    query.finish()?;
    let after = after.map(|cursor| (cursor.created_at, cursor.id.0));
    let events = http
        .control()
        .list_audit_events(caller.org_id, action.as_deref(), after, limit.saturating_add(1))
        .await?;
    let views = events.into_iter().map(|event| AuditEventView {
        id: event.id,
        actor_id: event.actor_id,
        action: event.action,
        resource_type: event.resource_type,
        resource_id: event.resource_id,
        metadata: event.metadata,
        created_at: event.created_at,
    });
    let page = page(views.collect(), limit, |event| CursorView {
        created_at: event.created_at,
        id: event.id,
    });
    reply::json(StatusCode::OK, &page)
}
