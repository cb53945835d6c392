//! `POST /api/cost-events` (`../spec/cost-events.md` §2).

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use marginstream_http::body::read_body;
use marginstream_http::idempotency::{ReplayScope, idempotency_key};
use marginstream_http::{ApiError, ApiKeyCaller, reply};
use schemas::cost_event::{CostEvent, InvalidEvent, Overrides, Receipt, WireEvent};
use schemas::id::EventId;
use schemas::time::TimestampMs;
use serde::Serialize;

use crate::IngestState;
use crate::overrides::from_headers;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Created {
    id: EventId,
    created_at: TimestampMs,
}

pub(super) async fn create_cost_event(
    State(state): State<IngestState>,
    caller: ApiKeyCaller,
    request: Request,
) -> Result<Response, ApiError> {
    if let Err(limited) = caller.charge_events(1) {
        state.acceptor.receive(1).limit();
        return Err(limited);
    }
    let scope = idempotency_key(request.headers())?
        .map(|key| ReplayScope::new(caller.key_id(), request.uri().path(), key));
    state
        .http
        .replays()
        .run(scope, create(&state, &caller, request))
        .await
}

async fn create(state: &IngestState, caller: &ApiKeyCaller, request: Request) -> Result<Response, ApiError> {
    let mut tally = state.acceptor.receive(1);
    let from_headers = from_headers(request.headers());
    let body = tally.or_reject(read_body(request).await)?;
    let headers = tally.or_reject(from_headers)?;
    let event = tally.or_reject(parse(caller, &body, &headers.overrides))?;
    let accepted = state.acceptor.accept(event, tally).await?;
    let status = if accepted.is_new {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let mut response = reply::data(
        status,
        &Created {
            id: accepted.id,
            created_at: accepted.created_at,
        },
    )?;
    if let Some(warning) = headers.warning {
        response.headers_mut().insert("x-nullspend-warning", warning);
    }
    Ok(response)
}

fn parse<'a>(
    caller: &'a ApiKeyCaller,
    body: &'a [u8],
    overrides: &'a Overrides,
) -> Result<CostEvent<'a>, ApiError> {
    let receipt = Receipt {
        org_id: caller.org_id(),
        api_key_id: caller.key_id(),
        default_tags: caller.default_tags(),
        received_at: TimestampMs::now(),
    };
    WireEvent::parse(body)
        .map_err(|invalid| match invalid {
            InvalidEvent::Json => ApiError::invalid_json("Request body must be valid JSON."),
            InvalidEvent::Issues(issues) => ApiError::validation(&issues),
        })?
        .resolve(&receipt, overrides)
        .map_err(|issues| ApiError::validation(&issues))
}
