//! Counters whose books balance: consumed = inserted + duplicates + dead-lettered + moved.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// What became of the consumed events, invoices or changes of one topic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicCounts {
    /// The sum of the next four.
    pub consumed: u64,
    /// New, and written.
    pub inserted: u64,
    /// Known already, with the same content.
    pub duplicates: u64,
    /// Could not be counted; kept in `dead_letters`.
    pub dead_lettered: u64,
    /// Stood in another partition than their own, and were appended there to be judged.
    pub moved: u64,
    /// Batches written.
    pub batches: u64,
}

/// Counts of this process's life by topic.
#[derive(Debug, Default)]
pub struct ProcessorStats {
    topics: Mutex<BTreeMap<String, TopicCounts>>,
}

impl ProcessorStats {
    /// Returns the counts of each topic.
    pub fn snapshot(&self) -> BTreeMap<String, TopicCounts> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn record(&self, topic: &str, counts: TopicCounts) {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let total = topics.entry(topic.to_owned()).or_default();
        total.consumed += counts.consumed;
        total.inserted += counts.inserted;
        total.duplicates += counts.duplicates;
        total.dead_lettered += counts.dead_lettered;
        total.moved += counts.moved;
        total.batches += counts.batches;
    }
}
