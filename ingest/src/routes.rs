//! The table of routes.

mod batch;
mod single;
mod stream;

use marginstream_http::{Access, Api, Endpoint, IpQuota, shape_of};
use schemas::api::shapes::{answers, new_cost_event, new_cost_events};
use schemas::api::stream::StreamOutcome;
use serde_json::json;

use crate::IngestState;

pub(crate) fn api() -> Api<IngestState> {
    let idempotency_key = || json!({ "type": "string", "maxLength": 200 });
    let single = Endpoint::post("/api/cost-events", Access::ApiKey, "Takes one cost event.")
        .ip_quota(IpQuota::Ingest)
        .header(
            "Idempotency-Key",
            idempotency_key(),
            "The event's key; a repeated one is answered 200 with the first event.",
        )
        .json(new_cost_event)
        .answers_data(200, answers::created)
        .answers_data(201, answers::created);
    let batch = Endpoint::post(
        "/api/cost-events/batch",
        Access::ApiKey,
        "Takes up to 100 cost events, all or none; known ones are passed over.",
    )
    .ip_quota(IpQuota::Ingest)
    .header(
        "Idempotency-Key",
        idempotency_key(),
        "The call's key; a repeated call gets the first answer.",
    )
    .json(new_cost_events)
    .answers_json(200, answers::inserted)
    .answers_json(201, answers::inserted);
    let stream = Endpoint::post(
        "/api/cost-events/stream",
        Access::ApiKey,
        "Takes cost events without end; a broken line rejects that line only.",
    )
    .ip_quota(IpQuota::Ingest)
    .stream(
        "application/x-ndjson",
        "One event a line, gzip or zstd or as it is.",
    )
    .answers_data(200, shape_of::<StreamOutcome>());
    Api::new()
        .endpoint(single, single::create_cost_event)
        .endpoint(batch, batch::create_cost_events)
        .endpoint(stream, stream::stream_cost_events)
}
