//! The metrics of the process: those of all its parts, and the space on its disk.

use std::path::Path;
use std::sync::Arc;

use telemetry::metrics::Metric;

use crate::error::CommandError;

const FREE_BYTES: Metric = Metric::gauge(
    "marginstream_data_dir_free_bytes",
    &[],
    "Space that is left for this program on the disk of the data directory",
);

/// What each part declares.
const GROUPS: &[&[Metric]] = &[
    control::METRICS,
    ingest::METRICS,
    known_events::metrics::METRICS,
    marginstream_http::METRICS,
    processor::METRICS,
    query_api::METRICS,
    &[FREE_BYTES],
];

/// Installs the recorder. To be called before any part of a server is made.
pub(crate) fn install() -> Result<(), CommandError> {
    Ok(telemetry::metrics::install(GROUPS)?)
}

/// Shows the space on the disk of `path` for as long as `path` is kept.
pub(crate) fn show_free_bytes(path: &Arc<Path>) {
    telemetry::metrics::observe(path, |path: &Path| {
        if let Ok(bytes) = free_bytes(path) {
            FREE_BYTES.gauge_of(&[]).set(bytes as f64);
        }
    });
}

/// Returns the space that is left for programs without privileges.
pub(crate) fn free_bytes(path: &Path) -> std::io::Result<u64> {
    let disk = rustix::fs::statvfs(path)?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn all() -> impl Iterator<Item = &'static Metric> {
        let groups = GROUPS.iter().copied();
        groups.flatten().chain(telemetry::metrics::PROCESS_METRICS)
    }

    #[test]
    fn names_follow_the_rule_and_stand_for_one_metric() {
        let mut names = BTreeSet::new();
        for metric in all() {
            assert_eq!(metric.fault(), None, "{}", metric.name);
            assert!(names.insert(metric.name), "{} is declared twice", metric.name);
        }
    }

    #[test]
    fn the_documentation_lists_every_metric_as_it_is_declared() {
        let page = include_str!("../../../docs/metrics.md");
        let documented: BTreeSet<&str> = page
            .lines()
            .filter(|line| line.starts_with("| `marginstream_"))
            .collect();
        let row = |metric: &Metric| {
            let labels: Vec<_> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
            let (name, kind) = (metric.name, metric.kind.as_str());
            format!("| `{name}` | {kind} | {} | {} |", labels.join(", "), metric.help)
        };
        let declared: BTreeSet<String> = all().map(row).collect();
        let declared: BTreeSet<&str> = declared.iter().map(String::as_str).collect();
        let missing: Vec<_> = declared.difference(&documented).collect();
        let stale: Vec<_> = documented.difference(&declared).collect();
        assert!(
            missing.is_empty() && stale.is_empty(),
            "docs/metrics.md lacks {missing:#?} and has {stale:#?}"
        );
    }

    #[test]
    fn the_disk_has_some_space() {
        assert!(free_bytes(Path::new(".")).unwrap() > 0);
    }
}
