//! The one recorder of the process.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::{Metric, MetricKind, PROCESS_METRICS, process};
use crate::TelemetryError;

/// How often recorded values are moved into their buckets, which bounds the memory that they take
/// where nobody asks for the metrics.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

static INSTALLED: OnceLock<Installed> = OnceLock::new();

/// Sets gauges; false where what it observes is gone.
type Observer = Box<dyn Fn() -> bool + Send>;

struct Installed {
    handle: PrometheusHandle,
    observers: Mutex<Vec<Observer>>,
}

/// Installs the recorder for the rest of the process's life, with the metrics of the process and
/// those of `groups`. Metrics without labels show at once, the others with their first value.
///
/// # Errors
/// [`TelemetryError::Metrics`] on a second call, or where the system gives no thread.
pub fn install(groups: &[&[Metric]]) -> Result<(), TelemetryError> {
    let refused = |error: &dyn std::fmt::Display| TelemetryError::Metrics(error.to_string());
    let metrics: Vec<&Metric> = groups.iter().copied().flatten().chain(PROCESS_METRICS).collect();
    let mut builder = PrometheusBuilder::new();
    for metric in &metrics {
        if let MetricKind::Histogram(buckets) = metric.kind {
            builder = builder
                .set_buckets_for_metric(Matcher::Full(metric.name.to_owned()), buckets.bounds())
                .map_err(|error| refused(&error))?;
        }
    }
    let handle = builder.install_recorder().map_err(|error| refused(&error))?;
    metrics.into_iter().for_each(describe);
    let upkeep = handle.clone();
    let observers = Mutex::default();
    if INSTALLED.set(Installed { handle, observers }).is_err() {
        return Err(refused(&"the recorder is installed already"));
    }
    std::thread::Builder::new()
        .name("metrics-upkeep".to_owned())
        .spawn(move || {
            loop {
                std::thread::sleep(UPKEEP_INTERVAL);
                upkeep.run_upkeep();
            }
        })
        .map_err(|error| refused(&error))?;
    Ok(())
}

fn describe(metric: &Metric) {
    let has_labels = !metric.labels.is_empty();
    metrics::with_recorder(|recorder| match metric.kind {
        MetricKind::Counter => recorder.describe_counter(metric.name.into(), None, metric.help.into()),
        MetricKind::Gauge => recorder.describe_gauge(metric.name.into(), None, metric.help.into()),
        MetricKind::Histogram(_) => {
            recorder.describe_histogram(metric.name.into(), None, metric.help.into());
        }
    });
    match metric.kind {
        _ if has_labels => {}
        MetricKind::Counter => metric.counter_of(&[]).increment(0),
        MetricKind::Gauge => metric.gauge_of(&[]).set(0.0),
        MetricKind::Histogram(_) => drop(metric.histogram_of(&[])),
    }
}

/// Calls `observe` before each rendering, to set gauges from what is `observed`, for as long as
/// that exists. It must be quick. Without a recorder it is never called.
pub fn observe<T, F>(observed: &Arc<T>, observe: F)
where
    T: ?Sized + Send + Sync + 'static,
    F: Fn(&T) + Send + 'static,
{
    let Some(installed) = INSTALLED.get() else { return };
    let observed = Arc::downgrade(observed);
    let observer = move || observed.upgrade().map(|observed| observe(&observed)).is_some();
    installed
        .observers
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(Box::new(observer));
}

/// Returns all metrics in Prometheus's text format; nothing without a recorder.
#[must_use]
pub fn render() -> String {
    let Some(installed) = INSTALLED.get() else {
        return String::new();
    };
    process::observe();
    installed
        .observers
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .retain(|observer| observer());
    installed.handle.render()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Buckets;

    /// One test, since there is one recorder in a process.
    #[test]
    fn shows_what_is_counted_and_observed() {
        const EVENTS: Metric =
            Metric::counter("marginstream_test_events_total", &["reason"], "Events of a test");
        const WAITING: Metric = Metric::gauge("marginstream_test_waiting_events", &[], "Events that wait");
        const SECONDS: Metric = Metric::histogram(
            "marginstream_test_seconds",
            Buckets::Seconds,
            &[],
            "Seconds of a test",
        );

        assert_eq!(render(), "");
        install(&[&[EVENTS, WAITING, SECONDS]]).unwrap();
        assert!(install(&[]).is_err());

        EVENTS.counter_of(&["late"]).increment(2);
        EVENTS.counter_of(&["late"]).increment(1);
        SECONDS.histogram_of(&[]).record(0.3);
        let waiting = Arc::new(7);
        observe(&waiting, |waiting: &i32| WAITING.gauge_of(&[]).set(*waiting));
        let text = render();
        for line in [
            "# HELP marginstream_test_events_total Events of a test",
            "# TYPE marginstream_test_events_total counter",
            "marginstream_test_events_total{reason=\"late\"} 3",
            "# TYPE marginstream_test_waiting_events gauge",
            "marginstream_test_waiting_events 7",
            "# TYPE marginstream_test_seconds histogram",
            "marginstream_test_seconds_bucket{le=\"0.25\"} 0",
            "marginstream_test_seconds_bucket{le=\"0.5\"} 1",
            "marginstream_test_seconds_count 1",
            "# TYPE marginstream_process_resident_memory_bytes gauge",
        ] {
            assert!(
                text.lines().any(|known| known == line),
                "{line} is not in\n{text}"
            );
        }
        for metric in PROCESS_METRICS {
            assert!(
                text.contains(&format!("# HELP {} ", metric.name)),
                "{}",
                metric.name
            );
        }

        drop(waiting);
        WAITING.gauge_of(&[]).set(0);
        assert!(render().contains("marginstream_test_waiting_events 0\n"));
    }
}
