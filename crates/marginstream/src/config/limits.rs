//! Rates that callers may not exceed.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use marginstream_http::HttpConfig;
use marginstream_http::config::{KeyCacheConfig, ReplayConfig, TierQuota};
use schemas::access::Tier;

use super::{ConfigError, HttpArgs};

/// Rates per minute; 0 means no limit.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Ingest requests a minute from one client address; a batch or a stream is one request. 0: no limit.
    #[arg(
        long,
        env = "MARGINSTREAM_INGEST_PER_IP_PER_MIN",
        value_name = "COUNT",
        default_value_t = 1_200
    )]
    pub ingest_per_ip_per_min: u32,

    /// Other API requests a minute from one client address. 0: no limit.
    #[arg(
        long,
        env = "MARGINSTREAM_API_PER_IP_PER_MIN",
        value_name = "COUNT",
        default_value_t = 100
    )]
    pub api_per_ip_per_min: u32,

    /// Requests a minute with one API key: a number, exceptions by tier, or both, such as
    /// `600,enterprise=0`. 0: no limit.
    #[arg(
        long,
        env = "MARGINSTREAM_REQUESTS_PER_KEY_PER_MIN",
        value_name = "RATES",
        default_value = "600"
    )]
    pub requests_per_key_per_min: TierRates,

    /// Events a minute with one API key, over all ingest calls; written as the rate above. 0: no limit.
    #[arg(
        long,
        env = "MARGINSTREAM_EVENTS_PER_KEY_PER_MIN",
        value_name = "RATES",
        default_value = "0"
    )]
    pub events_per_key_per_min: TierRates,

    /// Attempts to sign in a minute for one e-mail address. 0: no limit.
    #[arg(
        long,
        env = "MARGINSTREAM_SIGN_IN_PER_ACCOUNT_PER_MIN",
        value_name = "COUNT",
        default_value_t = 10
    )]
    pub sign_in_per_account_per_min: u32,

    /// Attempts to sign in a minute from one client address. 0: no limit.
    #[arg(
        long,
        env = "MARGINSTREAM_SIGN_IN_PER_IP_PER_MIN",
        value_name = "COUNT",
        default_value_t = 30
    )]
    pub sign_in_per_ip_per_min: u32,

    /// Attempts a minute, from one client address, at secrets that people pass on by hand: the tokens of
    /// invitations. 0: no limit.
    #[arg(
        long,
        env = "MARGINSTREAM_ATTEMPTS_PER_IP_PER_MIN",
        value_name = "COUNT",
        default_value_t = 10
    )]
    pub attempts_per_ip_per_min: u32,

    /// Most events that are acknowledged but not in the warehouse yet, about 100 bytes of memory each. Beyond
    /// it streams are slowed down and other ingest calls are answered 503.
    #[arg(long, env = "MARGINSTREAM_MAX_UNPROCESSED_EVENTS", value_name = "COUNT", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1_000..=100_000_000))]
    pub max_unprocessed_events: u64,

    /// How long a looked-up API key is remembered, in seconds, at most 30: how long a revoked key may
    /// go on working where another process revoked it.
    #[arg(long, env = "MARGINSTREAM_KEY_CACHE_SECS", value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=30))]
    pub key_cache_secs: u64,

    /// Memory for answers that are given again to a repeated `Idempotency-Key`, in bytes.
    #[arg(long, env = "MARGINSTREAM_REPLAY_MAX_BYTES", value_name = "BYTES", default_value_t = 64 << 20)]
    pub replay_max_bytes: u64,

    /// How long such an answer is given again, in hours.
    #[arg(long, env = "MARGINSTREAM_REPLAY_HOURS", value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=168))]
    pub replay_hours: u64,
}

impl LimitArgs {
    /// Returns the settings of the HTTP layer.
    ///
    /// # Errors
    /// [`ConfigError::Conflict`] where those of sign-in do not go together.
    pub(crate) fn http_config(&self, http: &HttpArgs) -> Result<HttpConfig, ConfigError> {
        Ok(HttpConfig {
            trusted_proxies: http.trusted_proxies.clone(),
            behind_tls: http.behind_tls,
            ingest_per_ip_per_min: self.ingest_per_ip_per_min,
            api_per_ip_per_min: self.api_per_ip_per_min,
            requests_per_key_per_min: self.requests_per_key_per_min.0.clone(),
            events_per_key_per_min: self.events_per_key_per_min.0.clone(),
            sign_in_per_account_per_min: self.sign_in_per_account_per_min,
            sign_in_per_ip_per_min: self.sign_in_per_ip_per_min,
            attempts_per_ip_per_min: self.attempts_per_ip_per_min,
            key_cache: KeyCacheConfig {
                ttl: Duration::from_secs(self.key_cache_secs),
                ..KeyCacheConfig::default()
            },
            replay: ReplayConfig {
                ttl: Duration::from_secs(self.replay_hours * 3600),
                max_bytes: self.replay_max_bytes,
                ..ReplayConfig::default()
            },
            health_secret: http.health_secret(),
            oidc: http.oidc.provider()?,
            ..HttpConfig::default()
        })
    }

    pub(crate) fn max_unprocessed_events(&self) -> usize {
        usize::try_from(self.max_unprocessed_events).unwrap_or(usize::MAX)
    }

    /// Lifts all limits, for a server that only its own process calls.
    pub(crate) fn lift(&mut self) {
        self.ingest_per_ip_per_min = 0;
        self.api_per_ip_per_min = 0;
        self.requests_per_key_per_min = TierRates(TierQuota::of(0));
    }
}

/// A rate with exceptions by tier: `600`, `pro=1200`, `600,enterprise=0`.
#[derive(Debug, Clone)]
pub struct TierRates(TierQuota);

/// A text that gives no rates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is neither a number nor free=, pro= or enterprise= with a number")]
pub struct InvalidTierRates(String);

impl FromStr for TierRates {
    type Err = InvalidTierRates;

    fn from_str(text: &str) -> Result<Self, InvalidTierRates> {
        let mut quota = TierQuota {
            default_per_min: 0,
            overrides: BTreeMap::new(),
        };
        for part in text.split(',').map(str::trim) {
            let refused = || InvalidTierRates(part.to_owned());
            match part.split_once('=') {
                None => quota.default_per_min = part.parse().map_err(|_| refused())?,
                Some((tier, rate)) => {
                    let tier = Tier::parse(tier.trim()).ok_or_else(refused)?;
                    quota
                        .overrides
                        .insert(tier, rate.trim().parse().map_err(|_| refused())?);
                }
            }
        }
        Ok(Self(quota))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_exceptions_by_tier() {
        let rates: TierRates = "600, enterprise=0,pro=1200".parse().unwrap();
        assert_eq!(
            [Tier::Free, Tier::Pro, Tier::Enterprise].map(|tier| rates.0.per_min(tier)),
            [600, 1_200, 0]
        );
        for bad in ["", "-1", "gold=5", "pro", "pro=", "600;pro=1"] {
            assert!(bad.parse::<TierRates>().is_err(), "{bad}");
        }
    }
}
