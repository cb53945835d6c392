//! Checks behind `GET /api/health`.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use control::ControlStore;
use schemas::id::OrgId;
use tokio::task::JoinSet;
use tokio::time::timeout;
use uuid::Uuid;
use warehouse::Warehouse;

/// How long one check may take before it counts as failed.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);

/// Why a component is not healthy. It is logged, and never shown to the caller.
pub type CheckError = Box<dyn Error + Send + Sync>;

/// A check under way.
pub type CheckFuture = Pin<Box<dyn Future<Output = Result<(), CheckError>> + Send>>;

/// A named check of something that the service cannot do without.
#[derive(Clone)]
pub struct HealthCheck {
    name: &'static str,
    start: Arc<dyn Fn() -> CheckFuture + Send + Sync>,
}

impl HealthCheck {
    /// Makes a check. `start` is called for each request of the health endpoint; a check that
    /// takes longer than two seconds has failed.
    pub fn new(name: &'static str, start: impl Fn() -> CheckFuture + Send + Sync + 'static) -> Self {
        Self {
            name,
            start: Arc::new(start),
        }
    }

    pub(crate) fn of_warehouse(warehouse: Warehouse) -> Self {
        Self::new("warehouse", move || {
            let warehouse = warehouse.clone();
            Box::pin(async move { warehouse.ping().await.map_err(CheckError::from) })
        })
    }

    /// Looks up an organization that does not exist: the cheapest read there is.
    pub(crate) fn of_control(control: ControlStore) -> Self {
        Self::new("control store", move || {
            let control = control.clone();
            Box::pin(async move {
                control
                    .org(OrgId(Uuid::nil()))
                    .await
                    .map(drop)
                    .map_err(CheckError::from)
            })
        })
    }
}

impl fmt::Debug for HealthCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HealthCheck").field(&self.name).finish()
    }
}

/// A component that is not healthy.
#[derive(Debug, thiserror::Error)]
#[error("health check of the {name} failed")]
pub(crate) struct Unhealthy {
    name: &'static str,
    #[source]
    source: CheckError,
}

/// Runs all checks at the same time and returns the first failure.
pub(crate) async fn run_checks(checks: &[HealthCheck]) -> Result<(), Unhealthy> {
    let mut running = JoinSet::new();
    for check in checks {
        let (name, check) = (check.name, (check.start)());
        running.spawn(async move {
            let outcome = timeout(CHECK_TIMEOUT, check)
                .await
                .unwrap_or_else(|elapsed| Err(elapsed.into()));
            outcome.map_err(|source| Unhealthy { name, source })
        });
    }
    while let Some(ended) = running.join_next().await {
        ended.unwrap_or_else(|panicked| {
            Err(Unhealthy {
                name: "check itself",
                source: panicked.into(),
            })
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(name: &'static str, outcome: Result<(), &'static str>) -> HealthCheck {
        HealthCheck::new(name, move || {
            Box::pin(async move { outcome.map_err(CheckError::from) })
        })
    }

    #[tokio::test]
    async fn one_failing_check_fails_all() {
        assert!(run_checks(&[]).await.is_ok());
        assert!(
            run_checks(&[check("a", Ok(())), check("b", Ok(()))])
                .await
                .is_ok()
        );
        let error = run_checks(&[check("a", Ok(())), check("b", Err("down"))])
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "health check of the b failed");
    }

    #[tokio::test]
    async fn a_check_that_panics_fails() {
        let panics = HealthCheck::new("a", || Box::pin(async { panic!("broken") }));
        assert!(run_checks(&[panics]).await.is_err());
    }
}
