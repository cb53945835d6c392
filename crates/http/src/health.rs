//! What a service cannot do without, and `GET /api/health` (`spec/webhooks-tools-billing.md` §E).

use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use control::ControlStore;
use schemas::id::OrgId;
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::warn;
use uuid::Uuid;

use crate::error::ApiError;
use crate::reply;

/// How long one check may take before it counts as failed.
const CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// The header that asks for detail where a secret is set.
const SECRET_HEADER: &str = "x-ops-health-secret";

/// Why a component is not healthy. It is logged, and shown only to those who have the secret.
pub type CheckError = Box<dyn Error + Send + Sync>;

/// A check under way.
pub type CheckFuture = Pin<Box<dyn Future<Output = Result<(), CheckError>> + Send>>;

/// A named check of something that the service cannot do without.
#[derive(Clone)]
pub struct HealthCheck {
    name: &'static str,
    is_for_readiness: bool,
    start: Arc<dyn Fn() -> CheckFuture + Send + Sync>,
}

impl HealthCheck {
    /// Makes a check of the component `name`, in lower camel case. `start` is called for each
    /// request of a health endpoint; a check that takes longer than two seconds has failed.
    pub fn new(name: &'static str, start: impl Fn() -> CheckFuture + Send + Sync + 'static) -> Self {
        Self {
            name,
            is_for_readiness: true,
            start: Arc::new(start),
        }
    }

    /// Keeps the check out of readiness: without the component the service is degraded, but it
    /// still takes requests.
    #[must_use]
    pub fn beyond_readiness(mut self) -> Self {
        self.is_for_readiness = false;
        self
    }

    /// Looks up an organization that does not exist: the cheapest read there is.
    #[must_use]
    pub fn of_control(control: ControlStore) -> Self {
        Self::new("controlStore", move || {
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
        f.debug_struct("HealthCheck")
            .field("name", &self.name)
            .field("is_for_readiness", &self.is_for_readiness)
            .finish_non_exhaustive()
    }
}

/// The hash of the secret that opens the detail of `GET /api/health`. Hashes are compared, so the
/// time that it takes tells nothing about the secret.
#[derive(Clone, PartialEq, Eq)]
pub struct HealthSecret([u8; 32]);

impl HealthSecret {
    /// Hashes a secret; none where it is blank, which counts as not set.
    #[must_use]
    pub fn of(secret: &str) -> Option<Self> {
        (!secret.trim().is_empty()).then(|| Self(Sha256::digest(secret).into()))
    }

    fn is_in(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(SECRET_HEADER);
        given.is_some_and(|given| <[u8; 32]>::from(Sha256::digest(given.as_bytes())) == self.0)
    }
}

impl fmt::Debug for HealthSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HealthSecret(..)")
    }
}

/// The checks of a service. Clones share them.
#[derive(Debug, Clone)]
pub struct Health {
    checks: Arc<[HealthCheck]>,
    secret: Option<HealthSecret>,
}

#[derive(Serialize)]
struct HealthBody {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    components: Option<BTreeMap<&'static str, ComponentBody>>,
}

#[derive(Serialize)]
struct ComponentBody {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// How much an answer tells of the components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// Nothing.
    None,
    /// Which are not healthy.
    Status,
    /// Also why.
    Errors,
}

/// What a check found.
type Finding = (&'static str, Result<(), CheckError>);

impl Health {
    /// Makes the health of a service from its checks. Without a secret anyone may ask which
    /// components are healthy, but nobody is told why one is not.
    #[must_use]
    pub fn new(checks: Vec<HealthCheck>, secret: Option<HealthSecret>) -> Self {
        Self {
            checks: checks.into(),
            secret,
        }
    }

    /// Answers `GET /api/health`: 200 `ok` while all components are healthy, else 503 `degraded`.
    /// `is_verbose` asks for the components, which a secret may guard.
    ///
    /// # Errors
    /// 500 where the answer cannot be written.
    pub async fn answer(&self, headers: &HeaderMap, is_verbose: bool) -> Result<Response, ApiError> {
        let detail = match &self.secret {
            _ if !is_verbose => Detail::None,
            None => Detail::Status,
            Some(secret) if secret.is_in(headers) => Detail::Errors,
            Some(_) => Detail::None,
        };
        write(self.run(|_| true).await, detail)
    }

    /// Answers whether the service can take requests: 200, or 503 with the components that it
    /// lacks.
    pub(crate) async fn answer_readiness(&self) -> Result<Response, ApiError> {
        write(self.run(|check| check.is_for_readiness).await, Detail::Status)
    }

    /// Runs checks at the same time, and logs what is not healthy.
    async fn run(&self, is_wanted: impl Fn(&HealthCheck) -> bool) -> Vec<Finding> {
        let mut running = JoinSet::new();
        for check in self.checks.iter().filter(|check| is_wanted(check)) {
            let (name, check) = (check.name, (check.start)());
            running.spawn(async move {
                let outcome = timeout(CHECK_TIMEOUT, check)
                    .await
                    .unwrap_or_else(|elapsed| Err(elapsed.into()));
                (name, outcome)
            });
        }
        let mut findings = Vec::new();
        while let Some(ended) = running.join_next().await {
            let finding = ended.unwrap_or_else(|panicked| ("checkItself", Err(panicked.into())));
            if let (component, Err(error)) = &finding {
                warn!(component, error = %with_sources(&**error), "health check failed");
            }
            findings.push(finding);
        }
        findings
    }
}

fn write(findings: Vec<Finding>, detail: Detail) -> Result<Response, ApiError> {
    let is_healthy = findings.iter().all(|(_, outcome)| outcome.is_ok());
    let (code, status) = if is_healthy {
        (StatusCode::OK, "ok")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "degraded")
    };
    let component = |(name, outcome): Finding| {
        let status = if outcome.is_ok() { "ok" } else { "error" };
        let error = outcome.err().filter(|_| detail == Detail::Errors);
        let error = error.map(|error| with_sources(&*error));
        (name, ComponentBody { status, error })
    };
    let components = (detail != Detail::None).then(|| findings.into_iter().map(component).collect());
    reply::json(code, &HealthBody { status, components })
}

fn with_sources(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;

    use super::*;

    fn check(name: &'static str, outcome: Result<(), &'static str>) -> HealthCheck {
        HealthCheck::new(name, move || {
            Box::pin(async move { outcome.map_err(CheckError::from) })
        })
    }

    async fn text(answer: Result<Response, ApiError>) -> (u16, String) {
        let answer = answer.unwrap();
        let status = answer.status().as_u16();
        let body = to_bytes(answer.into_body(), 10_000).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn with_secret(secret: &str) -> HeaderMap {
        HeaderMap::from_iter([(
            axum::http::HeaderName::from_static(SECRET_HEADER),
            secret.parse().unwrap(),
        )])
    }

    #[tokio::test]
    async fn one_failing_check_degrades_the_service() {
        let none = HeaderMap::new();
        let healthy = Health::new(vec![check("a", Ok(())), check("b", Ok(()))], None);
        assert_eq!(
            text(healthy.answer(&none, false).await).await,
            (200, r#"{"status":"ok"}"#.to_owned())
        );
        let degraded = Health::new(vec![check("a", Ok(())), check("b", Err("down"))], None);
        assert_eq!(
            text(degraded.answer(&none, false).await).await,
            (503, r#"{"status":"degraded"}"#.to_owned())
        );
        // Open to all, so without the reason.
        let open = r#"{"status":"degraded","components":{"a":{"status":"ok"},"b":{"status":"error"}}}"#;
        assert_eq!(
            text(degraded.answer(&none, true).await).await,
            (503, open.to_owned())
        );
    }

    #[tokio::test]
    async fn a_secret_guards_the_detail() {
        assert_eq!(HealthSecret::of(" "), None);
        let health = Health::new(vec![check("b", Err("down"))], HealthSecret::of("open sesame"));
        let minimal = (503, r#"{"status":"degraded"}"#.to_owned());
        assert_eq!(text(health.answer(&HeaderMap::new(), true).await).await, minimal);
        assert_eq!(
            text(health.answer(&with_secret("open"), true).await).await,
            minimal
        );
        assert_eq!(
            text(health.answer(&with_secret("open sesame"), false).await).await,
            minimal
        );
        let full = r#"{"status":"degraded","components":{"b":{"status":"error","error":"down"}}}"#;
        assert_eq!(
            text(health.answer(&with_secret("open sesame"), true).await).await,
            (503, full.to_owned())
        );
        assert!(!format!("{health:?}").contains("sesame"));
    }

    #[tokio::test]
    async fn a_service_may_be_ready_though_degraded() {
        let health = Health::new(
            vec![check("a", Ok(())), check("b", Err("down")).beyond_readiness()],
            None,
        );
        let ready = r#"{"status":"ok","components":{"a":{"status":"ok"}}}"#;
        assert_eq!(
            text(health.answer_readiness().await).await,
            (200, ready.to_owned())
        );
        assert_eq!(text(health.answer(&HeaderMap::new(), false).await).await.0, 503);
    }

    #[tokio::test]
    async fn a_check_that_panics_or_takes_too_long_fails() {
        for broken in [
            HealthCheck::new("a", || Box::pin(async { panic!("broken") })),
            HealthCheck::new("a", || Box::pin(std::future::pending())),
        ] {
            let health = Health::new(vec![broken], None);
            assert_eq!(text(health.answer(&HeaderMap::new(), false).await).await.0, 503);
        }
    }
}
