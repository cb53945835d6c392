//! `GET /api/cost-events/summary` (`../spec/cost-events.md` §9).

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use marginstream_http::{Access, Api, ApiError, Endpoint, QueryParams, Reader, reply, shape_of};
use schemas::api::summary::CostSummary;
use schemas::time::TimestampMs;
use serde_json::json;

use super::attribution::WINDOWS;
use crate::cost_summary::{MAX_TRACES, SummaryFacts, build_summary};
use crate::queries::attribution::{AttributionScope, fetch_by_key};
use crate::queries::summary::{fetch_days, fetch_kinds, fetch_traces};
use crate::state::QueryState;

pub(super) fn api() -> Api<QueryState> {
    let get = Endpoint::get(
        "/api/cost-events/summary",
        Access::Reader,
        "Returns cost by day, model, provider, key, tool, source and trace.",
    )
    .query(
        "period",
        json!({ "enum": ["7d", "30d", "90d"] }),
        "The last days; 30 without it.",
    )
    .answers_data(200, shape_of::<CostSummary>());
    Api::new().endpoint(get, get_summary)
}

async fn get_summary(
    State(state): State<QueryState>,
    reader: Reader,
    mut params: QueryParams,
) -> Result<Response, ApiError> {
    let window = params.choice("period", &WINDOWS).unwrap_or_default();
    params.finish()?;
    let scope = AttributionScope::new(reader.org_id(), window, TimestampMs::now(), false);
    let warehouse = state.warehouse();
    let (days, kinds, keys, traces) = tokio::try_join!(
        fetch_days(warehouse, scope),
        fetch_kinds(warehouse, scope),
        fetch_by_key(warehouse, scope),
        fetch_traces(warehouse, scope, MAX_TRACES),
    )?;
    let names = state.control().api_key_names(reader.org_id()).await?;
    let facts = SummaryFacts {
        days,
        kinds,
        keys,
        traces,
    };
    reply::data(StatusCode::OK, &build_summary(facts, &names, window.as_str())?)
}
