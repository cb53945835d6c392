//! Lines of figures, and what the server used.

use std::fmt::Display;
use std::time::Instant;

use crate::error::LoadError;
use crate::process::{CpuTime, MachineTime, disk_bytes, peak_resident_bytes};
use crate::server::Server;

/// Parts of a thread list that are too small to show, in seconds.
const MIN_SHOWN_SECS: f64 = 0.05;
const MEBIBYTE: f64 = (1 << 20) as f64;

/// Prints one figure.
pub(crate) fn line(name: &str, value: impl Display) {
    println!("{name:<34} {value}");
}

/// Prints what else the machine was doing: load averages over 1, 5 and 15 minutes, and cores.
pub(crate) fn machine(moment: &str) {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let averages: Vec<_> = load.split(' ').take(3).collect();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    line(
        &format!("load average {moment}"),
        format_args!("{} on {cores} cores", averages.join(" ")),
    );
}

/// What CPU time is divided by.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Work {
    Events(u64),
    Requests(u64),
}

/// The CPU time of server and harness at one moment.
#[derive(Debug)]
pub(crate) struct CpuReading {
    server: CpuTime,
    harness: CpuTime,
    machine: MachineTime,
    at: Instant,
}

impl CpuReading {
    /// Reads both now.
    ///
    /// # Errors
    /// [`LoadError::Io`] where there is no `/proc`.
    pub(crate) fn now(server: &Server) -> Result<Self, LoadError> {
        let read = |pid| CpuTime::of(pid).map_err(LoadError::io("read CPU times"));
        Ok(Self {
            server: read(server.pid())?,
            harness: read(std::process::id())?,
            machine: MachineTime::now().map_err(LoadError::io("read CPU times"))?,
            at: Instant::now(),
        })
    }

    /// Prints what `work` used since `before`, by name of thread.
    pub(crate) fn print_since(&self, before: &Self, work: Work) {
        let (unit, count) = match work {
            Work::Events(count) => ("million events", count as f64 / 1e6),
            Work::Requests(count) => ("thousand requests", count as f64 / 1e3),
        };
        let (total, threads) = self.server.since(&before.server);
        line(
            &format!("server CPU per {unit}"),
            format_args!("{:.2} s ({total:.2} s in all)", total / count),
        );
        for (name, secs) in threads {
            if secs >= MIN_SHOWN_SECS {
                line(&format!("  {name}"), format_args!("{:.2} s", secs / count));
            }
        }
        let (harness, _) = self.harness.since(&before.harness);
        let (busy, stolen) = self.machine.since(before.machine);
        line(
            "other CPU",
            format_args!(
                "harness {harness:.2} s, everything else {:.2} s, stolen {stolen:.2} s, in {:.2} s",
                (busy - total - harness).max(0.0),
                self.at.duration_since(before.at).as_secs_f64()
            ),
        );
    }
}

/// Prints the server's peak memory, and what its data takes on disk.
///
/// # Errors
/// [`LoadError::Io`] where there is no `/proc`.
pub(crate) fn footprint(server: &Server, num_events: u64) -> Result<(), LoadError> {
    let resident = peak_resident_bytes(server.pid()).map_err(LoadError::io("read the server's memory"))?;
    line(
        "server peak resident",
        format_args!("{:.0} MiB", resident as f64 / MEBIBYTE),
    );
    for part in ["log", "clickhouse"] {
        let bytes = disk_bytes(&server.data_dir().join(part)) as f64;
        line(
            &format!("disk, {part}"),
            format_args!(
                "{:.0} MiB, {:.0} bytes per event",
                bytes / MEBIBYTE,
                bytes / num_events.max(1) as f64
            ),
        );
    }
    Ok(())
}
