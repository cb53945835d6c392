//! What a process used, as Linux's `/proc` tells (proc(5)).

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Units of CPU time a second in `/proc/<pid>/stat`: 100 on every architecture that we run on.
const TICKS_PER_SEC: f64 = 100.0;
/// Unit of `st_blocks`, in bytes.
const BLOCK_BYTES: u64 = 512;
/// Threads that ended, and what rounding leaves.
const ENDED: &str = "(ended threads)";

/// CPU time of a process up to one moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct CpuTime {
    total_ticks: u64,
    /// By thread id: name and ticks.
    threads: BTreeMap<u32, (String, u64)>,
}

impl CpuTime {
    /// Reads the CPU time of a process and of its threads.
    ///
    /// # Errors
    /// [`io::Error`] where the process is gone or there is no `/proc`.
    pub(crate) fn of(pid: u32) -> io::Result<Self> {
        let total_ticks = read_ticks(&format!("/proc/{pid}/stat"))?.1;
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(format!("/proc/{pid}/task"))? {
            let path = entry?.path();
            let id = path.file_name().and_then(|name| name.to_str()?.parse().ok());
            // A thread may end between the listing and the reading.
            if let (Some(id), Ok(thread)) = (id, read_ticks(&path.join("stat").to_string_lossy())) {
                threads.insert(id, thread);
            }
        }
        Ok(Self { total_ticks, threads })
    }

    /// Returns the seconds used since `before`: in all, and by name of thread, largest first.
    pub(crate) fn since(&self, before: &Self) -> (f64, Vec<(String, f64)>) {
        let total = self.total_ticks.saturating_sub(before.total_ticks);
        let mut by_name = BTreeMap::<String, u64>::new();
        for (id, (name, ticks)) in &self.threads {
            let earlier = before.threads.get(id).map_or(0, |(_, ticks)| *ticks);
            let name = name.trim_end_matches(|end: char| end.is_ascii_digit() || "-_#:".contains(end));
            *by_name.entry(name.to_owned()).or_default() += ticks.saturating_sub(earlier);
        }
        let named: u64 = by_name.values().sum();
        by_name.insert(ENDED.to_owned(), total.saturating_sub(named));
        let mut parts: Vec<_> = by_name.into_iter().filter(|(_, ticks)| *ticks > 0).collect();
        parts.sort_by_key(|(_, ticks)| std::cmp::Reverse(*ticks));
        let secs = |ticks: u64| ticks as f64 / TICKS_PER_SEC;
        (
            secs(total),
            parts
                .into_iter()
                .map(|(name, ticks)| (name, secs(ticks)))
                .collect(),
        )
    }
}

fn read_ticks(path: &str) -> io::Result<(String, u64)> {
    parse_stat(&fs::read_to_string(path)?).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Returns name, and user and system time in ticks. The name is in parentheses and may hold any text.
fn parse_stat(text: &str) -> Option<(String, u64)> {
    let (head, fields) = text.rsplit_once(')')?;
    let (_, name) = head.split_once('(')?;
    // Fields 14 and 15; the first one here is field 3.
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some((name.to_owned(), user + system))
}

/// CPU time of the whole machine up to one moment, in ticks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct MachineTime {
    /// Spent by all processes and the kernel.
    busy_ticks: u64,
    /// Wanted, but given to other virtual machines.
    stolen_ticks: u64,
}

impl MachineTime {
    /// Reads it now.
    ///
    /// # Errors
    /// [`io::Error`] where there is no `/proc`.
    pub(crate) fn now() -> io::Result<Self> {
        parse_machine(&fs::read_to_string("/proc/stat")?).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Returns the seconds since `before`: busy, and stolen.
    pub(crate) fn since(self, before: Self) -> (f64, f64) {
        let secs = |now: u64, then: u64| now.saturating_sub(then) as f64 / TICKS_PER_SEC;
        (
            secs(self.busy_ticks, before.busy_ticks),
            secs(self.stolen_ticks, before.stolen_ticks),
        )
    }
}

fn parse_machine(stat: &str) -> Option<MachineTime> {
    let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
    let ticks: Vec<u64> = fields.map(|field| field.parse().unwrap_or(0)).collect();
    // The rest are guests, which user and nice hold already.
    let [
        user,
        nice,
        system,
        _idle,
        _waiting,
        interrupts,
        soft_interrupts,
        stolen,
        ..,
    ] = ticks[..]
    else {
        return None;
    };
    Some(MachineTime {
        busy_ticks: user + nice + system + interrupts + soft_interrupts,
        stolen_ticks: stolen,
    })
}

/// Returns the largest resident size that a process ever had, in bytes.
///
/// # Errors
/// [`io::Error`] where the process is gone or there is no `/proc`.
pub(crate) fn peak_resident_bytes(pid: u32) -> io::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    parse_peak(&status).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parse_peak(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// Returns what a directory takes on disk, in bytes.
pub(crate) fn disk_bytes(dir: &Path) -> u64 {
    let Ok(metadata) = fs::symlink_metadata(dir) else {
        // Merges remove files while this counts.
        return 0;
    };
    let own = metadata.blocks() * BLOCK_BYTES;
    if !metadata.is_dir() {
        return own;
    }
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    own + entries.map(|entry| disk_bytes(&entry.path())).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_anything() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194560 1 0 0 0 250 30 0 0 20 0 9 0 100 1 1";
        assert_eq!(parse_stat(stat), Some(("a) b) c".to_owned(), 280)));
        assert_eq!(parse_stat("7 (a) S 1"), None);
        assert_eq!(
            parse_peak("VmPeak:\t 9 kB\nVmHWM:\t   2048 kB\n"),
            Some(2048 * 1024)
        );
    }

    #[test]
    fn waiting_is_not_busy() {
        let stat = "cpu  10 1 20 900 90 2 3 4 5 0\ncpu0 1 1 1 1\n";
        let time = MachineTime {
            busy_ticks: 36,
            stolen_ticks: 4,
        };
        assert_eq!(parse_machine(stat), Some(time));
        assert_eq!(parse_machine("cpu  1 2"), None);
    }

    #[test]
    fn threads_of_one_name_are_one_line() {
        let threads = |ticks: [u64; 3]| {
            let names = ["worker-1", "worker-12", "log"];
            (1..)
                .zip(names.map(str::to_owned).into_iter().zip(ticks))
                .collect()
        };
        let before = CpuTime {
            total_ticks: 100,
            threads: threads([10, 20, 30]),
        };
        let after = CpuTime {
            total_ticks: 700,
            threads: threads([110, 220, 230]),
        };
        let (total, parts) = after.since(&before);
        assert!((total - 6.0).abs() < 1e-9);
        let names: Vec<_> = parts.iter().map(|(name, _)| &**name).collect();
        assert_eq!(names, ["worker", "log", ENDED]);
    }
}
