//! `GET /api/health`, public.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use marginstream_http::{ApiError, reply};
use serde_json::json;

use crate::health::run_checks;
use crate::state::QueryState;

pub(super) async fn get_health(State(state): State<QueryState>) -> Result<Response, ApiError> {
    run_checks(state.health_checks())
        .await
        .map_err(ApiError::unavailable)?;
    reply::json(StatusCode::OK, &json!({ "status": "ok" }))
}
