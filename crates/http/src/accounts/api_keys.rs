//! `/api/keys` (`spec/keys-orgs-auth.md` §2).

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use control::{ApiKey, ApiKeyDraft, ApiKeyPatch};
use schemas::access::Role;
use schemas::api::accounts::{ApiKeyView, CreatedApiKeyView, CursorView, PageView, RevokedApiKeyView};
use schemas::id::ApiKeyId;
use serde_json::Value;

use super::audit::{Action, record};
use super::shapes;
use crate::api::Api;
use crate::body::read_json;
use crate::endpoint::{Access, Endpoint, shape_of};
use crate::error::{ApiError, ErrorCode};
use crate::members::{Members, default_tags, nullable_texts, trimmed};
use crate::query::{PathParams, QueryParams};
use crate::reply;
use crate::session_auth::SessionCaller;
use crate::state::HttpState;

const DEFAULT_LIMIT: u32 = 50;
const MAX_NAME_CHARS: usize = 50;
const MAX_ALLOWED: usize = 50;
const MAX_MODEL_CHARS: usize = 100;
const PROVIDERS: [&str; 2] = ["openai", "anthropic"];

pub(super) fn api() -> Api<HttpState> {
    let key_id = || shapes::id(ApiKeyId::PREFIX, false);
    let list = Endpoint::get(
        "/api/keys",
        Access::Session(Role::Viewer),
        "Lists the active API keys, newest first.",
    )
    .query("limit", shapes::limit(DEFAULT_LIMIT), "Most keys of a page.")
    .query(
        "cursor",
        shapes::cursor(ApiKeyId::PREFIX),
        "The `cursor` of the page before.",
    )
    .answers_json(200, shape_of::<PageView<ApiKeyView, ApiKeyId>>());
    let create = Endpoint::post(
        "/api/keys",
        Access::Session(Role::Member),
        "Makes an API key and shows its secret, this once.",
    )
    .json(shapes::new_api_key)
    .answers_data(201, shape_of::<CreatedApiKeyView>())
    .refuses(&[ErrorCode::LimitExceeded]);
    let update = Endpoint::patch(
        "/api/keys/{id}",
        Access::Session(Role::Admin),
        "Changes an API key.",
    )
    .path_parameter("id", key_id(), "The key.")
    .json(shapes::api_key_patch)
    .answers_data(200, shape_of::<ApiKeyView>());
    let revoke = Endpoint::delete(
        "/api/keys/{id}",
        Access::Session(Role::Admin),
        "Revokes an API key, for good.",
    )
    .path_parameter("id", key_id(), "The key.")
    .answers_data(200, shape_of::<RevokedApiKeyView>());
    Api::new()
        .endpoint(list, list_api_keys)
        .endpoint(create, create_api_key)
        .endpoint(update, update_api_key)
        .endpoint(revoke, revoke_api_key)
}

async fn list_api_keys(
    State(http): State<HttpState>,
    caller: SessionCaller,
    mut query: QueryParams,
) -> Result<Response, ApiError> {
    let limit = query.integer("limit", 1..=100, DEFAULT_LIMIT);
    let after = query.cursor::<ApiKeyId>();
    query.finish()?;
    let after = after.map(|cursor| (cursor.created_at, cursor.id));
    let keys = http
        .control()
        .list_api_keys(caller.org_id, after, limit.saturating_add(1))
        .await?;
    let page = page(keys.into_iter().map(view).collect(), limit, |key| CursorView {
        created_at: key.created_at,
        id: key.id,
    });
    reply::json(StatusCode::OK, &page)
}

async fn create_api_key(
    State(http): State<HttpState>,
    caller: SessionCaller,
    request: Request,
) -> Result<Response, ApiError> {
    let draft = read_draft(&read_json(request).await?)?;
    let (key, secret) = http
        .control()
        .create_api_key(caller.org_id, caller.user_id, draft)
        .await?;
    let created = Action::ApiKeyCreated {
        id: key.id,
        name: &key.name,
    };
    record(&http, caller.org_id, caller.user_id, created).await;
    reply::data(
        StatusCode::CREATED,
        &CreatedApiKeyView {
            id: key.id,
            name: key.name,
            key_prefix: key.key_prefix,
            default_tags: key.default_tags,
            allowed_models: key.allowed_models,
            allowed_providers: key.allowed_providers,
            raw_key: secret.expose().to_owned(),
            created_at: key.created_at,
        },
    )
}

async fn update_api_key(
    State(http): State<HttpState>,
    caller: SessionCaller,
    PathParams(id): PathParams<ApiKeyId>,
    request: Request,
) -> Result<Response, ApiError> {
    let patch = read_patch(&read_json(request).await?)?;
    let key = http.control().update_api_key(caller.org_id, id, patch).await?;
    http.forget_keys(caller.org_id);
    reply::data(StatusCode::OK, &view(key))
}

async fn revoke_api_key(
    State(http): State<HttpState>,
    caller: SessionCaller,
    PathParams(id): PathParams<ApiKeyId>,
) -> Result<Response, ApiError> {
    let revoked_at = http.control().revoke_api_key(caller.org_id, id).await?;
    http.forget_keys(caller.org_id);
    record(&http, caller.org_id, caller.user_id, Action::ApiKeyRevoked { id }).await;
    reply::data(StatusCode::OK, &RevokedApiKeyView { id, revoked_at })
}

fn read_draft(body: &Value) -> Result<ApiKeyDraft, ApiError> {
    let mut members = Members::of(body)?;
    let name = members.required("name", trimmed(1..=MAX_NAME_CHARS));
    let draft = ApiKeyDraft {
        name: name.unwrap_or_default(),
        default_tags: members.optional("defaultTags", default_tags).unwrap_or_default(),
        allowed_models: members.optional("allowedModels", models()).flatten(),
        allowed_providers: members.optional("allowedProviders", providers()).flatten(),
    };
    members.finish().map(|()| draft)
}

fn read_patch(body: &Value) -> Result<ApiKeyPatch, ApiError> {
    let mut members = Members::of(body)?;
    let patch = ApiKeyPatch {
        name: members.optional("name", trimmed(1..=MAX_NAME_CHARS)),
        default_tags: members.optional("defaultTags", default_tags),
        allowed_models: members.optional("allowedModels", models()),
        allowed_providers: members.optional("allowedProviders", providers()),
    };
    let is_empty = ["name", "defaultTags", "allowedModels", "allowedProviders"]
        .iter()
        .all(|name| !members.has(name));
    members.finish()?;
    if is_empty {
        return Err(ApiError::new(
            ErrorCode::ValidationError,
            "Expected at least one of: name, defaultTags, allowedModels, allowedProviders.",
        ));
    }
    Ok(patch)
}

fn models() -> impl FnOnce(&Value) -> Result<Option<Vec<String>>, crate::members::Fault> {
    nullable_texts(MAX_ALLOWED, |model| {
        let fits = (1..=MAX_MODEL_CHARS).contains(&model.chars().count()) && !model.contains('\0');
        fits.then_some(())
            .ok_or_else(|| format!("Expected 1 to {MAX_MODEL_CHARS} characters"))
    })
}

fn providers() -> impl FnOnce(&Value) -> Result<Option<Vec<String>>, crate::members::Fault> {
    nullable_texts(MAX_ALLOWED, |provider| {
        PROVIDERS
            .contains(&provider)
            .then_some(())
            .ok_or_else(|| format!("Expected one of: {}", PROVIDERS.join(", ")))
    })
}

fn view(key: ApiKey) -> ApiKeyView {
    ApiKeyView {
        id: key.id,
        name: key.name,
        key_prefix: key.key_prefix,
        default_tags: key.default_tags,
        allowed_models: key.allowed_models,
        allowed_providers: key.allowed_providers,
        last_used_at: key.last_used_at,
        created_at: key.created_at,
    }
}

/// Makes a page of rows of which one more than `limit` was asked for.
pub(super) fn page<T, I>(
    mut rows: Vec<T>,
    limit: u32,
    cursor: impl Fn(&T) -> CursorView<I>,
) -> PageView<T, I> {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let cursor = rows.last().filter(|_| has_more).map(cursor);
    PageView { data: rows, cursor }
}
