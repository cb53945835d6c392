//! What a service tells of itself: `GET /api/health` to anyone; metrics and probes to its operators,
//! on the same port but outside of `/api`.
//!
//! Nothing here is authenticated, and nothing tells of a tenant. A proxy before the service routes
//! `/api` alone.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::json;
use telemetry::metrics;

use crate::error::ApiError;
use crate::health::Health;
use crate::query::QueryParams;
use crate::reply;

/// Returns the public route `GET /api/health`. It belongs to the API, so it passes through
/// [`crate::apply`].
pub fn health_router(health: Health) -> Router {
    Router::new()
        .route("/api/health", get(show_health))
        .with_state(health)
}

/// Returns the routes for operators: `GET /metrics`, `GET /health/live` and `GET /health/ready`.
/// To be merged with what [`crate::apply`] returns, or served alone by a service without an API.
pub fn internal_router(health: Health) -> Router {
    Router::new()
        .route("/metrics", get(show_metrics))
        .route("/health/live", get(show_liveness))
        .route("/health/ready", get(show_readiness))
        .with_state(health)
}

async fn show_health(
    State(health): State<Health>,
    headers: HeaderMap,
    query: QueryParams,
) -> Result<Response, ApiError> {
    health.answer(&headers, query.text("verbose") == Some("1")).await
}

async fn show_metrics() -> Response {
    let content_type = HeaderValue::from_static(metrics::CONTENT_TYPE);
    ([(header::CONTENT_TYPE, content_type)], metrics::render()).into_response()
}

/// The process runs and its threads take work; a dependency that is down is no reason to kill it.
async fn show_liveness() -> Result<Response, ApiError> {
    reply::json(StatusCode::OK, &json!({ "status": "ok" }))
}

async fn show_readiness(State(health): State<Health>) -> Result<Response, ApiError> {
    health.answer_readiness().await
}
