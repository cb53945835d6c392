//! From an HTTP request to a statement on its own thread, and back.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, Method, Response, StatusCode, header};
use axum::response::IntoResponse;
use http_body_util::{BodyExt, Limited};
use tokio::sync::{mpsc, oneshot};

use super::cancel::CancelGuard;
use super::error::{QueryError, code};
use super::response::ResponseSender;
use super::{ServerState, body, multipart, request, response, run};
use crate::engine::Role;

/// Chunks of a result that wait for a slow client.
const CHUNKS_IN_FLIGHT: usize = 4;

type Fields = Vec<(String, String)>;

/// Answers `/`: a statement, or `Ok.` when there is none.
pub(super) async fn answer(
    State(state): State<Arc<ServerState>>,
    method: Method,
    headers: HeaderMap,
    Query(fields): Query<Fields>,
    body: Body,
) -> Response<Body> {
    if !matches!(method, Method::GET | Method::HEAD | Method::POST) {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let has_statement = method == Method::POST || fields.iter().any(|(name, _)| name == "query");
    if !has_statement {
        return "Ok.\n".into_response();
    }
    match execute(state, method, headers, fields, body).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

/// Answers every other path as the server does.
pub(super) async fn not_found() -> Response<Body> {
    let text =
        "There is no such handler. Use / or /ping for health checks, or /?query= to run a statement.\n";
    (StatusCode::NOT_FOUND, text).into_response()
}

async fn execute(
    state: Arc<ServerState>,
    method: Method,
    headers: HeaderMap,
    mut fields: Fields,
    mut body: Body,
) -> Result<Response<Body>, QueryError> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    if let Some(boundary) = content_type.and_then(multipart::boundary) {
        // Users are told apart before anything of theirs is kept in memory.
        super::auth::authenticate(&state.config.users, &headers, &fields)?;
        fields.extend(read_form(body, &boundary, state.config.max_statement_bytes).await?);
        body = Body::empty();
    }
    let request = request::read(&state, &method, &headers, fields)?;
    let stopping = || {
        QueryError::new(
            code::QUERY_WAS_CANCELLED,
            "QUERY_WAS_CANCELLED",
            "the server is stopping",
        )
    };
    let analyst_permit = match request.role {
        Role::Analyst => Some(
            Arc::clone(&state.analyst_permits)
                .acquire_owned()
                .await
                .map_err(|_| stopping())?,
        ),
        Role::Service => None,
    };
    let permit = state.engine.permit().await.ok_or_else(stopping)?;
    let guard = CancelGuard::new(Arc::clone(&state.engine), request.cancel_key.clone());
    let ended = guard.ended();
    let (head_sender, head) = oneshot::channel();
    let (chunk_sender, chunks) = mpsc::channel(CHUNKS_IN_FLIGHT);
    let job = run::Job {
        engine: Arc::clone(&state.engine),
        permits: (permit, analyst_permit),
        request,
        body: body::forward(body),
        max_statement_bytes: state.config.max_statement_bytes,
        response: ResponseSender {
            head: Some(head_sender),
            chunks: chunk_sender,
        },
        ended,
    };
    drop(tokio::task::spawn_blocking(move || run::run(job)));
    let head = head.await.map_err(|_| stopping())??;
    Ok(response::build(&state, head, chunks, guard))
}

async fn read_form(body: Body, boundary: &str, max_bytes: usize) -> Result<Fields, QueryError> {
    let collected = Limited::new(body, max_bytes).collect().await.map_err(|error| {
        QueryError::new(
            code::QUERY_IS_TOO_LARGE,
            "QUERY_IS_TOO_LARGE",
            format!("form was not read: {error}"),
        )
    })?;
    multipart::fields(&collected.to_bytes(), boundary).ok_or_else(|| {
        let text = "form is malformed or carries external data, which is not supported";
        QueryError::new(code::NOT_IMPLEMENTED, "NOT_IMPLEMENTED", text)
    })
}
