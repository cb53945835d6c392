//! Events between their receipt and their processing: the first request that brings an event
//! claims it, so that every other copy is a duplicate at once, on this node.
//!
//! A claim lives until the processor has passed the event's record. From then on the filter of
//! known events holds its id, so there is no gap in which a copy could be taken for a new event.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use schemas::id::EventId;
use schemas::time::TimestampMs;
use tokio::sync::{Notify, watch};

/// What became of the events that one append claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Pending,
    Durable,
    Failed,
}

/// The events that are appended together.
#[derive(Debug)]
pub(crate) struct ClaimGroup {
    fate: watch::Sender<Fate>,
}

impl ClaimGroup {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            fate: watch::Sender::new(Fate::Pending),
        })
    }

    /// Waits until the events are durable; false where they will not be.
    pub(crate) async fn is_durable(&self) -> bool {
        let mut fate = self.fate.subscribe();
        let settled = fate.wait_for(|fate| *fate != Fate::Pending).await;
        settled.is_ok_and(|fate| *fate == Fate::Durable)
    }
}

/// The first copy of an event that is not yet processed.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) created_at: TimestampMs,
    pub(crate) content_hash: u64,
    pub(crate) group: Arc<ClaimGroup>,
}

/// All claims of this node.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    inner: Mutex<Inner>,
    /// Wakes those who wait for claims to be dropped.
    dropped: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    by_id: HashMap<EventId, Claim, BuildHasherDefault<IdHasher>>,
    /// Durable groups in about the order of the log.
    durable: VecDeque<DurableGroup>,
    /// How far the processor came, by partition.
    reached: BTreeMap<u32, u64>,
}

impl Inner {
    fn has_passed(&self, processed_at: &[(u32, u64)]) -> bool {
        let reached = |partition| self.reached.get(&partition).copied().unwrap_or(0);
        processed_at
            .iter()
            .all(|(partition, offset)| reached(*partition) >= *offset)
    }

    fn remove(&mut self, ids: &[EventId]) {
        for id in ids {
            self.by_id.remove(id);
        }
    }
}

#[derive(Debug)]
struct DurableGroup {
    ids: Vec<EventId>,
    /// Next offset, by partition, at which all of the group is processed.
    processed_at: Vec<(u32, u64)>,
}

impl Claims {
    /// Claims events for `group`, in order; returns the standing claim where there is one.
    pub(crate) fn claim(
        &self,
        group: &Arc<ClaimGroup>,
        events: impl Iterator<Item = (EventId, TimestampMs, u64)>,
    ) -> Vec<Option<Claim>> {
        let mut inner = self.lock();
        events
            .map(|(id, created_at, content_hash)| match inner.by_id.get(&id) {
                Some(standing) => Some(standing.clone()),
                None => {
                    let claim = Claim {
                        created_at,
                        content_hash,
                        group: Arc::clone(group),
                    };
                    inner.by_id.insert(id, claim);
                    None
                }
            })
            .collect()
    }

    /// Gives claims up: their events turned out to be known.
    pub(crate) fn release(&self, ids: &[EventId]) {
        self.lock().remove(ids);
        self.dropped.notify_waiters();
    }

    /// Settles a group: its events are durable at these offsets.
    pub(crate) fn settle(&self, group: &ClaimGroup, ids: Vec<EventId>, processed_at: Vec<(u32, u64)>) {
        let mut inner = self.lock();
        // The processor may have been faster than the answer of the log.
        if inner.has_passed(&processed_at) {
            inner.remove(&ids);
            self.dropped.notify_waiters();
        } else {
            inner.durable.push_back(DurableGroup { ids, processed_at });
        }
        drop(inner);
        group.fate.send_replace(Fate::Durable);
    }

    /// Settles a group: its events are not durable, and may be sent again.
    pub(crate) fn fail(&self, group: &ClaimGroup, ids: &[EventId]) {
        self.release(ids);
        group.fate.send_replace(Fate::Failed);
    }

    /// Drops the claims that the processor has passed; `reached` is its next offset by partition.
    pub(crate) fn forget_processed(&self, reached: BTreeMap<u32, u64>) {
        let mut inner = self.lock();
        inner.reached = reached;
        while let Some(group) = inner.durable.pop_front() {
            if !inner.has_passed(&group.processed_at) {
                inner.durable.push_front(group);
                break;
            }
            inner.remove(&group.ids);
        }
        // A burst must not hold its memory for ever.
        if inner.by_id.len() < inner.by_id.capacity() / 8 {
            inner.by_id.shrink_to_fit();
        }
        self.dropped.notify_waiters();
    }

    /// Waits until fewer than `limit` events are received but not processed.
    pub(crate) async fn wait_until_fewer_than(&self, limit: usize) {
        loop {
            // Registered before the look, so that no drop in between is missed.
            let dropped = self.dropped.notified();
            tokio::pin!(dropped);
            dropped.as_mut().enable();
            if self.len() < limit {
                return;
            }
            dropped.await;
        }
    }

    /// Returns the number of events that are received but not processed.
    pub(crate) fn len(&self) -> usize {
        self.lock().by_id.len()
    }

    /// Every critical section leaves the maps whole, so a poisoned lock is still good.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An event id is the output of a cryptographic hash already.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks_exact(8) {
            let mut word = [0; 8];
            word.copy_from_slice(chunk);
            self.0 = self.0.rotate_left(32) ^ u64::from_le_bytes(word);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn event(n: u128) -> (EventId, TimestampMs, u64) {
        (EventId(Uuid::from_u128(n)), TimestampMs(1), 7)
    }

    #[test]
    fn the_first_copy_claims_until_it_is_processed() {
        let claims = Claims::default();
        let (first, second) = (ClaimGroup::new(), ClaimGroup::new());
        assert!(claims.claim(&first, [event(1)].into_iter())[0].is_none());
        assert!(claims.claim(&second, [event(1)].into_iter())[0].is_some());
        claims.settle(&first, vec![event(1).0], vec![(0, 5)]);
        claims.forget_processed(BTreeMap::from([(0, 4)]));
        assert_eq!(claims.len(), 1, "the processor has not passed it yet");
        claims.forget_processed(BTreeMap::from([(0, 5)]));
        assert_eq!(claims.len(), 0);
    }

    #[test]
    fn a_group_that_the_processor_has_passed_already_is_dropped_at_once() {
        let claims = Claims::default();
        let group = ClaimGroup::new();
        claims.claim(&group, [event(1)].into_iter());
        claims.forget_processed(BTreeMap::from([(0, 9)]));
        claims.settle(&group, vec![event(1).0], vec![(0, 5)]);
        assert_eq!(claims.len(), 0);
    }

    #[tokio::test]
    async fn those_who_wait_for_room_are_woken_by_every_kind_of_drop() {
        let claims = Arc::new(Claims::default());
        for drop_one in [
            |claims: &Claims, _: &ClaimGroup| claims.release(&[event(1).0]),
            |claims: &Claims, group: &ClaimGroup| claims.fail(group, &[event(1).0]),
            |claims: &Claims, group: &ClaimGroup| {
                claims.settle(group, vec![event(1).0], vec![(0, 1)]);
                claims.forget_processed(BTreeMap::from([(0, 1)]));
            },
        ] {
            let group = ClaimGroup::new();
            claims.forget_processed(BTreeMap::new());
            claims.claim(&group, [event(1)].into_iter());
            let waiting = Arc::clone(&claims);
            let waiter = tokio::spawn(async move { waiting.wait_until_fewer_than(1).await });
            tokio::task::yield_now().await;
            assert!(!waiter.is_finished());
            drop_one(&claims, &group);
            waiter.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_failed_group_frees_its_events() {
        let claims = Claims::default();
        let group = ClaimGroup::new();
        claims.claim(&group, [event(1)].into_iter());
        let standing = claims
            .claim(&ClaimGroup::new(), [event(1)].into_iter())
            .remove(0)
            .unwrap();
        claims.fail(&group, &[event(1).0]);
        assert!(!standing.group.is_durable().await);
        assert!(claims.claim(&ClaimGroup::new(), [event(1)].into_iter())[0].is_none());
    }
}
