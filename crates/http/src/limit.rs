//! Rate limits (`spec/conventions.md` §7): GCRA over a bounded number of keys.
//!
//! A quota of `n` per minute is a bucket of `n` that refills evenly, one every `60 s / n`.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed, StateStore};
use governor::{Quota, RateLimiter};
use quick_cache::sync::Cache;
use schemas::access::Tier;
use schemas::time::TimestampMs;

use crate::config::TierQuota;

/// A quota as the `X-RateLimit-*` headers show it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateSnapshot {
    /// The quota, per minute.
    pub limit: u32,
    /// What passes at once, now.
    pub remaining: u32,
    /// From now: after an admitted call until the quota is whole again, after a
    /// refused one until it would be admitted.
    pub reset_after: Duration,
}

impl RateSnapshot {
    /// Returns whole seconds until the reset, at least 1.
    #[must_use]
    pub fn retry_after_secs(&self) -> u64 {
        let millis = self.reset_after.as_millis().div_ceil(1_000);
        u64::try_from(millis).unwrap_or(u64::MAX).max(1)
    }

    /// Writes the three headers; `X-RateLimit-Reset` is in Unix milliseconds.
    pub fn write_to(&self, headers: &mut HeaderMap) {
        let reset_after_ms = i64::try_from(self.reset_after.as_millis()).unwrap_or(i64::MAX);
        let reset_ms = TimestampMs::now().0.saturating_add(reset_after_ms);
        headers.insert("x-ratelimit-limit", HeaderValue::from(self.limit));
        headers.insert("x-ratelimit-remaining", HeaderValue::from(self.remaining));
        headers.insert("x-ratelimit-reset", HeaderValue::from(reset_ms));
    }
}

/// States of the most used keys. A forgotten key starts afresh, so a flood of keys costs bounded
/// memory and can only let calls through.
#[derive(Debug)]
struct BoundedStates<K: Hash + Eq>(Cache<K, Arc<InMemoryState>>);

impl<K: Hash + Eq + Clone> StateStore for BoundedStates<K> {
    type Key = K;

    fn measure_and_replace<T, F, E>(&self, key: &K, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let fresh = || Ok::<_, std::convert::Infallible>(Arc::new(InMemoryState::default()));
        let state = match self.0.get_or_insert_with(key, fresh) {
            Ok(state) => state,
            Err(never) => match never {},
        };
        state.measure_and_replace(&NotKeyed::NonKey, decide)
    }
}

type Governor<K> = RateLimiter<K, BoundedStates<K>, DefaultClock, StateInformationMiddleware>;

/// A quota per minute for each key; or none.
#[derive(Debug)]
pub struct Limiter<K: Hash + Eq + Clone>(Option<Limited<K>>);

#[derive(Debug)]
struct Limited<K: Hash + Eq + Clone> {
    per_min: NonZeroU32,
    refill_every: Duration,
    governor: Governor<K>,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    /// Makes a limiter of `per_min` (0: no limit) that remembers about `max_tracked` keys.
    #[must_use]
    pub fn per_minute(per_min: u32, max_tracked: usize) -> Self {
        Self(NonZeroU32::new(per_min).map(|per_min| {
            let quota = Quota::per_minute(per_min);
            let states = BoundedStates(Cache::new(max_tracked));
            let governor = Governor::new(quota, states, DefaultClock::default());
            Limited {
                per_min,
                refill_every: quota.replenish_interval(),
                governor,
            }
        }))
    }

    /// Returns the most that one call can take, where there is a limit.
    #[must_use]
    pub fn burst(&self) -> Option<NonZeroU32> {
        self.0.as_ref().map(|limited| limited.per_min)
    }

    /// Takes `amount` from the quota of `key`, all or nothing. Returns none without a limit.
    ///
    /// More than the whole quota counts as the whole quota: the call passes once the bucket is
    /// full, rather than never.
    ///
    /// # Errors
    /// The state of the quota where it does not suffice; nothing was taken then.
    pub fn take(&self, key: &K, amount: NonZeroU32) -> Result<Option<RateSnapshot>, RateSnapshot> {
        let Some(limited) = &self.0 else { return Ok(None) };
        let limit = limited.per_min.get();
        match limited.governor.check_key_n(key, amount.min(limited.per_min)) {
            Ok(Ok(state)) => {
                let remaining = state.remaining_burst_capacity();
                let reset_after = limited
                    .refill_every
                    .saturating_mul(limit.saturating_sub(remaining));
                Ok(Some(RateSnapshot {
                    limit,
                    remaining,
                    reset_after,
                }))
            }
            Ok(Err(not_until)) => {
                let reset_after = not_until.wait_time_from(limited.governor.clock().now());
                Err(RateSnapshot {
                    limit,
                    remaining: 0,
                    reset_after,
                })
            }
            // The amount was capped above, so this cannot be; limits fail open.
            Err(_insufficient) => Ok(None),
        }
    }
}

/// A limiter for each tier.
#[derive(Debug)]
pub(crate) struct TierLimiters<K: Hash + Eq + Clone> {
    free: Limiter<K>,
    pro: Limiter<K>,
    enterprise: Limiter<K>,
}

impl<K: Hash + Eq + Clone> TierLimiters<K> {
    pub(crate) fn new(quota: &TierQuota, max_tracked: usize) -> Self {
        let of = |tier| Limiter::per_minute(quota.per_min(tier), max_tracked);
        Self {
            free: of(Tier::Free),
            pro: of(Tier::Pro),
            enterprise: of(Tier::Enterprise),
        }
    }

    pub(crate) const fn of(&self, tier: Tier) -> &Limiter<K> {
        match tier {
            Tier::Free => &self.free,
            Tier::Pro => &self.pro,
            Tier::Enterprise => &self.enterprise,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(count: u32) -> NonZeroU32 {
        NonZeroU32::new(count).unwrap()
    }

    #[test]
    fn takes_until_the_quota_is_used_up() {
        let limiter = Limiter::per_minute(3, 100);
        let remaining: Vec<_> = (0..3)
            .map(|_| limiter.take(&1, amount(1)).unwrap().unwrap().remaining)
            .collect();
        assert_eq!(remaining, [2, 1, 0]);
        let refused = limiter.take(&1, amount(1)).unwrap_err();
        assert_eq!((refused.limit, refused.remaining), (3, 0));
        assert!((18..=20).contains(&refused.retry_after_secs()), "{refused:?}");
        assert!(limiter.take(&2, amount(1)).is_ok(), "keys do not share");
    }

    #[test]
    fn more_than_the_quota_takes_the_whole_quota() {
        let limiter = Limiter::per_minute(10, 100);
        assert_eq!(limiter.take(&1, amount(500)).unwrap().unwrap().remaining, 0);
        assert!(limiter.take(&1, amount(500)).is_err());
    }

    #[test]
    fn a_refused_call_takes_nothing() {
        let limiter = Limiter::per_minute(10, 100);
        assert!(limiter.take(&1, amount(8)).is_ok());
        assert!(limiter.take(&1, amount(5)).is_err());
        assert!(limiter.take(&1, amount(2)).is_ok());
    }

    #[test]
    fn zero_means_no_limit() {
        let limiter = Limiter::per_minute(0, 100);
        assert!((0..10_000).all(|_| limiter.take(&1, amount(100)) == Ok(None)));
    }

    #[test]
    fn memory_is_bounded_by_the_number_of_keys() {
        let limiter = Limiter::per_minute(1, 1_000);
        for key in 0..50_000_u32 {
            limiter.take(&key, amount(1)).ok();
        }
        let tracked = limiter.0.unwrap().governor.into_state_store().0.len();
        assert!(tracked <= 1_000, "{tracked}");
    }
}
