//! Metrics of the control store.

use telemetry::metrics::Metric;

const FAILURES: Metric = Metric::counter(
    "marginstream_control_failures_total",
    &[],
    "Statements that the control store's database failed at, not counting broken constraints",
);

/// The metrics of this crate.
pub const METRICS: &[Metric] = &[FAILURES];

/// Counts a statement that failed. A constraint that refuses it is an answer, no failure.
pub(crate) fn count_failure(error: &sqlx::Error) {
    let is_answer = error
        .as_database_error()
        .is_some_and(|error| error.kind() != sqlx::error::ErrorKind::Other);
    if !is_answer {
        FAILURES.counter_of(&[]).increment(1);
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
