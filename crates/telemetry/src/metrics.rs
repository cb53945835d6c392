//! Metrics: how they are declared, counted and shown in Prometheus's text format.
//!
//! A crate declares its metrics as constants in its `metrics.rs`, each once, with its labels and
//! its meaning. The command installs the recorder with all of them before it makes anything that
//! counts; where none is installed, counting does nothing.

mod process;
mod recorder;

use metrics::{Key, Label, Level, Metadata, with_recorder};

pub use metrics::{Counter, Gauge, Histogram};
pub use process::METRICS as PROCESS_METRICS;
pub use recorder::{install, observe, render};

/// The content type of [`render`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const METADATA: Metadata<'static> = Metadata::new("marginstream", Level::INFO, None);

/// A time of something, in seconds: 500 microseconds to a minute.
const SECONDS: &[f64] = &[
    0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];
/// A size of something, in bytes: 1 KiB to 64 MiB.
const BYTES: &[f64] = &[
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];
/// A number of rows: one to a million.
const ROWS: &[f64] = &[
    1.0,
    10.0,
    100.0,
    1_000.0,
    5_000.0,
    10_000.0,
    25_000.0,
    50_000.0,
    100_000.0,
    250_000.0,
    1_000_000.0,
];

/// How the values of a metric behave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only rises, from 0 at the start of the process.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Values by size, with their number and sum.
    Histogram(Buckets),
}

/// The upper bounds of a histogram's buckets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buckets {
    /// 0.0005 to 60.
    Seconds,
    /// 1 KiB to 64 MiB.
    Bytes,
    /// 1 to 1,000,000.
    Rows,
}

impl Buckets {
    const fn bounds(self) -> &'static [f64] {
        match self {
            Self::Seconds => SECONDS,
            Self::Bytes => BYTES,
            Self::Rows => ROWS,
        }
    }
}

impl MetricKind {
    /// Returns the word of Prometheus's `# TYPE` line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram(_) => "histogram",
        }
    }
}

/// The declaration of a metric. Label values must be bounded: outcomes, reasons, topics, tables,
/// patterns of routes; never ids, addresses or what a client wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// `marginstream_<part>_<what>_<unit>`, with `_total` for a counter.
    pub name: &'static str,
    /// How its values behave.
    pub kind: MetricKind,
    /// The names of its labels, in the order in which values are given.
    pub labels: &'static [&'static str],
    /// What it says, in one sentence without final stop.
    pub help: &'static str,
}

impl Metric {
    /// Declares a counter.
    #[must_use]
    pub const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self {
            name,
            kind: MetricKind::Counter,
            labels,
            help,
        }
    }

    /// Declares a gauge.
    #[must_use]
    pub const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self {
            name,
            kind: MetricKind::Gauge,
            labels,
            help,
        }
    }

    /// Declares a histogram.
    #[must_use]
    pub const fn histogram(
        name: &'static str,
        buckets: Buckets,
        labels: &'static [&'static str],
        help: &'static str,
    ) -> Self {
        Self {
            name,
            kind: MetricKind::Histogram(buckets),
            labels,
            help,
        }
    }

    /// Returns the counter with these label values, which shows from now on. To be kept where
    /// something counts often.
    pub fn counter_of(&self, values: &[&str]) -> Counter {
        debug_assert!(self.kind == MetricKind::Counter, "{} is no counter", self.name);
        with_recorder(|recorder| recorder.register_counter(&self.key(values), &METADATA))
    }

    /// Returns the gauge with these label values, which shows from now on.
    pub fn gauge_of(&self, values: &[&str]) -> Gauge {
        debug_assert!(self.kind == MetricKind::Gauge, "{} is no gauge", self.name);
        with_recorder(|recorder| recorder.register_gauge(&self.key(values), &METADATA))
    }

    /// Returns the histogram with these label values, which shows from now on. To be kept where
    /// something counts often.
    pub fn histogram_of(&self, values: &[&str]) -> Histogram {
        debug_assert!(
            matches!(self.kind, MetricKind::Histogram(_)),
            "{} is no histogram",
            self.name
        );
        with_recorder(|recorder| recorder.register_histogram(&self.key(values), &METADATA))
    }

    fn key(&self, values: &[&str]) -> Key {
        debug_assert!(values.len() == self.labels.len(), "labels of {}", self.name);
        let labels = self.labels.iter().zip(values);
        let labels: Vec<_> = labels
            .map(|(name, value)| Label::new(*name, (*value).to_owned()))
            .collect();
        Key::from_parts(self.name, labels)
    }

    /// Tells what is wrong with the name, the labels or the help, by the rules of this project.
    #[must_use]
    pub fn fault(&self) -> Option<&'static str> {
        /// Units at the end of a name, or before `_total`. Counts are in what they count.
        const UNITS: [&str; 17] = [
            "seconds",
            "bytes",
            "rows",
            "events",
            "items",
            "records",
            "ids",
            "requests",
            "batches",
            "retries",
            "failures",
            "lookups",
            "files",
            "partitions",
            "info",
            "runs",
            "keys",
        ];
        let is_word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        let Some(rest) = self.name.strip_prefix("marginstream_") else {
            return Some("does not start with marginstream_");
        };
        if !rest.split('_').all(is_word) {
            return Some("is not made of lower-case words joined by _");
        }
        let (base, has_total) = match rest.strip_suffix("_total") {
            Some(base) => (base, true),
            None => (rest, false),
        };
        if has_total != (self.kind == MetricKind::Counter) {
            return Some("ends in _total although it is no counter, or the other way round");
        }
        let unit = base.rsplit('_').next().unwrap_or_default();
        if !UNITS.contains(&unit) {
            return Some("does not end in a unit");
        }
        let expected = match self.kind {
            MetricKind::Histogram(Buckets::Seconds) => Some("seconds"),
            MetricKind::Histogram(Buckets::Bytes) => Some("bytes"),
            MetricKind::Histogram(Buckets::Rows) => Some("rows"),
            MetricKind::Counter | MetricKind::Gauge => None,
        };
        if expected.is_some_and(|expected| expected != unit) {
            return Some("has buckets of another unit than its name");
        }
        if self
            .labels
            .iter()
            .any(|label| !label.split('_').all(is_word) || label.ends_with("_id"))
        {
            return Some("has a label that is no lower-case word, or an id");
        }
        if self.help.is_empty() || self.help.ends_with('.') || self.help.contains(['\n', '|']) {
            return Some("has no help of one sentence without final stop");
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_follow_the_rule() {
        for metric in PROCESS_METRICS {
            assert_eq!(metric.fault(), None, "{}", metric.name);
        }
        let histogram = |name| Metric::histogram(name, Buckets::Seconds, &[], "What it says");
        for bad in [
            Metric::counter("ingest_events_total", &[], "What it says"),
            Metric::counter("marginstream_ingest_events", &[], "What it says"),
            Metric::gauge("marginstream_ingest_events_total", &[], "What it says"),
            Metric::gauge("marginstream_ingest_waiting", &[], "What it says"),
            Metric::gauge("marginstream_Ingest_events", &[], "What it says"),
            Metric::gauge("marginstream_ingest_events", &["org_id"], "What it says"),
            Metric::gauge("marginstream_ingest_events", &[], ""),
            Metric::gauge("marginstream_ingest_events", &[], "What it says."),
            histogram("marginstream_ingest_append_milliseconds"),
            histogram("marginstream_ingest_append_bytes"),
        ] {
            assert!(bad.fault().is_some(), "{}", bad.name);
        }
    }

    #[test]
    fn buckets_rise() {
        for buckets in [Buckets::Seconds, Buckets::Bytes, Buckets::Rows] {
            assert!(buckets.bounds().is_sorted(), "{buckets:?}");
        }
    }

    #[test]
    fn counting_without_a_recorder_does_nothing() {
        const UNSEEN: Metric = Metric::counter("marginstream_unseen_events_total", &["topic"], "Nothing");
        UNSEEN.counter_of(&["cost-events"]).increment(1);
    }
}
