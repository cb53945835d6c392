//! What the handlers share.

use std::fmt;
use std::sync::Arc;

use axum::extract::FromRef;
use control::ControlStore;
use marginstream_http::HttpState;
use warehouse::Warehouse;

use crate::health::HealthCheck;

/// The warehouse, the HTTP layer's state with the control store, and the health checks. Clones
/// share all of it.
#[derive(Clone)]
pub struct QueryState {
    http: HttpState,
    warehouse: Warehouse,
    health_checks: Arc<[HealthCheck]>,
}

impl QueryState {
    /// Makes the state. The health endpoint pings the warehouse and the control store, and then
    /// runs `more_checks`.
    #[must_use]
    pub fn new(http: HttpState, warehouse: Warehouse, more_checks: Vec<HealthCheck>) -> Self {
        let mut checks = vec![
            HealthCheck::of_warehouse(warehouse.clone()),
            HealthCheck::of_control(http.control().clone()),
        ];
        checks.extend(more_checks);
        Self {
            http,
            warehouse,
            health_checks: checks.into(),
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

    pub(crate) fn health_checks(&self) -> &[HealthCheck] {
        &self.health_checks
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
            .field("health_checks", &self.health_checks)
            .finish_non_exhaustive()
    }
}
