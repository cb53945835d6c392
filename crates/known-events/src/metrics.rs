//! Metrics of the filter and of its exact look-up.

use std::sync::Arc;
use std::time::Duration;

use telemetry::metrics::{Buckets, Metric};

use crate::KnownEvents;

const FILTER_IDS: Metric = Metric::gauge(
    "marginstream_known_events_filter_ids",
    &[],
    "Ids of counted events in the filter",
);
const FILTER_BYTES: Metric = Metric::gauge(
    "marginstream_known_events_filter_bytes",
    &[],
    "Memory that the filter takes",
);
const LOOKUPS: Metric = Metric::counter(
    "marginstream_known_events_lookups_total",
    &[],
    "Look-ups in the warehouse of ids that the filter suspects",
);
const LOOKUP_SECONDS: Metric = Metric::histogram(
    "marginstream_known_events_lookup_seconds",
    Buckets::Seconds,
    &[],
    "Time of a look-up",
);
const SUSPECTED: Metric = Metric::counter(
    "marginstream_known_events_suspected_ids_total",
    &[],
    "Ids that the filter suspected and that were looked up",
);
const FALSE_POSITIVES: Metric = Metric::counter(
    "marginstream_known_events_false_positive_ids_total",
    &[],
    "Suspected ids that no counted event has, or only one of the batch that is being replayed",
);

/// The metrics of this crate.
pub const METRICS: &[Metric] = &[
    FILTER_IDS,
    FILTER_BYTES,
    LOOKUPS,
    LOOKUP_SECONDS,
    SUSPECTED,
    FALSE_POSITIVES,
];

/// Shows the size of a filter for as long as it exists.
pub fn show(known: &Arc<KnownEvents>) {
    telemetry::metrics::observe(known, |known: &KnownEvents| {
        FILTER_IDS.gauge_of(&[]).set(known.num_ids() as f64);
        FILTER_BYTES.gauge_of(&[]).set(known.num_bytes() as f64);
    });
}

pub(crate) fn count_lookup(num_suspected: usize, num_known: usize, duration: Duration) {
    if num_suspected == 0 {
        return;
    }
    LOOKUPS.counter_of(&[]).increment(1);
    LOOKUP_SECONDS.histogram_of(&[]).record(duration.as_secs_f64());
    SUSPECTED.counter_of(&[]).increment(num_suspected as u64);
    FALSE_POSITIVES
        .counter_of(&[])
        .increment(num_suspected.saturating_sub(num_known) as u64);
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
