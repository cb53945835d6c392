//! Metrics of the queries.

use std::time::Duration;

use telemetry::metrics::{Buckets, Metric};

const QUERY_SECONDS: Metric = Metric::histogram(
    "marginstream_query_api_query_seconds",
    Buckets::Seconds,
    &["action"],
    "Time of a query of the warehouse, with its rows, whether it succeeded or not",
);
const QUERY_FAILURES: Metric = Metric::counter(
    "marginstream_query_api_query_failures_total",
    &["action"],
    "Queries of the warehouse that failed",
);

/// The metrics of this crate.
pub const METRICS: &[Metric] = &[QUERY_SECONDS, QUERY_FAILURES];

pub(crate) fn count_query(action: &'static str, duration: Duration, has_failed: bool) {
    QUERY_SECONDS
        .histogram_of(&[action])
        .record(duration.as_secs_f64());
    QUERY_FAILURES
        .counter_of(&[action])
        .increment(u64::from(has_failed));
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
