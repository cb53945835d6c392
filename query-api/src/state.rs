//! What the handlers share.

use std::fmt;

use axum::extract::FromRef;
use control::ControlStore;
use marginstream_http::{Health, HealthCheck, HttpState};
use warehouse::Warehouse;

use crate::health::warehouse_check;

/// The warehouse, the HTTP layer's state with the control store, and the health checks. Clones
/// share all of it.
#[derive(Clone)]
pub struct QueryState {
    http: HttpState,
    warehouse: Warehouse,
    health: Health,
}

impl QueryState {
    /// Makes the state. The health endpoints ask the warehouse and the control store, and run
    /// `more_checks`.
    #[must_use]
    pub fn new(http: HttpState, warehouse: Warehouse, more_checks: Vec<HealthCheck>) -> Self {
        let mut checks = vec![
            warehouse_check(warehouse.clone()),
            HealthCheck::of_control(http.control().clone()),
        ];
        checks.extend(more_checks);
        Self {
            health: Health::new(checks, http.config().health_secret.clone()),
            http,
            warehouse,
        }
    }

    /// Returns the warehouse.
    #[must_use]
    pub fn warehouse(&self) -> &Warehouse {
        &self.warehouse
    }

    /// Returns the control store.
    #[must_use]
    pub fn control(&self) -> &ControlStore {
        self.http.control()
    }

    /// Returns the checks behind the health endpoints.
    #[must_use]
    pub fn health(&self) -> Health {
        self.health.clone()
    }
}

impl FromRef<QueryState> for HttpState {
    fn from_ref(state: &QueryState) -> Self {
        state.http.clone()
    }
}

impl fmt::Debug for QueryState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QueryState")
            .field("health", &self.health)
            .finish_non_exhaustive()
    }
}
