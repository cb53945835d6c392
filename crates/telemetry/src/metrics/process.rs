//! What the system says of this process.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::Metric;

const BUILD_INFO: Metric = Metric::gauge(
    "marginstream_build_info",
    &["version"],
    "1, with the version of the program as label",
);
const START_TIME: Metric = Metric::gauge(
    "marginstream_process_start_time_seconds",
    &[],
    "When the process started, in seconds since 1970-01-01 UTC",
);
const RESIDENT_MEMORY: Metric = Metric::gauge(
    "marginstream_process_resident_memory_bytes",
    &[],
    "Memory of the process that is in RAM, the embedded engine included",
);
const CPU: Metric = Metric::counter(
    "marginstream_process_cpu_seconds_total",
    &[],
    "CPU time of all threads in user and system mode, in whole seconds",
);
const OPEN_FILES: Metric = Metric::gauge(
    "marginstream_process_open_files",
    &[],
    "Open file descriptors of the process",
);

/// The metrics that every process has.
pub const METRICS: &[Metric] = &[BUILD_INFO, START_TIME, RESIDENT_MEMORY, CPU, OPEN_FILES];

/// Places in `/proc/self/stat` after the command's name, which may itself hold spaces and brackets;
/// they start with field 3 (proc_pid_stat(5)).
const USER_TICKS: usize = 14 - 3;
const SYSTEM_TICKS: usize = 15 - 3;
const START_TICKS: usize = 22 - 3;
/// The unit of times that Linux shows to programs, whatever its own clock runs at (time(7)).
const TICKS_PER_SEC: u64 = 100;

/// When the process started, since 1970. Kept, since it is a difference of two clocks.
static STARTED_AT: OnceLock<Option<Duration>> = OnceLock::new();

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stat {
    cpu: Duration,
    /// Since the boot.
    started: Duration,
}

/// Sets the metrics of this module. Where the system has no `/proc`, only the version has a value.
pub(super) fn observe() {
    BUILD_INFO.gauge_of(&[env!("CARGO_PKG_VERSION")]).set(1.0);
    let read = |name| std::fs::read_to_string(name).ok();
    if let Some(stat) = read("/proc/self/stat").as_deref().and_then(parse_stat) {
        CPU.counter_of(&[]).absolute(stat.cpu.as_secs());
        if let Some(at) = STARTED_AT.get_or_init(|| Some(boot_time()? + stat.started)) {
            START_TIME.gauge_of(&[]).set(at.as_secs_f64());
        }
    }
    if let Some(bytes) = read("/proc/self/status")
        .as_deref()
        .and_then(parse_resident_bytes)
    {
        RESIDENT_MEMORY.gauge_of(&[]).set(bytes as f64);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        OPEN_FILES.gauge_of(&[]).set(files.count() as f64);
    }
}

fn parse_stat(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split_ascii_whitespace().collect();
    let time = |field: usize| {
        let ticks: u64 = fields.get(field)?.parse().ok()?;
        Some(Duration::from_millis(ticks.saturating_mul(1_000 / TICKS_PER_SEC)))
    };
    Some(Stat {
        cpu: time(USER_TICKS)? + time(SYSTEM_TICKS)?,
        started: time(START_TICKS)?,
    })
}

fn parse_resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1_024)
}

/// Returns when the system booted, since 1970.
fn boot_time() -> Option<Duration> {
    let uptime = std::fs::read_to_string("/proc/uptime").ok()?;
    let secs: f64 = uptime.split_ascii_whitespace().next()?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?;
    now.checked_sub(Duration::try_from_secs_f64(secs).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_fields_behind_a_name_with_brackets() {
        let text = "42 (a) b) (c) S 1 2 3 4 5 6 7 8 9 10 150 250 0 0 20 0 9 0 3000 1000000 512";
        let expected = Stat {
            cpu: Duration::from_secs(4),
            started: Duration::from_secs(30),
        };
        assert_eq!(parse_stat(text), Some(expected));
        assert_eq!(parse_stat("42 (a) S 1"), None);
    }

    #[test]
    fn reads_the_resident_memory() {
        assert_eq!(
            parse_resident_bytes("VmHWM:\t 9 kB\nVmRSS:\t     512 kB\n"),
            Some(524_288)
        );
        assert_eq!(parse_resident_bytes("VmHWM:\t 9 kB\n"), None);
    }
}
