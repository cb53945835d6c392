//! What the HTTP layer keeps while a service runs.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use control::ControlStore;
use schemas::id::{ApiKeyId, OrgId};

use crate::config::HttpConfig;
use crate::idempotency::ReplayStore;
use crate::key_cache::{KeyCache, KeyUses};
use crate::limit::{Limiter, TierLimiters};
use crate::oidc::OidcProvider;

/// The shared state: store, settings, limits, caches. Clones share it. A service's own state
/// yields it through `FromRef`; services in one process share one, so that limits and replays
/// hold over all of them.
#[derive(Clone)]
pub struct HttpState(Arc<Inner>);

struct Inner {
    control: ControlStore,
    config: HttpConfig,
    ingest_ips: Limiter<IpAddr>,
    api_ips: Limiter<IpAddr>,
    key_requests: TierLimiters<ApiKeyId>,
    key_events: TierLimiters<ApiKeyId>,
    sign_in_ips: Limiter<IpAddr>,
    sign_in_accounts: Limiter<[u8; 32]>,
    attempt_ips: Limiter<IpAddr>,
    key_cache: KeyCache,
    key_uses: Arc<KeyUses>,
    replays: ReplayStore,
    oidc: Option<OidcProvider>,
}

impl HttpState {
    /// Makes the state over an open control store.
    #[must_use]
    pub fn new(control: ControlStore, config: HttpConfig) -> Self {
        let max = config.max_tracked;
        Self(Arc::new(Inner {
            ingest_ips: Limiter::per_minute(config.ingest_per_ip_per_min, max),
            api_ips: Limiter::per_minute(config.api_per_ip_per_min, max),
            key_requests: TierLimiters::new(&config.requests_per_key_per_min, max),
            key_events: TierLimiters::new(&config.events_per_key_per_min, max),
            sign_in_ips: Limiter::per_minute(config.sign_in_per_ip_per_min, max),
            sign_in_accounts: Limiter::per_minute(config.sign_in_per_account_per_min, max),
            attempt_ips: Limiter::per_minute(config.attempts_per_ip_per_min, max),
            key_cache: KeyCache::new(&config.key_cache),
            key_uses: Arc::default(),
            replays: ReplayStore::new(&config.replay),
            oidc: config.oidc.clone().map(OidcProvider::new),
            control,
            config,
        }))
    }

    /// Returns the control store.
    #[must_use]
    pub fn control(&self) -> &ControlStore {
        &self.0.control
    }

    /// Returns the settings.
    #[must_use]
    pub fn config(&self) -> &HttpConfig {
        &self.0.config
    }

    /// Returns the answers kept for `Idempotency-Key`.
    #[must_use]
    pub fn replays(&self) -> &ReplayStore {
        &self.0.replays
    }

    /// Forgets what is cached of an organization's keys. To be called after a change of a key, a
    /// membership or the tier; other processes notice within the cache's time.
    pub fn forget_keys(&self, org: OrgId) {
        self.0.key_cache.forget_org(org);
    }

    pub(crate) fn ingest_ips(&self) -> &Limiter<IpAddr> {
        &self.0.ingest_ips
    }

    pub(crate) fn api_ips(&self) -> &Limiter<IpAddr> {
        &self.0.api_ips
    }

    pub(crate) fn key_requests(&self) -> &TierLimiters<ApiKeyId> {
        &self.0.key_requests
    }

    pub(crate) fn key_events(&self) -> &TierLimiters<ApiKeyId> {
        &self.0.key_events
    }

    pub(crate) fn sign_in_ips(&self) -> &Limiter<IpAddr> {
        &self.0.sign_in_ips
    }

    pub(crate) fn sign_in_accounts(&self) -> &Limiter<[u8; 32]> {
        &self.0.sign_in_accounts
    }

    pub(crate) fn attempt_ips(&self) -> &Limiter<IpAddr> {
        &self.0.attempt_ips
    }

    pub(crate) fn oidc(&self) -> Option<&OidcProvider> {
        self.0.oidc.as_ref()
    }

    pub(crate) fn key_cache(&self) -> &KeyCache {
        &self.0.key_cache
    }

    pub(crate) fn key_uses(&self) -> &Arc<KeyUses> {
        &self.0.key_uses
    }
}

impl fmt::Debug for HttpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpState")
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}
