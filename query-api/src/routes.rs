//! The routes, in one table.

mod attribution;
mod cost_events;
mod customer_mappings;
mod margins;

use axum::Router;
use axum::routing::get;
use marginstream_http::{auth_router, health_router};

use crate::state::QueryState;

/// Returns all routes of the service, sign-in included. The caller passes the router that it
/// serves, with all that it has merged into it, through [`marginstream_http::apply`].
pub fn router(state: QueryState) -> Router {
    let health = health_router(state.health());
    auth_router::<QueryState>()
        .route("/api/margins", get(margins::list_margins))
        .route("/api/margins/{customer}", get(margins::get_margin))
        .route(
            "/api/customer-mappings",
            get(customer_mappings::list_customer_mappings)
                .post(customer_mappings::create_customer_mapping)
                .delete(customer_mappings::delete_customer_mapping),
        )
        .route("/api/cost-events", get(cost_events::list_cost_events))
        .route("/api/cost-events/attribution", get(attribution::get_attribution))
        .route("/api/cost-events/{id}", get(cost_events::get_cost_event))
        .with_state(state)
        .merge(health)
}
