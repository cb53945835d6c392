//! `GET /api/margins` and `GET /api/margins/:customer` (`../spec/margins.md` §4-5).

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use chrono::Utc;
use marginstream_http::csv::csv_response;
use marginstream_http::{ApiError, ErrorCode, QueryParams, SessionCaller, reply};
use schemas::access::{Role, Tier};
use schemas::period::Period;

use crate::margin_csv::print_margin_csv;
use crate::margin_table::{build_margin_detail, build_margin_table, margins_of};
use crate::path::decode_last_segment;
use crate::queries::ReadError;
use crate::queries::margins::{fetch_customer_facts, fetch_margin_facts};
use crate::state::QueryState;

pub(super) async fn list_margins(
    State(state): State<QueryState>,
    caller: SessionCaller,
    params: QueryParams,
) -> Result<Response, ApiError> {
    require_access(&caller)?;
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

pub(super) async fn get_margin(
    State(state): State<QueryState>,
    caller: SessionCaller,
    uri: Uri,
    params: QueryParams,
) -> Result<Response, ApiError> {
    require_access(&caller)?;
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

fn require_access(caller: &SessionCaller) -> Result<(), ApiError> {
    caller.require_role(Role::Viewer)?;
    caller.require_tier(Tier::Pro, "Margins")
}

/// Reads `period`; absent, it is the current month.
fn period_of(params: &QueryParams) -> Result<Period, ApiError> {
    let Some(text) = params.text("period") else {
        return Ok(Period::containing(Utc::now()));
    };
    text.parse()
        .map_err(|_| ApiError::new(ErrorCode::ValidationError, "period must be YYYY-MM format."))
}
