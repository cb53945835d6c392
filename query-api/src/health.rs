//! The check of the warehouse behind `GET /api/health`.

use marginstream_http::HealthCheck;
use marginstream_http::health::CheckError;
use warehouse::Warehouse;

/// Returns the check that the warehouse answers. Sign-in, mappings and ingest work without it, and
/// the rest answers 503 by itself, so it is no part of readiness.
#[must_use]
pub fn warehouse_check(warehouse: Warehouse) -> HealthCheck {
    let check = HealthCheck::new("warehouse", move || {
        let warehouse = warehouse.clone();
        Box::pin(async move { warehouse.ping().await.map_err(CheckError::from) })
    });
    check.beyond_readiness()
}
