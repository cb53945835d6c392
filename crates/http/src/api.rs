//! The endpoints of a service: the only way to build what [`crate::apply`] serves.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{FromRef, Request, State};
use axum::handler::Handler;
use axum::response::IntoResponse;
use axum::routing::on;
use schemas::access::Tier;

use crate::endpoint::{Access, Endpoint, TierGate, Verb};
use crate::error::ApiError;
use crate::key_auth::ApiKeyCaller;
use crate::org_auth::OrgCaller;
use crate::policy::Policy;
use crate::reader::Reader;
use crate::session_auth::SessionCaller;
use crate::state::HttpState;

/// Endpoints with their handlers, over a state that yields [`HttpState`].
///
/// The caller is authenticated, and role and tier are checked, by the declaration and before the
/// handler runs. The handler finds the caller as an extractor: [`ApiKeyCaller`], [`SessionCaller`],
/// [`OrgCaller`] or [`Reader`], whichever its declaration asks for.
#[derive(Debug, Clone)]
pub struct Api<S = ()> {
    router: Router<S>,
    endpoints: Vec<Arc<Endpoint>>,
}

impl<S: Clone + Send + Sync + 'static> Default for Api<S> {
    fn default() -> Self {
        Self {
            router: Router::new(),
            endpoints: Vec::new(),
        }
    }
}

impl<S: Clone + Send + Sync + 'static> Api<S> {
    /// Makes an API without endpoints.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Serves `endpoint` by `handler`. A method of a path is declared once.
    #[must_use]
    pub fn endpoint<H, T>(mut self, endpoint: Endpoint, handler: H) -> Self
    where
        H: Handler<T, S>,
        T: 'static,
        HttpState: FromRef<S>,
    {
        let endpoint = Arc::new(endpoint);
        let declared = Arc::clone(&endpoint);
        let guarded = move |State(state): State<S>, request: Request| {
            let (endpoint, handler) = (Arc::clone(&declared), handler.clone());
            async move {
                match endpoint.admit(&HttpState::from_ref(&state), request).await {
                    Ok(request) => handler.call(request, state).await,
                    Err(refusal) => refusal.into_response(),
                }
            }
        };
        self.router = self
            .router
            .route(endpoint.path, on(endpoint.verb.filter(), guarded));
        self.endpoints.push(endpoint);
        self
    }

    /// Adds all endpoints of another API.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        self.router = self.router.merge(other.router);
        self.endpoints.extend(other.endpoints);
        self
    }

    /// Gives the handlers their state.
    #[must_use]
    pub fn with_state<S2: Clone + Send + Sync + 'static>(self, state: S) -> Api<S2> {
        Api {
            router: self.router.with_state(state),
            endpoints: self.endpoints,
        }
    }

    pub(crate) fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    pub(crate) fn into_parts(self) -> (Router<S>, Policies) {
        (self.router, Policies::of(&self.endpoints))
    }
}

/// The edge's rules for each declared method and path.
#[derive(Debug, Clone)]
pub(crate) struct Policies(Arc<HashMap<&'static str, Vec<(Verb, Policy)>>>);

impl Policies {
    fn of(endpoints: &[Arc<Endpoint>]) -> Self {
        let mut policies: HashMap<_, Vec<_>> = HashMap::new();
        for endpoint in endpoints {
            let of_path = policies.entry(endpoint.path).or_default();
            of_path.push((endpoint.verb, Policy::of_endpoint(endpoint)));
        }
        Self(Arc::new(policies))
    }

    /// Returns the rules of a request; `route` is the pattern that its path matches, if any.
    pub(crate) fn of_request(&self, request: &Request, route: Option<&str>) -> Policy {
        let declared = || {
            let verb = Verb::of(request.method())?;
            let of_path = self.0.get(route?)?;
            of_path
                .iter()
                .find_map(|(declared, policy)| (*declared == verb).then_some(*policy))
        };
        declared().unwrap_or_else(|| Policy::of_unknown(request.method(), request.uri().path()))
    }
}

impl Endpoint {
    /// Authenticates the caller, checks role and tier, and leaves the caller in the request.
    async fn admit(&self, http: &HttpState, request: Request) -> Result<Request, ApiError> {
        let (mut parts, body) = request.into_parts();
        match self.access {
            Access::Public => {}
            Access::ApiKey => {
                let caller = ApiKeyCaller::authenticate(http, &parts).await?;
                self.require_tier(caller.tier())?;
                parts.extensions.insert(caller);
            }
            Access::Session(min_role) => {
                let caller = SessionCaller::authenticate(http, &parts).await?;
                caller.require_role(min_role)?;
                self.require_tier(caller.tier)?;
                parts.extensions.insert(caller);
            }
            Access::PathOrg(min_role) => {
                let caller = OrgCaller::authenticate(http, &mut parts).await?;
                caller.require_role(min_role)?;
                parts.extensions.insert(caller);
            }
            Access::Reader => {
                let caller = Reader::authenticate(http, &parts).await?;
                self.require_tier(caller.tier())?;
                parts.extensions.insert(caller);
            }
        }
        Ok(Request::from_parts(parts, body))
    }

    fn require_tier(&self, tier: Tier) -> Result<(), ApiError> {
        match self.tier {
            Some(TierGate { min, feature }) if tier < min => Err(ApiError::tier_too_low(feature, tier, min)),
            _ => Ok(()),
        }
    }
}

/// A handler asked for a caller that its declaration does not provide.
#[derive(Debug, thiserror::Error)]
#[error("the endpoint's declaration provides no {0}")]
pub(crate) struct UndeclaredCaller(pub(crate) &'static str);
