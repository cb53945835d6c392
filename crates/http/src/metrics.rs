//! Metrics of both HTTP services.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use telemetry::metrics::{Buckets, Metric};

const REQUESTS: Metric = Metric::counter(
    "marginstream_http_requests_total",
    &["method", "route", "status"],
    "Requests to the API that were answered, by pattern of the route",
);
const REQUEST_SECONDS: Metric = Metric::histogram(
    "marginstream_http_request_seconds",
    Buckets::Seconds,
    &["method", "route"],
    "Time from the head of a request to the head of its answer",
);

/// The metrics of this crate.
pub const METRICS: &[Metric] = &[REQUESTS, REQUEST_SECONDS];

/// Counts an answered request. `route` is the pattern, never the path itself.
pub(crate) fn count_request(method: &Method, route: &str, status: StatusCode, duration: Duration) {
    // A client may send any word as a method.
    let method = match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    };
    REQUESTS
        .counter_of(&[method, route, status.as_str()])
        .increment(1);
    REQUEST_SECONDS
        .histogram_of(&[method, route])
        .record(duration.as_secs_f64());
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
