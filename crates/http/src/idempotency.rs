//! Replay of whole calls under an `Idempotency-Key` header (`spec/conventions.md` §8, rules 5-10).
//!
//! Answers are kept in memory, per process, because nothing depends on them: after a restart, on
//! another node or past the bounds a retry runs again, and event identity keeps it from counting
//! twice (rule 10). What a replay adds is the first answer, byte for byte.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use schemas::id::ApiKeyId;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::config::ReplayConfig;
use crate::error::{ApiError, Issue};

/// Longest key, in characters.
const MAX_KEY_CHARS: usize = 200;
/// Larger answers are not kept. The largest of an API-key POST, a batch of 100, has 5 KB.
const MAX_STORED_BYTES: usize = 256 << 10;
/// What an entry takes beside its body, in bytes.
const ENTRY_OVERHEAD_BYTES: u64 = 256;

/// Returns the `Idempotency-Key` header; an empty one counts as absent.
///
/// # Errors
/// 400 `validation_error` at `["Idempotency-Key"]` over 200 characters or where it is no UTF-8.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else {
        return Ok(None);
    };
    let rejected = |message: &str| ApiError::validation(&[Issue::at("Idempotency-Key", message)]);
    let key = str::from_utf8(value.as_bytes()).map_err(|_| rejected("Expected UTF-8 text"))?;
    if key.chars().count() > MAX_KEY_CHARS {
        return Err(rejected("Expected at most 200 characters"));
    }
    Ok(Some(key).filter(|key| !key.is_empty()))
}

/// Which calls are the same: those of one API key, to one path, with one header value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplayScope([u8; 32]);

impl ReplayScope {
    /// Makes the scope. `key_id` comes from authentication, so replays never precede it (rule 9).
    #[must_use]
    pub fn new(key_id: ApiKeyId, path: &str, idempotency_key: &str) -> Self {
        let mut hash = Sha256::new();
        hash.update(key_id.0.as_bytes());
        hash.update(Sha256::digest(path));
        hash.update(idempotency_key);
        Self(hash.finalize().into())
    }
}

#[derive(Debug)]
struct Stored {
    content_type: Option<HeaderValue>,
    body: Bytes,
    expires_at: Instant,
}

impl Stored {
    fn replay(&self) -> Response {
        let mut response = (StatusCode::OK, self.body.clone()).into_response();
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_TYPE);
        if let Some(content_type) = &self.content_type {
            headers.insert(header::CONTENT_TYPE, content_type.clone());
        }
        headers.insert("x-idempotent-replayed", HeaderValue::from_static("true"));
        response
    }
}

/// Bytes, but never less than an even share: so the bound on bytes bounds the entries too.
#[derive(Debug, Clone)]
struct ByBytes {
    min_weight: u64,
}

impl Weighter<ReplayScope, Arc<Stored>> for ByBytes {
    fn weight(&self, _scope: &ReplayScope, stored: &Arc<Stored>) -> u64 {
        (stored.body.len() as u64 + ENTRY_OVERHEAD_BYTES).max(self.min_weight)
    }
}

/// The calls under way; each holds the sending end, whose drop wakes those who wait.
type Running = HashMap<ReplayScope, watch::Receiver<()>>;

/// Keeps successful answers and lets only one of equal calls run at a time.
#[derive(Debug)]
pub struct ReplayStore {
    stored: Cache<ReplayScope, Arc<Stored>, ByBytes>,
    running: Mutex<Running>,
    ttl: Duration,
    max_wait: Duration,
}

enum Turn<'a> {
    Replay(Arc<Stored>),
    Wait(watch::Receiver<()>),
    Run(RunningCall<'a>),
}

impl ReplayStore {
    /// Makes an empty store.
    #[must_use]
    pub fn new(config: &ReplayConfig) -> Self {
        let max_entries = u64::from(config.max_entries.max(1));
        let weighter = ByBytes {
            min_weight: (config.max_bytes / max_entries).max(1),
        };
        let stored = Cache::with_weighter(config.max_entries as usize, config.max_bytes, weighter);
        Self {
            stored,
            running: Mutex::default(),
            ttl: config.ttl,
            max_wait: config.max_wait,
        }
    }

    /// Answers with what the first call of `scope` was answered, or runs `call`. Without a scope
    /// it always runs. Only a 2xx is kept.
    ///
    /// # Errors
    /// 503 `request_in_progress` where the first call has not ended in time, and those of `call`.
    pub async fn run<F>(&self, scope: Option<ReplayScope>, call: F) -> Result<Response, ApiError>
    where
        F: Future<Output = Result<Response, ApiError>>,
    {
        let Some(scope) = scope else { return call.await };
        let deadline = Instant::now() + self.max_wait;
        let running = loop {
            match self.turn(scope) {
                Turn::Replay(stored) => return Ok(stored.replay()),
                Turn::Run(running) => break running,
                Turn::Wait(mut ended) => {
                    // An error means that the other end was dropped, which is what is waited for.
                    let waited = timeout_at(deadline, async { while ended.changed().await.is_ok() {} }).await;
                    waited.map_err(|_elapsed| ApiError::request_in_progress())?;
                }
            }
        };
        let response = self.keep(scope, call.await?).await;
        drop(running);
        response
    }

    fn turn(&self, scope: ReplayScope) -> Turn<'_> {
        let mut running = self.lock_running();
        if let Some(stored) = self
            .stored
            .get(&scope)
            .filter(|stored| stored.expires_at > Instant::now())
        {
            return Turn::Replay(stored);
        }
        match running.entry(scope) {
            Entry::Occupied(first) => Turn::Wait(first.get().clone()),
            Entry::Vacant(vacant) => {
                let (ended, receiver) = watch::channel(());
                vacant.insert(receiver);
                Turn::Run(RunningCall {
                    store: self,
                    scope,
                    _ended: ended,
                })
            }
        }
    }

    async fn keep(&self, scope: ReplayScope, response: Response) -> Result<Response, ApiError> {
        if !response.status().is_success() {
            return Ok(response);
        }
        let (parts, body) = response.into_parts();
        let body = to_bytes(body, usize::MAX).await.map_err(ApiError::internal)?;
        if body.len() <= MAX_STORED_BYTES {
            let content_type = parts.headers.get(header::CONTENT_TYPE).cloned();
            let expires_at = Instant::now() + self.ttl;
            self.stored.insert(
                scope,
                Arc::new(Stored {
                    content_type,
                    body: body.clone(),
                    expires_at,
                }),
            );
        }
        Ok(Response::from_parts(parts, Body::from(body)))
    }

    /// Every critical section leaves the map whole, so a poisoned lock is still good.
    fn lock_running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends a call however it ends: answered, failed, panicked, or dropped by a client that hung up.
struct RunningCall<'a> {
    store: &'a ReplayStore,
    scope: ReplayScope,
    _ended: watch::Sender<()>,
}

impl Drop for RunningCall<'_> {
    fn drop(&mut self) {
        self.store.lock_running().remove(&self.scope);
    }
}

#[cfg(test)]
mod tests;
