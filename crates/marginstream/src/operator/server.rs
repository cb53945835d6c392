//! The server's side of the operator's socket: HTTP, JSON, no authentication but the file's mode.

use std::sync::Arc;

use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use control::ControlStore;
use event_log::EventLog;
use processor::completeness::{self, Completeness};
use processor::dead_letters::{self, DeadLetter, Selection};
use processor::replay::{self, ReplayedTable};
use processor::{Pauser, reconcile};
use schemas::id::OrgId;
use schemas::invoice::InvoiceRecord;
use schemas::period::Period;
use schemas::time::TimestampMs;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::UnixListener;
use tokio_util::sync::CancellationToken;
use tracing::error;
use warehouse::Warehouse;

use super::margins::fetch_table;
use crate::config::BatchConfig;
use crate::error::{CommandError, sentence};

/// Largest request, in bytes: some thousand invoices.
const MAX_BODY_BYTES: usize = 64 << 20;

/// Where the server is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Status {
    /// Its process id.
    pub(crate) pid: u32,
    /// The API's base URL.
    pub(crate) url: String,
    /// ClickHouse's HTTP interface.
    pub(crate) clickhouse_url: String,
}

/// What the operator's requests work on.
#[derive(Debug, Clone)]
pub(crate) struct OperatorState {
    pub(crate) status: Status,
    pub(crate) log: Arc<dyn EventLog>,
    pub(crate) control: ControlStore,
    pub(crate) warehouse: Warehouse,
    pub(crate) pauser: Pauser,
}

/// Serves requests of operators until `shutdown`.
pub(crate) async fn serve(
    listener: UnixListener,
    state: OperatorState,
    shutdown: CancellationToken,
) -> Result<(), CommandError> {
    let served = axum::serve(listener, router(state))
        .with_graceful_shutdown(shutdown.cancelled_owned())
        .await;
    served.map_err(CommandError::Runtime)
}

fn router(state: OperatorState) -> Router {
    Router::new()
        .route("/status", get(show_status))
        .route("/invoices", post(publish_invoices))
        .route("/reconcile", post(run_reconcile))
        .route("/replay", post(run_replay))
        .route("/dead-letters", post(list_dead_letters))
        .route("/dead-letters/redrive", post(redrive_dead_letters))
        .route("/margins", get(show_margins))
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(state)
}

/// A failure, which the operator is shown in full.
struct Failure(CommandError);

impl<E: Into<CommandError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let message = sentence(&self.0);
        error!(error = %message, "operator request failed");
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            Json(json!({ "error": { "message": message } })),
        )
            .into_response()
    }
}

async fn show_status(State(state): State<OperatorState>) -> Json<Status> {
    Json(state.status)
}

/// Answers once all records are durable.
async fn publish_invoices(
    State(state): State<OperatorState>,
    Json(records): Json<Vec<InvoiceRecord>>,
) -> Result<StatusCode, Failure> {
    ingest::invoices::publish(&*state.log, &records).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Returns up to when everything is counted.
pub(super) async fn completeness(
    log: &dyn EventLog,
    warehouse: &Warehouse,
) -> Result<Completeness, CommandError> {
    let now = TimestampMs::now();
    Ok(completeness::fetch(log, BatchConfig::GROUP, warehouse, now).await?)
}

#[derive(Deserialize)]
struct ReconcileParams {
    #[serde(default)]
    repair: bool,
}

/// Holds the processor meanwhile; ingest goes on.
async fn run_reconcile(
    State(state): State<OperatorState>,
    Query(params): Query<ReconcileParams>,
) -> Result<Json<reconcile::ReconcileReport>, Failure> {
    let _held = state.pauser.pause().await;
    let mut report = reconcile::run(&state.warehouse, params.repair, None).await?;
    report.completeness = Some(completeness(&*state.log, &state.warehouse).await?);
    Ok(Json(report))
}

/// Holds the processor meanwhile; ingest and queries go on.
async fn run_replay(State(state): State<OperatorState>) -> Result<Json<Vec<ReplayedTable>>, Failure> {
    let _held = state.pauser.pause().await;
    Ok(Json(replay::run(&state.warehouse, None).await?))
}

async fn list_dead_letters(
    State(state): State<OperatorState>,
    Json(selection): Json<Selection>,
) -> Result<Json<Vec<DeadLetter>>, Failure> {
    Ok(Json(dead_letters::list(&state.warehouse, &selection).await?))
}

async fn redrive_dead_letters(
    State(state): State<OperatorState>,
    Json(selection): Json<Selection>,
) -> Result<Json<u64>, Failure> {
    let redriven = dead_letters::redrive(&*state.log, &state.warehouse, &selection).await?;
    Ok(Json(redriven))
}

#[derive(Deserialize)]
struct MarginParams {
    org: OrgId,
    period: String,
}

async fn show_margins(
    State(state): State<OperatorState>,
    Query(params): Query<MarginParams>,
) -> Result<Response, Failure> {
    let period: Period = params
        .period
        .parse()
        .map_err(|error| CommandError::Usage(format!("{error}")))?;
    let table = fetch_table(&state.warehouse, &state.control, params.org, period).await?;
    Ok(Json(table).into_response())
}
