//! `/api/customer-mappings` (`../spec/margins.md` §7), straight from the control store: one's own
//! writes are visible at once, and margins join at read time.

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use control::ControlError;
use marginstream_http::body::read_json;
use marginstream_http::{
    Access, Api, ApiError, Endpoint, ErrorCode, QueryParams, SessionCaller, reply, shape_of,
};
use schemas::access::{Role, Tier};
use schemas::api::shapes::{answers, new_mapping};
use schemas::id::parse_hyphenated;
use schemas::mapping::CustomerMapping;
use serde_json::json;

use crate::customer_mapping::NewMapping;
use crate::state::QueryState;

/// What the plan opens, as refusals name it.
const FEATURE: &str = "Customer mappings";

pub(super) fn api() -> Api<QueryState> {
    const PATH: &str = "/api/customer-mappings";
    let list = Endpoint::get(
        PATH,
        Access::Session(Role::Viewer),
        "Lists which tag value is which Stripe customer, oldest first.",
    )
    .tier(Tier::Pro, FEATURE)
    .answers_data(200, shape_of::<Vec<CustomerMapping>>());
    let create = Endpoint::post(
        PATH,
        Access::Session(Role::Admin),
        "Says which tag value is which Stripe customer, in place of what was said before.",
    )
    .tier(Tier::Pro, FEATURE)
    .json(new_mapping)
    .answers_data(201, shape_of::<CustomerMapping>())
    .refuses(&[ErrorCode::Conflict]);
    let delete = Endpoint::delete(PATH, Access::Session(Role::Admin), "Removes a mapping.")
        .tier(Tier::Pro, FEATURE)
        .required_query(
            "id",
            json!({ "type": "string", "format": "uuid" }),
            "The mapping.",
        )
        .answers_data(200, answers::deleted)
        .refuses(&[ErrorCode::NotFound]);
    Api::new()
        .endpoint(list, list_customer_mappings)
        .endpoint(create, create_customer_mapping)
        .endpoint(delete, delete_customer_mapping)
}

async fn list_customer_mappings(
    State(state): State<QueryState>,
    caller: SessionCaller,
) -> Result<Response, ApiError> {
    let mappings = state.control().list_mappings(caller.org_id).await?;
    reply::data(StatusCode::OK, &mappings)
}

/// Creates or replaces; both are 201.
async fn create_customer_mapping(
    State(state): State<QueryState>,
    caller: SessionCaller,
    request: Request,
) -> Result<Response, ApiError> {
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

async fn delete_customer_mapping(
    State(state): State<QueryState>,
    caller: SessionCaller,
    params: QueryParams,
) -> Result<Response, ApiError> {
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
