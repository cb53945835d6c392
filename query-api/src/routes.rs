//! The routes, in one table.

mod attribution;
mod cost_events;
mod customer_mappings;
mod margins;
mod summary;

use axum::extract::FromRef;
use marginstream_http::{Api, HttpState, account_api, health_api};

use crate::state::QueryState;

/// Returns all endpoints of the service, those of accounts included, to be passed through
/// [`marginstream_http::apply`] with all that they are merged with.
#[must_use]
pub fn api(state: QueryState) -> Api {
    let http = HttpState::from_ref(&state);
    let health = health_api(&http, state.health());
    Api::new()
        .merge(margins::api())
        .merge(customer_mappings::api())
        .merge(attribution::api())
        .merge(summary::api())
        .merge(cost_events::api())
        .with_state(state)
        .merge(account_api().with_state(http))
        .merge(health)
}
