//! `GET /api/margins` and `GET /api/margins/:customer` (`../spec/margins.md` §4-5).

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use chrono::Utc;
use marginstream_http::csv::csv_response;
use marginstream_http::{
    Access, Api, ApiError, Endpoint, ErrorCode, QueryParams, SessionCaller, reply, shape_of,
};
use schemas::access::{Role, Tier};
use schemas::api::margins::{MarginDetail, MarginTable};
use schemas::api::shapes;
use schemas::period::Period;
use serde_json::json;

use crate::margin_csv::print_margin_csv;
use crate::margin_table::{build_margin_detail, build_margin_table, margins_of};
use crate::path::decode_last_segment;
use crate::queries::ReadError;
use crate::queries::margins::{fetch_customer_facts, fetch_margin_facts};
use crate::state::QueryState;

/// What the plan opens, as refusals name it.
const FEATURE: &str = "Margins";

pub(super) fn api() -> Api<QueryState> {
    const PERIOD: &str = "The month; without it, the current one.";
    let list = Endpoint::get(
        "/api/margins",
        Access::Session(Role::Viewer),
        "Returns what each mapped customer earned and cost, worst margin first.",
    )
    .tier(Tier::Pro, FEATURE)
    .query("period", shapes::period(), PERIOD)
    .query(
        "format",
        json!({ "type": "string" }),
        "`csv`, or JSON for anything else.",
    )
    .answers_data(200, shape_of::<MarginTable>())
    .answers_text(200, "text/csv");
    let get = Endpoint::get(
        "/api/margins/{customer}",
        Access::Session(Role::Viewer),
        "Returns one customer's margin, with its months and models.",
    )
    .tier(Tier::Pro, FEATURE)
    .path_parameter(
        "customer",
        json!({ "type": "string", "minLength": 1 }),
        "The customer's tag value.",
    )
    .query("period", shapes::period(), PERIOD)
    .answers_data(200, shape_of::<MarginDetail>());
    Api::new().endpoint(list, list_margins).endpoint(get, get_margin)
}

async fn list_margins(
    State(state): State<QueryState>,
    caller: SessionCaller,
    params: QueryParams,
) -> Result<Response, ApiError> {
    let period = period_of(&params)?;
    let mappings = async {
        let mappings = state.control().list_customer_mappings(caller.org_id).await;
        mappings.map_err(ApiError::from)
    };
    let facts = async {
        let facts = fetch_margin_facts(state.warehouse(), caller.org_id, period).await;
        facts.map_err(ApiError::from)
    };
    let (mappings, facts) = tokio::try_join!(mappings, facts)?;
    let table = build_margin_table(period, &mappings, &facts.costs, &facts.revenues, &facts.names)
        .map_err(ReadError::from)?;
    if params.text("format") == Some("csv") {
        return csv_response(
            &format!("margins-{period}.csv"),
            "text/csv",
            print_margin_csv(&table),
        );
    }
    reply::data(StatusCode::OK, &table)
}

async fn get_margin(
    State(state): State<QueryState>,
    caller: SessionCaller,
    uri: Uri,
    params: QueryParams,
) -> Result<Response, ApiError> {
    let tag_value = decode_last_segment(&uri).map_err(|_| {
        ApiError::new(
            ErrorCode::ValidationError,
            "Customer is not validly percent-encoded.",
        )
    })?;
    let period = period_of(&params)?;
    let mapping = state
        .control()
        .find_customer_mapping(caller.org_id, &tag_value)
        .await?;
    let mapping = mapping.ok_or_else(|| ApiError::not_found("Customer mapping not found."))?;
    let facts = fetch_customer_facts(state.warehouse(), &mapping, period).await?;
    let months = margins_of(facts.revenues, facts.costs);
    reply::data(
        StatusCode::OK,
        &build_margin_detail(period, mapping, months, facts.name, facts.models),
    )
}

/// Reads `period`; absent, it is the current month.
fn period_of(params: &QueryParams) -> Result<Period, ApiError> {
    let Some(text) = params.text("period") else {
        return Ok(Period::containing(Utc::now()));
    };
    text.parse()
        .map_err(|_| ApiError::new(ErrorCode::ValidationError, "period must be YYYY-MM format."))
}
