//! Settings of the HTTP layer; the command maps its flags onto them.

use std::collections::BTreeMap;
use std::time::Duration;

use schemas::access::Tier;

use crate::client_ip::IpNetwork;
use crate::health::HealthSecret;
use crate::oidc::OidcConfig;

/// Settings that both services share. Every rate is a count per minute; 0 means no limit.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Peers whose `X-Forwarded-For` and `X-Real-IP` are believed. Such a proxy must replace the
    /// header that it was sent, not append to it: the first element names the client.
    pub trusted_proxies: Vec<IpNetwork>,
    /// True where clients arrive over TLS: adds HSTS, and `Secure` to the session cookie.
    pub behind_tls: bool,
    /// Ingest requests per client address. Default 1,200.
    pub ingest_per_ip_per_min: u32,
    /// Other API requests per client address. Default 100.
    pub api_per_ip_per_min: u32,
    /// Requests per API key; a batch or a stream is one request. Default 600.
    pub requests_per_key_per_min: TierQuota,
    /// Events per API key, over all ingest calls. Default none.
    pub events_per_key_per_min: TierQuota,
    /// Sign-in attempts per account. Default 10.
    pub sign_in_per_account_per_min: u32,
    /// Sign-in attempts per client address. Default 30.
    pub sign_in_per_ip_per_min: u32,
    /// Attempts per client address at secrets sent by hand, as tokens of invitations. Default 10.
    pub attempts_per_ip_per_min: u32,
    /// Addresses, keys or accounts that one limiter remembers, about 100 bytes each. The coldest
    /// are forgotten first, which lets them through: limits protect, they are no access control.
    pub max_tracked: usize,
    /// How long resolved keys are remembered.
    pub key_cache: KeyCacheConfig,
    /// How long answers are kept for replay.
    pub replay: ReplayConfig,
    /// What opens the detail of the health endpoint. Default none: the detail is open, without
    /// reasons.
    pub health_secret: Option<HealthSecret>,
    /// The OpenID Connect provider that people may sign in with. Default none.
    pub oidc: Option<OidcConfig>,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            trusted_proxies: Vec::new(),
            behind_tls: false,
            ingest_per_ip_per_min: 1_200,
            api_per_ip_per_min: 100,
            requests_per_key_per_min: TierQuota::of(600),
            events_per_key_per_min: TierQuota::of(0),
            sign_in_per_account_per_min: 10,
            sign_in_per_ip_per_min: 30,
            attempts_per_ip_per_min: 10,
            max_tracked: 100_000,
            key_cache: KeyCacheConfig::default(),
            replay: ReplayConfig::default(),
            health_secret: None,
            oidc: None,
        }
    }
}

impl HttpConfig {
    /// Returns settings without rate limits, for tests.
    #[must_use]
    pub fn for_test() -> Self {
        Self {
            ingest_per_ip_per_min: 0,
            api_per_ip_per_min: 0,
            requests_per_key_per_min: TierQuota::of(0),
            sign_in_per_account_per_min: 0,
            sign_in_per_ip_per_min: 0,
            attempts_per_ip_per_min: 0,
            ..Self::default()
        }
    }
}

/// A rate with exceptions by tier.
#[derive(Debug, Clone, Default)]
pub struct TierQuota {
    /// Count per minute where the tier has no entry; 0 means no limit.
    pub default_per_min: u32,
    /// Count per minute of single tiers; 0 means no limit.
    pub overrides: BTreeMap<Tier, u32>,
}

impl TierQuota {
    /// Makes a rate that is the same for all tiers.
    #[must_use]
    pub const fn of(per_min: u32) -> Self {
        Self {
            default_per_min: per_min,
            overrides: BTreeMap::new(),
        }
    }

    /// Returns the count per minute that holds for `tier`.
    #[must_use]
    pub fn per_min(&self, tier: Tier) -> u32 {
        self.overrides.get(&tier).copied().unwrap_or(self.default_per_min)
    }
}

/// Bounds of the cache of resolved API keys.
#[derive(Debug, Clone, Copy)]
pub struct KeyCacheConfig {
    /// How long an answer of the store counts, which is how long a revoked key may still work on
    /// another node. Default and upper bound 30 s (`spec/conventions.md` OPEN-C3).
    pub ttl: Duration,
    /// Known keys that are remembered. Default 4,096.
    pub max_known: usize,
    /// Unknown keys that are remembered. Default 2,048.
    pub max_unknown: usize,
}

impl KeyCacheConfig {
    /// The longest time that an answer of the store may count.
    pub const MAX_TTL: Duration = Duration::from_secs(30);
}

impl Default for KeyCacheConfig {
    fn default() -> Self {
        Self {
            ttl: Self::MAX_TTL,
            max_known: 4_096,
            max_unknown: 2_048,
        }
    }
}

/// Bounds of the store behind the `Idempotency-Key` header.
#[derive(Debug, Clone, Copy)]
pub struct ReplayConfig {
    /// How long an answer is replayed. Default 24 h.
    pub ttl: Duration,
    /// Answers that are kept. Default 100,000.
    pub max_entries: u32,
    /// Bytes of all answers that are kept. Default 64 MiB.
    pub max_bytes: u64,
    /// How long a second call waits for the first. Default 1 s.
    pub max_wait: Duration,
}

impl Default for ReplayConfig {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(24 * 60 * 60),
            max_entries: 100_000,
            max_bytes: 64 << 20,
            max_wait: Duration::from_secs(1),
        }
    }
}
