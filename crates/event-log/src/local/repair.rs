//! Makes a damaged log readable again, keeping every record that is intact.
//!
//! The damaged bytes of a segment, from the first one to its end, are copied aside. Intact records found
//! in them go into segments of their own; the seal of the one before names where they start, so readers
//! step over what is lost. Offsets that were in use are never given again: a consumer that remembers
//! them would take new records for old ones.

use std::fs::File;
use std::io::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use tracing::warn;

use super::commits::{CommitStore, set_aside_damaged};
use super::files::{self, DirLock};
use super::frame::{Header, MIN_FRAME_LEN};
use super::salvage::{Run, find_runs, lost_offsets};
use super::scan::{Scan, Tail, scan};
use super::segment;
use crate::{LogError, TopicPartition};

/// Offsets left out where a log was cut: more than one batch of a consumer that had read past the cut.
const SPARE_OFFSETS: u64 = 1 << 20;

/// What was done about one damaged file.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RepairReport {
    /// The file.
    pub path: PathBuf,
    /// Where the damage started, in bytes.
    pub position: u64,
    /// Bytes from there on that were copied aside.
    pub set_aside_bytes: u64,
    /// Where they are; absent if there were none.
    pub set_aside: Option<PathBuf>,
    /// Intact records among them, which stay in the log.
    pub num_recovered: u64,
    /// Offsets that readers will not find, `[start, end)`; the last ones may never have been in use.
    /// Empty for a commit file: its group starts over from the earliest record.
    pub lost_offsets: Vec<Range<u64>>,
}

/// Repairs the log in `dir`: every checksum of every segment and commit is verified, and what does not
/// hold is set aside as `<file>.damaged-<position>`. Returns what was done, nothing for a sound log.
/// Blocks for as long as it takes to read the whole log. May be run again after a crash.
///
/// To be called by an operator only, who decides that the records set aside may be missing.
///
/// # Errors
/// [`LogError::Locked`] while the log is open; [`LogError::Damaged`] for segments that overlap, which
/// cannot be repaired; I/O errors.
pub fn repair(dir: &Path) -> Result<Vec<RepairReport>, LogError> {
    let _lock = DirLock::acquire(dir)?;
    let mut reports = Vec::new();
    for (path, aside) in set_aside_damaged(dir)? {
        let set_aside_bytes = aside.metadata().map_err(LogError::io("read", &aside))?.len();
        let set_aside = Some(aside);
        reports.push(RepairReport {
            path,
            position: 0,
            set_aside_bytes,
            set_aside,
            num_recovered: 0,
            lost_offsets: vec![],
        });
    }
    let commits = CommitStore::load(dir)?;
    for topic in files::list_dir(dir)? {
        if topic == "groups" || !dir.join(&topic).is_dir() {
            continue;
        }
        for name in files::list_dir(&dir.join(&topic))? {
            let Ok(partition) = name.parse() else { continue };
            let files = commits.of_partition(&TopicPartition::new(topic.as_str(), partition));
            let committed = files
                .iter()
                .filter_map(|file| file.current())
                .map(|committed| committed.offset)
                .max();
            let partition_dir = dir.join(&topic).join(&name);
            reports.extend(repair_partition(dir, &partition_dir, committed.unwrap_or(0))?);
        }
    }
    for report in &reports {
        warn!(path = %report.path.display(), position = report.position, set_aside_bytes = report.set_aside_bytes, num_recovered = report.num_recovered, "damaged file repaired");
    }
    Ok(reports)
}

fn repair_partition(root: &Path, dir: &Path, committed: u64) -> Result<Vec<RepairReport>, LogError> {
    let mut reports = Vec::new();
    let segments = segment::list(dir)?;
    for (index, (base, path)) in segments.iter().enumerate() {
        let next_base = segments.get(index + 1).map(|(next_base, _)| *next_base);
        let file = File::open(path).map_err(LogError::io("open", path))?;
        let scan = scan(&file, *base, |_, _| {}).map_err(LogError::io("read", path))?;
        if is_sound(&scan, next_base, committed) {
            continue;
        }
        if next_base.is_some_and(|next_base| next_base < scan.next_offset) {
            let detail = format!(
                "records up to offset {} overlap the next segment",
                scan.next_offset
            );
            return Err(super::damaged(
                root,
                path,
                scan.len,
                scan.file_len - scan.len,
                detail,
            ));
        }
        reports.push(
            DamagedSegment {
                dir,
                base: *base,
                path,
                next_base,
                scan,
            }
            .repair(committed)?,
        );
    }
    Ok(reports)
}

/// Returns whether a segment can stay as it is. Opening the log drops a torn write at its end by itself.
fn is_sound(scan: &Scan, next_base: Option<u64>, committed: u64) -> bool {
    match (&scan.tail, next_base) {
        (Tail::Sealed { next_base: sealed }, Some(next_base)) => *sealed == next_base,
        (Tail::Sealed { next_base: end }, None) => committed <= *end,
        (Tail::Clean | Tail::Torn, None) => committed <= scan.next_offset,
        (Tail::Clean | Tail::Torn, Some(_)) | (Tail::Damaged { .. }, _) => false,
    }
}

/// A segment to repair.
struct DamagedSegment<'a> {
    dir: &'a Path,
    base: u64,
    path: &'a Path,
    next_base: Option<u64>,
    scan: Scan,
}

impl DamagedSegment<'_> {
    fn repair(self, committed: u64) -> Result<RepairReport, LogError> {
        let position = self.scan.len;
        let bytes = std::fs::read(self.path).map_err(LogError::io("read", self.path))?;
        let tail = &bytes[position as usize..];
        let set_aside = self.set_aside(position, tail.len())?;
        let runs = find_runs(tail, self.scan.next_offset, self.next_base.unwrap_or(u64::MAX));
        let end = self
            .next_base
            .unwrap_or_else(|| self.safe_end(&runs, tail.len(), committed));

        // From the end to the damaged file, which comes last: after a crash another repair finds it again
        // and, behind it, only segments that are whole.
        if self.next_base.is_none() {
            self.write_segment(end, &[], None)?;
        }
        let mut next_base = end;
        for run in runs.iter().rev() {
            self.write_segment(
                run.offsets.start,
                &tail[run.bytes.clone()],
                Some((next_base, run.last_timestamp_ms)),
            )?;
            next_base = run.offsets.start;
        }
        if next_base != self.base {
            let intact = &bytes[..position as usize];
            self.write_segment(self.base, intact, Some((next_base, self.scan.last_timestamp_ms)))?;
        }
        Ok(RepairReport {
            path: self.path.to_path_buf(),
            position,
            set_aside_bytes: tail.len() as u64,
            set_aside,
            num_recovered: runs.iter().map(|run| run.offsets.end - run.offsets.start).sum(),
            lost_offsets: lost_offsets(&runs, self.scan.next_offset, end),
        })
    }

    /// Copies the file from `position` on, unless nothing is there or an earlier repair did.
    fn set_aside(&self, position: u64, num_bytes: usize) -> Result<Option<PathBuf>, LogError> {
        if num_bytes == 0 {
            return Ok(None);
        }
        let mut name = self.path.as_os_str().to_owned();
        name.push(format!(".damaged-{position}"));
        let aside = PathBuf::from(name);
        files::copy_synced(self.path, position, &aside)?;
        Ok(Some(aside))
    }

    /// Returns an offset that was surely never in use in the last segment.
    fn safe_end(&self, runs: &[Run], tail_len: usize, committed: u64) -> u64 {
        let in_tail = (tail_len / MIN_FRAME_LEN) as u64;
        let recovered = runs.last().map_or(0, |run| run.offsets.end);
        let sealed = match self.scan.tail {
            Tail::Sealed { next_base } => next_base,
            _ => 0,
        };
        (self.scan.next_offset + in_tail)
            .max(recovered)
            .max(committed)
            .max(sealed)
            + SPARE_OFFSETS
    }

    /// Writes a whole segment, sealed with the next one's base and the last record's time if given.
    fn write_segment(&self, base: u64, records: &[u8], seal: Option<(u64, i64)>) -> Result<(), LogError> {
        let path = self.dir.join(segment::file_name(base));
        let unfinished = path.with_extension("repair");
        let mut options = files::private_file();
        let mut file = options
            .write(true)
            .create(true)
            .truncate(true)
            .open(&unfinished)
            .map_err(LogError::io("create", &unfinished))?;
        let seal = seal.map(|(next_base, timestamp_ms)| Header::seal(next_base, timestamp_ms).encode());
        file.write_all(records)
            .and_then(|()| file.write_all(seal.as_ref().map_or(&[], |seal| &seal[..])))
            .and_then(|()| file.sync_all())
            .map_err(LogError::io("write", &unfinished))?;
        std::fs::rename(&unfinished, &path).map_err(LogError::io("rename", &unfinished))?;
        files::sync_dir(self.dir)
    }
}
