//! The table of routes.

mod batch;
mod single;
mod stream;

use axum::Router;
use axum::routing::post;

use crate::IngestState;

pub(crate) fn router() -> Router<IngestState> {
    Router::new()
        .route("/api/cost-events", post(single::create_cost_event))
        .route("/api/cost-events/batch", post(batch::create_cost_events))
        .route("/api/cost-events/stream", post(stream::stream_cost_events))
}
