//! What a service tells of itself: `GET /api/health` to anyone; metrics and probes to its operators,
//! on the same port but outside of `/api`.
//!
//! Nothing here is authenticated, and nothing tells of a tenant. A proxy before the service routes
//! `/api` alone.

use axum::Router;
use axum::extract::{FromRef, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use schemars::json_schema;
use serde_json::json;
use telemetry::metrics;

use crate::api::Api;
use crate::endpoint::{Access, Endpoint};
use crate::error::{ApiError, ErrorCode};
use crate::health::Health;
use crate::query::QueryParams;
use crate::reply;
use crate::state::HttpState;

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

#[derive(Clone)]
struct Checked {
    http: HttpState,
    health: Health,
}

impl FromRef<Checked> for HttpState {
    fn from_ref(checked: &Checked) -> Self {
        checked.http.clone()
    }
}

impl FromRef<Checked> for Health {
    fn from_ref(checked: &Checked) -> Self {
        checked.health.clone()
    }
}

/// Returns `GET /api/health` as an endpoint of the API.
pub fn health_api(http: &HttpState, health: Health) -> Api {
    let endpoint = Endpoint::get("/api/health", Access::Public, "Tells whether the service works.")
        .query(
            "verbose",
            json!({ "type": "string" }),
            "1 names the components; where a secret is configured, only for those who send it.",
        )
        .header(
            "x-ops-health-secret",
            json!({ "type": "string" }),
            "Opens the detail.",
        )
        .answers_json(200, |_| {
            json_schema!({
                "type": "object",
                "required": ["status"],
                "properties": { "status": { "enum": ["ok", "degraded"] } },
            })
        })
        .refuses(&[ErrorCode::ServiceUnavailable]);
    Api::new().endpoint(endpoint, show_health).with_state(Checked {
        http: http.clone(),
        health,
    })
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
