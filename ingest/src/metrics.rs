//! Metrics of ingest, whose books balance: received = accepted + duplicate + rejected + limited.
//!
//! The unit is an event of an authenticated request: the one of a single call, each item of a
//! batch, each line of a stream. A body that cannot be split into events has none, and neither has
//! an answer that is replayed for an `Idempotency-Key`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use event_log::{AppendRecord, EventLog, LogError};
use marginstream_http::{ApiError, ErrorCode};
use telemetry::metrics::{Buckets, Counter, Histogram, Metric};

const RECEIVED: Metric = Metric::counter(
    "marginstream_ingest_received_events_total",
    &[],
    "Events that authenticated requests brought",
);
const ACCEPTED: Metric = Metric::counter(
    "marginstream_ingest_accepted_events_total",
    &[],
    "Events that are new and durable in the log",
);
const DUPLICATES: Metric = Metric::counter(
    "marginstream_ingest_duplicate_events_total",
    &[],
    "Events whose id was known, with the same content or another",
);
const REJECTED: Metric = Metric::counter(
    "marginstream_ingest_rejected_events_total",
    &["reason"],
    "Events that were refused, by the error code of the API, or abandoned where the request ended before",
);
const LIMITED: Metric = Metric::counter(
    "marginstream_ingest_limited_events_total",
    &[],
    "Events over the quota of their API key",
);
pub(crate) const WAITING: Metric = Metric::gauge(
    "marginstream_ingest_waiting_events",
    &[],
    "Events that this process took and the processor has not passed yet",
);
const APPEND_SECONDS: Metric = Metric::histogram(
    "marginstream_ingest_append_seconds",
    Buckets::Seconds,
    &["topic"],
    "Time until the log has made the records of one append durable",
);
const APPEND_FAILURES: Metric = Metric::counter(
    "marginstream_ingest_append_failures_total",
    &["topic"],
    "Appends that the log refused or could not make durable",
);

/// The metrics of this crate.
pub const METRICS: &[Metric] = &[
    RECEIVED,
    ACCEPTED,
    DUPLICATES,
    REJECTED,
    LIMITED,
    WAITING,
    APPEND_SECONDS,
    APPEND_FAILURES,
];

/// The reason of events whose request ended before anything was decided.
const ABANDONED: &str = "abandoned";
/// Error codes that events are refused with; each shows from the start.
const REFUSALS: [ErrorCode; 6] = [
    ErrorCode::InvalidJson,
    ErrorCode::ValidationError,
    ErrorCode::PayloadTooLarge,
    ErrorCode::UnsupportedMediaType,
    ErrorCode::ServiceUnavailable,
    ErrorCode::InternalError,
];

/// Where events are counted.
#[derive(Debug)]
pub(crate) struct EventCounters {
    received: Counter,
    accepted: Counter,
    duplicates: Counter,
    limited: Counter,
}

impl EventCounters {
    pub(crate) fn new() -> Self {
        let refusals = REFUSALS.map(ErrorCode::as_str);
        for reason in refusals.into_iter().chain([ABANDONED]) {
            REJECTED.counter_of(&[reason]).increment(0);
        }
        Self {
            received: RECEIVED.counter_of(&[]),
            accepted: ACCEPTED.counter_of(&[]),
            duplicates: DUPLICATES.counter_of(&[]),
            limited: LIMITED.counter_of(&[]),
        }
    }

    /// Counts events as received.
    pub(crate) fn receive(self: &Arc<Self>, num_events: usize) -> Tally {
        let num_open = num_events as u64;
        self.received.increment(num_open);
        Tally {
            counters: Arc::clone(self),
            num_open,
        }
    }
}

/// The events of a request that nothing is decided of yet. What is left when it is dropped was
/// abandoned with its request.
#[derive(Debug)]
pub(crate) struct Tally {
    counters: Arc<EventCounters>,
    num_open: u64,
}

impl Tally {
    /// Counts events as durable or as known.
    pub(crate) fn accept(&mut self, num_new: u64, num_duplicates: u64) {
        debug_assert!(
            num_new + num_duplicates <= self.num_open,
            "more events than received"
        );
        self.num_open = self.num_open.saturating_sub(num_new + num_duplicates);
        self.counters.accepted.increment(num_new);
        self.counters.duplicates.increment(num_duplicates);
    }

    /// Counts some events as refused.
    pub(crate) fn reject(&mut self, num_events: u64, code: ErrorCode) {
        self.refuse(num_events, code.as_str());
    }

    /// Counts all that is left as refused.
    pub(crate) fn reject_all(&mut self, code: ErrorCode) {
        self.reject(self.num_open, code);
    }

    /// Counts all that is left as over the quota.
    pub(crate) fn limit(mut self) {
        self.counters.limited.increment(self.num_open);
        self.num_open = 0;
    }

    /// Passes an outcome on; an error refuses all that is left.
    pub(crate) fn or_reject<T, E: Into<ApiError>>(&mut self, outcome: Result<T, E>) -> Result<T, ApiError> {
        outcome.map_err(|error| {
            let error = error.into();
            self.reject_all(error.code());
            error
        })
    }

    fn refuse(&mut self, num_events: u64, reason: &str) {
        debug_assert!(num_events <= self.num_open, "more events than received");
        self.num_open = self.num_open.saturating_sub(num_events);
        if num_events > 0 {
            REJECTED.counter_of(&[reason]).increment(num_events);
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.refuse(self.num_open, ABANDONED);
    }
}

/// Appends to one topic, timed and counted.
#[derive(Debug)]
pub(crate) struct Appender {
    topic: &'static str,
    seconds: Histogram,
    failures: Counter,
    last_failure: Mutex<Option<Instant>>,
}

impl Appender {
    pub(crate) fn to(topic: &'static str) -> Self {
        Self {
            topic,
            seconds: APPEND_SECONDS.histogram_of(&[topic]),
            failures: APPEND_FAILURES.counter_of(&[topic]),
            last_failure: Mutex::new(None),
        }
    }

    /// As [`EventLog::append`]. An append that its caller gives up is not counted.
    pub(crate) async fn append(
        &self,
        log: &dyn EventLog,
        records: Vec<AppendRecord>,
    ) -> Result<Vec<u64>, LogError> {
        let started = Instant::now();
        let outcome = log.append(self.topic, records).await;
        self.seconds.record(started.elapsed().as_secs_f64());
        self.failures.increment(u64::from(outcome.is_err()));
        if outcome.is_err() {
            *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
        }
        outcome
    }

    /// Returns when an append failed last.
    pub(crate) fn last_failure(&self) -> Option<Instant> {
        *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner)
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

    #[test]
    fn what_is_decided_is_no_longer_open() {
        let mut tally = Arc::new(EventCounters::new()).receive(10);
        tally.accept(3, 2);
        tally.reject(1, ErrorCode::InvalidJson);
        assert_eq!(tally.num_open, 4);
        let refused = tally.or_reject::<(), _>(Err(ApiError::unavailable("away")));
        assert_eq!(refused.unwrap_err().code(), ErrorCode::ServiceUnavailable);
        assert_eq!(tally.num_open, 0);
    }
}
