//! What the store said about API keys, for a short time (`spec/conventions.md` OPEN-C3).

use std::collections::HashSet;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use control::{ControlStore, ResolvedApiKey, SecretHash};
use quick_cache::sync::Cache;
use schemas::id::{ApiKeyId, OrgId};
use schemas::time::TimestampMs;

use crate::config::KeyCacheConfig;

/// What is remembered of a key.
#[derive(Debug, Clone)]
pub(crate) enum Remembered {
    /// The store knew it.
    Known(Arc<ResolvedApiKey>),
    /// The store did not know it.
    Unknown,
    /// Nothing, or nothing recent enough.
    Nothing,
}

/// Known and unknown keys are kept apart, so that guessing does not push out real keys. A failed
/// look-up is never remembered.
#[derive(Debug)]
pub(crate) struct KeyCache {
    ttl: Duration,
    known: Cache<SecretHash, (Arc<ResolvedApiKey>, Instant)>,
    unknown: Cache<SecretHash, Instant>,
}

impl KeyCache {
    pub(crate) fn new(config: &KeyCacheConfig) -> Self {
        Self {
            ttl: config.ttl.min(KeyCacheConfig::MAX_TTL),
            known: Cache::new(config.max_known),
            unknown: Cache::new(config.max_unknown),
        }
    }

    pub(crate) fn get(&self, secret: &SecretHash, now: Instant) -> Remembered {
        let is_recent = |learned: Instant| now.duration_since(learned) < self.ttl;
        if let Some((key, learned)) = self.known.get(secret)
            && is_recent(learned)
        {
            return Remembered::Known(key);
        }
        match self.unknown.get(secret) {
            Some(learned) if is_recent(learned) => Remembered::Unknown,
            _ => Remembered::Nothing,
        }
    }

    /// `learned` is when the store was asked, not when it answered.
    pub(crate) fn remember(&self, secret: SecretHash, key: Option<&Arc<ResolvedApiKey>>, learned: Instant) {
        match key {
            Some(key) => self.known.insert(secret, (Arc::clone(key), learned)),
            None => {
                self.known.remove(&secret);
                self.unknown.insert(secret, learned);
            }
        }
    }

    pub(crate) fn forget_org(&self, org: OrgId) {
        self.known.retain(|_, (key, _)| key.org_id != org);
    }
}

/// How long uses are gathered before they are written.
const GATHER_FOR: Duration = Duration::from_secs(1);

/// Keys that were used and whose `lastUsedAt` is not written yet. Best effort: what a stop of the
/// process leaves here is lost.
#[derive(Debug, Default)]
pub(crate) struct KeyUses(Mutex<HashSet<ApiKeyId>>);

impl KeyUses {
    /// Notes a use; the first one of a round starts the task that writes them all.
    pub(crate) fn note(self: &Arc<Self>, key: ApiKeyId, control: &ControlStore) {
        let is_first = {
            let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let was_empty = keys.is_empty();
            keys.insert(key) && was_empty
        };
        if is_first {
            let (uses, control) = (Arc::clone(self), control.clone());
            tokio::spawn(async move {
                tokio::time::sleep(GATHER_FOR).await;
                uses.write(&control).await;
            });
        }
    }

    async fn write(&self, control: &ControlStore) {
        let keys = mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        let keys: Vec<_> = keys.into_iter().collect();
        if let Err(error) = control.touch_api_keys(&keys, TimestampMs::now()).await {
            tracing::warn!(%error, num_keys = keys.len(), "could not record the last use of keys");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemas::access::Tier;
    use schemas::id::UserId;

    fn key() -> Arc<ResolvedApiKey> {
        Arc::new(ResolvedApiKey {
            key_id: ApiKeyId::random(),
            org_id: OrgId::random(),
            user_id: UserId::random(),
            name: "default".into(),
            default_tags: schemas::tags::Tags::new(),
            api_version: control::CURRENT_API_VERSION.into(),
            owner_is_member: true,
            tier: Tier::Pro,
        })
    }

    #[test]
    fn answers_count_for_thirty_seconds_at_most() {
        let cache = KeyCache::new(&KeyCacheConfig {
            ttl: Duration::from_secs(600),
            ..KeyCacheConfig::default()
        });
        let (known, unknown, now) = (SecretHash::of("a"), SecretHash::of("b"), Instant::now());
        cache.remember(known, Some(&key()), now);
        cache.remember(unknown, None, now);
        let after = |secs| now + Duration::from_secs(secs);
        assert!(matches!(cache.get(&known, after(29)), Remembered::Known(_)));
        assert!(matches!(cache.get(&unknown, after(29)), Remembered::Unknown));
        assert!(matches!(cache.get(&known, after(30)), Remembered::Nothing));
        assert!(matches!(cache.get(&unknown, after(30)), Remembered::Nothing));
    }

    #[test]
    fn a_revoked_key_is_unknown_once_the_store_says_so() {
        let cache = KeyCache::new(&KeyCacheConfig::default());
        let (secret, now) = (SecretHash::of("a"), Instant::now());
        cache.remember(secret, Some(&key()), now);
        cache.remember(secret, None, now + Duration::from_secs(31));
        assert!(matches!(
            cache.get(&secret, now + Duration::from_secs(31)),
            Remembered::Unknown
        ));
    }

    #[test]
    fn an_organization_is_forgotten_at_once() {
        let cache = KeyCache::new(&KeyCacheConfig::default());
        let (own, other, now) = (key(), key(), Instant::now());
        cache.remember(SecretHash::of("own"), Some(&own), now);
        cache.remember(SecretHash::of("other"), Some(&other), now);
        cache.forget_org(own.org_id);
        assert!(matches!(
            cache.get(&SecretHash::of("own"), now),
            Remembered::Nothing
        ));
        assert!(matches!(
            cache.get(&SecretHash::of("other"), now),
            Remembered::Known(_)
        ));
    }

    #[test]
    fn guesses_are_bounded() {
        let cache = KeyCache::new(&KeyCacheConfig::default());
        let now = Instant::now();
        cache.remember(SecretHash::of("real"), Some(&key()), now);
        for guess in 0..20_000 {
            cache.remember(SecretHash::of(&guess.to_string()), None, now);
        }
        assert!(cache.unknown.len() <= 2_048);
        assert!(matches!(
            cache.get(&SecretHash::of("real"), now),
            Remembered::Known(_)
        ));
    }
}
