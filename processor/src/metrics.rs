//! Metrics of the processor, whose books balance by topic: consumed = inserted + duplicate +
//! dead-lettered + moved.
//!
//! An item is an event, an invoice or a change of a mapping, as the topic has it; a record of the log
//! may hold many events. A batch counts once it is written and committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::AsArray;
use schemas::time::TimestampMs;
use telemetry::metrics::{Buckets, Counter, Histogram, Metric};

use crate::batch::Batch;
use crate::plan::Prepared;

const CONSUMED: Metric = Metric::counter(
    "marginstream_processor_consumed_items_total",
    &["topic"],
    "Items of written batches, the sum of inserted, duplicate, dead-lettered and moved ones",
);
const INSERTED: Metric = Metric::counter(
    "marginstream_processor_inserted_items_total",
    &["topic"],
    "Items that are new and written to the warehouse",
);
const DUPLICATES: Metric = Metric::counter(
    "marginstream_processor_duplicate_items_total",
    &["topic"],
    "Items that were known with the same content",
);
const DEAD_LETTERED: Metric = Metric::counter(
    "marginstream_processor_dead_lettered_items_total",
    &["topic", "reason"],
    "Items that could not be counted and are kept as dead letters",
);
const MOVED: Metric = Metric::counter(
    "marginstream_processor_moved_items_total",
    &["topic"],
    "Items that stood in another partition than their own, and were appended there",
);
const BATCHES: Metric = Metric::counter(
    "marginstream_processor_batches_total",
    &["topic"],
    "Batches that are written and committed",
);
const BATCH_ROWS: Metric = Metric::histogram(
    "marginstream_processor_batch_rows",
    Buckets::Rows,
    &["topic"],
    "Items of a batch",
);
const BATCH_BYTES: Metric = Metric::histogram(
    "marginstream_processor_batch_bytes",
    Buckets::Bytes,
    &["topic"],
    "Keys and values of the records of a batch",
);
const PREPARE_SECONDS: Metric = Metric::histogram(
    "marginstream_processor_prepare_seconds",
    Buckets::Seconds,
    &["topic"],
    "Time to decode a batch, remove its duplicates and roll it up, with retries",
);
const INSERT_SECONDS: Metric = Metric::histogram(
    "marginstream_processor_insert_seconds",
    Buckets::Seconds,
    &["table"],
    "Time of the insert of a batch into one table, with retries",
);
const RETRIES: Metric = Metric::counter(
    "marginstream_processor_retries_total",
    &["action"],
    "Attempts that failed and are repeated",
);
const QUERYABLE_SECONDS: Metric = Metric::histogram(
    "marginstream_processor_received_to_queryable_seconds",
    Buckets::Seconds,
    &["topic"],
    "Time from the arrival of a batch's oldest record in the log until its rows can be queried",
);
pub(crate) const LAG: Metric = Metric::gauge(
    "marginstream_processor_lag_records",
    &["topic", "partition"],
    "Offsets between the end of the log and the next one to process, 0 for a partition that another process has",
);
pub(crate) const RECONCILE_RUNS: Metric = Metric::counter(
    "marginstream_processor_reconcile_runs_total",
    &["outcome"],
    "Scheduled comparisons of roll-ups and raw rows: clean, differences or failed",
);
pub(crate) const RECONCILE_DIFFERENCES: Metric = Metric::gauge(
    "marginstream_processor_reconcile_differences_keys",
    &["table"],
    "Keys that differed in the last scheduled comparison, which must be none",
);
pub(crate) const RECONCILED_AT: Metric = Metric::gauge(
    "marginstream_processor_reconciled_timestamp_seconds",
    &[],
    "When the last scheduled comparison ended, seconds since 1970 UTC",
);
pub(crate) const COMPLETE_TO: Metric = Metric::gauge(
    "marginstream_processor_complete_to_timestamp_seconds",
    &[],
    "All that the log took before this instant was counted at the last scheduled comparison, seconds since 1970 UTC",
);
pub(crate) const DEAD_LETTERS_BYTES: Metric = Metric::gauge(
    "marginstream_processor_dead_letters_table_bytes",
    &[],
    "Size of table dead_letters before compression, as the owner of the first partition last saw it",
);
pub(crate) const DEAD_LETTERS_DROPPED: Metric = Metric::counter(
    "marginstream_processor_dead_letters_dropped_rows_total",
    &[],
    "Oldest rows of table dead_letters that were deleted because it was over its limit",
);
pub(crate) const OWNED: Metric = Metric::gauge(
    "marginstream_processor_owned_partitions",
    &[],
    "Partitions that this process reads",
);

/// The metrics of this crate.
pub const METRICS: &[Metric] = &[
    CONSUMED,
    INSERTED,
    DUPLICATES,
    DEAD_LETTERED,
    MOVED,
    BATCHES,
    BATCH_ROWS,
    BATCH_BYTES,
    PREPARE_SECONDS,
    INSERT_SECONDS,
    RETRIES,
    QUERYABLE_SECONDS,
    LAG,
    RECONCILE_RUNS,
    RECONCILE_DIFFERENCES,
    RECONCILED_AT,
    COMPLETE_TO,
    DEAD_LETTERS_BYTES,
    DEAD_LETTERS_DROPPED,
    OWNED,
];

/// What the batches of one topic are counted with.
#[derive(Debug)]
pub(crate) struct TopicMetrics {
    topic: Arc<str>,
    consumed: Counter,
    inserted: Counter,
    duplicates: Counter,
    moved: Counter,
    batches: Counter,
    batch_rows: Histogram,
    batch_bytes: Histogram,
    prepare_seconds: Histogram,
    queryable_seconds: Histogram,
}

impl TopicMetrics {
    pub(crate) fn of(topic: &Arc<str>) -> Self {
        let labels: &[&str] = &[topic];
        for reason in schemas::reject::RejectReason::ALL {
            DEAD_LETTERED.counter_of(&[topic, reason.as_str()]).increment(0);
        }
        Self {
            topic: Arc::clone(topic),
            consumed: CONSUMED.counter_of(labels),
            inserted: INSERTED.counter_of(labels),
            duplicates: DUPLICATES.counter_of(labels),
            moved: MOVED.counter_of(labels),
            batches: BATCHES.counter_of(labels),
            batch_rows: BATCH_ROWS.histogram_of(labels),
            batch_bytes: BATCH_BYTES.histogram_of(labels),
            prepare_seconds: PREPARE_SECONDS.histogram_of(labels),
            queryable_seconds: QUERYABLE_SECONDS.histogram_of(labels),
        }
    }

    pub(crate) fn prepared(&self, duration: Duration) {
        self.prepare_seconds.record(duration.as_secs_f64());
    }

    /// Notes that the rows of a batch can be queried at `now`.
    pub(crate) fn queryable(&self, batch: &Batch, now: TimestampMs) {
        if !batch.records.is_empty() {
            // The log's clock may be another machine's, and ahead.
            let age_ms = now.0.saturating_sub(batch.oldest_timestamp_ms()).max(0);
            self.queryable_seconds.record(age_ms as f64 / 1e3);
        }
    }

    /// Counts a batch that is written and committed.
    pub(crate) fn committed(&self, batch: &Batch, prepared: &Prepared) {
        let counts = prepared.counts;
        self.consumed.increment(counts.consumed);
        self.inserted.increment(counts.inserted);
        self.duplicates.increment(counts.duplicates);
        self.moved.increment(counts.moved);
        self.batches.increment(1);
        self.batch_rows.record(counts.consumed as f64);
        let sizes = batch
            .records
            .iter()
            .map(|record| record.key.len() + record.value.len());
        self.batch_bytes.record(sizes.sum::<usize>() as f64);
        for (reason, count) in dead_letters_by_reason(prepared) {
            DEAD_LETTERED.counter_of(&[&self.topic, reason]).increment(count);
        }
    }
}

fn dead_letters_by_reason(prepared: &Prepared) -> BTreeMap<&str, u64> {
    let mut counts = BTreeMap::new();
    let inserts = prepared.inserts.iter();
    for insert in inserts.filter(|insert| insert.table == "dead_letters") {
        let reasons = insert.rows.column_by_name("reason");
        for reason in reasons.into_iter().flat_map(|column| column.as_string::<i32>()) {
            *counts.entry(reason.unwrap_or_default()).or_default() += 1;
        }
    }
    counts
}

pub(crate) fn count_insert(table: &str, duration: Duration) {
    INSERT_SECONDS
        .histogram_of(&[table])
        .record(duration.as_secs_f64());
}

pub(crate) fn count_retry(action: &str) {
    RETRIES.counter_of(&[action]).increment(1);
}

/// Shows counters that usually stay at 0, so that their first rise is seen.
pub(crate) fn show_retries() {
    for action in [crate::writer::PREPARE, crate::writer::INSERT] {
        RETRIES.counter_of(&[action]).increment(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule() {
        for metric in METRICS {
            assert_eq!(metric.fault(), None, "{}", metric.name);
        }
    }
}
