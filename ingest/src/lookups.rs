//! Looks up events that were counted long ago, where the warehouse answers.
//!
//! Ingest does not depend on it: an event whose look-up fails is taken for a new one and appended.
//! The processor counts it once all the same; only the answer says 201 instead of 200.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use known_events::{KnownEvent, lookup_known_events};
use schemas::id::{EventId, OrgId};
use tokio::time::{Instant, timeout};
use tracing::warn;
use warehouse::Warehouse;

/// Longest time that a caller waits for the warehouse.
const MAX_WAIT: Duration = Duration::from_secs(2);
/// How long nothing is asked after a failure, so that callers do not queue before a dead warehouse.
const PAUSE: Duration = Duration::from_secs(1);

/// Exact look-ups of events that may be known.
#[derive(Debug)]
pub(crate) struct Lookups {
    warehouse: Warehouse,
    paused_until: Mutex<Option<Instant>>,
}

impl Lookups {
    pub(crate) fn new(warehouse: Warehouse) -> Self {
        Self {
            warehouse,
            paused_until: Mutex::new(None),
        }
    }

    /// Returns what the warehouse knows of `events`; nothing while it does not answer.
    pub(crate) async fn look_up(&self, events: &[(OrgId, EventId)]) -> HashMap<EventId, KnownEvent> {
        if events.is_empty() || self.is_paused() {
            return HashMap::new();
        }
        let looking_up = lookup_known_events(&self.warehouse, events, None);
        let reason = match timeout(MAX_WAIT, looking_up).await {
            Ok(Ok(known)) => return known,
            Ok(Err(error)) => error.to_string(),
            Err(_elapsed) => "no answer in time".to_owned(),
        };
        warn!(
            reason,
            num_events = events.len(),
            "look-up of known events failed, taking them for new"
        );
        *self.lock() = Some(Instant::now() + PAUSE);
        HashMap::new()
    }

    fn is_paused(&self) -> bool {
        self.lock().is_some_and(|until| Instant::now() < until)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.paused_until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
