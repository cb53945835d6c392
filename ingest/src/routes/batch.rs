//! `POST /api/cost-events/batch` (`../spec/cost-events.md` §4): all or nothing.

use arrow::error::ArrowError;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;
use marginstream_http::body::read_json;
use marginstream_http::idempotency::{ReplayScope, idempotency_key};
use marginstream_http::{ApiError, ApiKeyCaller, Issue, PathItem, reply};
use schemas::cost_event::{CostEvent, Overrides, Receipt, WireEvent};
use schemas::id::EventId;
use schemas::time::TimestampMs;
use serde::Serialize;
use serde_json::Value;

use crate::IngestState;
use crate::batch::{EventBatch, EventBatchBuilder};
use crate::error::IngestError;

/// Most events of one call.
const MAX_EVENTS: usize = 100;

#[derive(Serialize)]
struct Inserted {
    inserted: usize,
    ids: Vec<EventId>,
}

pub(super) async fn create_cost_events(
    State(state): State<IngestState>,
    caller: ApiKeyCaller,
    request: Request,
) -> Result<Response, ApiError> {
    let scope = idempotency_key(request.headers())?
        .map(|key| ReplayScope::new(caller.key_id(), request.uri().path(), key));
    state
        .http
        .replays()
        .run(scope, create(&state, &caller, request))
        .await
}

async fn create(state: &IngestState, caller: &ApiKeyCaller, request: Request) -> Result<Response, ApiError> {
    let body = read_json(request).await?;
    let mut tally = state.acceptor.receive(num_items(&body));
    let events = tally.or_reject(validate(caller, &body))?;
    if let Err(limited) = caller.charge_events(events.len()) {
        tally.limit();
        return Err(limited);
    }
    tally.or_reject(state.acceptor.check_room())?;
    let batch = tally.or_reject(build(caller, &events).map_err(IngestError::from))?;
    let claimed = state.acceptor.claim(batch);
    let outcome = state.acceptor.accept_claimed(claimed, tally).await?;
    let ids: Vec<_> = outcome
        .events
        .iter()
        .filter(|event| event.is_new)
        .map(|event| event.id)
        .collect();
    reply::json(
        StatusCode::CREATED,
        &Inserted {
            inserted: ids.len(),
            ids,
        },
    )
}

/// Returns how many events a body brings, valid or not.
fn num_items(body: &Value) -> usize {
    body.get("events").and_then(Value::as_array).map_or(0, Vec::len)
}

fn build(caller: &ApiKeyCaller, events: &[CostEvent<'_>]) -> Result<EventBatch, ArrowError> {
    let mut builder = EventBatchBuilder::new(caller.org_id(), events.len());
    for event in events {
        builder.append(event)?;
    }
    builder.finish()
}

/// Checks every item; one invalid item refuses all.
fn validate(caller: &ApiKeyCaller, body: &Value) -> Result<Vec<CostEvent<'static>>, ApiError> {
    let events = events_of(body).map_err(|issue| ApiError::validation(&[issue]))?;
    let receipt = Receipt {
        org_id: caller.org_id(),
        api_key_id: caller.key_id(),
        default_tags: caller.default_tags(),
        received_at: TimestampMs::now(),
    };
    let mut issues = Vec::new();
    let mut valid = Vec::with_capacity(events.len());
    for (index, item) in events.iter().enumerate() {
        let event =
            WireEvent::from_value(item).and_then(|event| event.resolve(&receipt, &Overrides::default()));
        match event {
            Ok(event) => valid.push(event),
            Err(faults) => {
                let prefix = [PathItem::from("events"), PathItem::from(index)];
                issues.extend(faults.into_iter().map(|issue| issue.under(&prefix)));
            }
        }
    }
    if issues.is_empty() {
        Ok(valid)
    } else {
        Err(ApiError::validation(&issues))
    }
}

fn events_of(body: &Value) -> Result<&[Value], Issue> {
    let members = body
        .as_object()
        .ok_or_else(|| Issue::new(Vec::new(), "Expected object"))?;
    let events = members
        .get("events")
        .ok_or_else(|| Issue::at("events", "Required"))?;
    let events = events
        .as_array()
        .ok_or_else(|| Issue::at("events", "Expected array"))?;
    match events.len() {
        0 => Err(Issue::at("events", "Array must contain at least 1 element(s)")),
        1..=MAX_EVENTS => Ok(events),
        _ => Err(Issue::at(
            "events",
            format!("Array must contain at most {MAX_EVENTS} element(s)"),
        )),
    }
}
