//! `/api/customer-mappings` (`../spec/margins.md` §7), straight from the control store: one's own
//! writes are visible at once, and margins join at read time.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use control::ControlError;
use marginstream_http::body::read_json;
use marginstream_http::{ApiError, ErrorCode, QueryParams, SessionCaller, reply};
use schemas::access::{Role, Tier};
use schemas::id::parse_hyphenated;
use serde_json::json;

use crate::customer_mapping::NewMapping;
use crate::state::QueryState;

pub(super) async fn list_customer_mappings(
    State(state): State<QueryState>,
    caller: SessionCaller,
) -> Result<Response, ApiError> {
    require_access(&caller, Role::Viewer)?;
    let mappings = state.control().list_mappings(caller.org_id).await?;
    reply::data(StatusCode::OK, &mappings)
}

/// Creates or replaces; both are 201.
pub(super) async fn create_customer_mapping(
    State(state): State<QueryState>,
    caller: SessionCaller,
    request: Request,
) -> Result<Response, ApiError> {
    require_access(&caller, Role::Admin)?;
    let NewMapping {
        stripe_customer_id,
        tag_key,
        tag_value,
        match_type,
    } = NewMapping::of_json(&read_json(request).await?)?;
    let control = state.control();
    let mapping = control
        .upsert_mapping(
            caller.org_id,
            &stripe_customer_id,
            &tag_key,
            &tag_value,
            match_type,
        )
        .await?;
    reply::data(StatusCode::CREATED, &mapping)
}

pub(super) async fn delete_customer_mapping(
    State(state): State<QueryState>,
    caller: SessionCaller,
    params: QueryParams,
) -> Result<Response, ApiError> {
    require_access(&caller, Role::Admin)?;
    let id = params
        .text("id")
        .and_then(parse_hyphenated)
        .ok_or_else(|| ApiError::new(ErrorCode::ValidationError, "id must be a valid UUID."))?;
    match state.control().delete_mapping(caller.org_id, id).await {
        Err(ControlError::NotFound(_)) => Err(ApiError::not_found("Mapping not found.")),
        Err(error) => Err(error.into()),
        Ok(()) => reply::data(StatusCode::OK, &json!({ "deleted": true })),
    }
}

fn require_access(caller: &SessionCaller, min_role: Role) -> Result<(), ApiError> {
    caller.require_role(min_role)?;
    caller.require_tier(Tier::Pro, "Customer mappings")
}
