//! One file of a partition, as readers see it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::files;
use crate::LogError;

/// Bytes between two entries of a segment's index.
const INDEX_INTERVAL_BYTES: u64 = 1 << 20;

/// Returns the name of the segment whose first offset is `base`: 20 digits, so names sort as offsets do.
pub(super) fn file_name(base: u64) -> String {
    format!("{base:020}.log")
}

/// Returns the first offset that a segment's file name tells.
fn parse_file_name(name: &str) -> Option<u64> {
    let digits = name.strip_suffix(".log").filter(|digits| digits.len() == 20)?;
    digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().ok())?
}

/// Returns the bases and paths of the segments in `dir`, in offset order.
pub(super) fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>, LogError> {
    let names = files::list_dir(dir)?;
    Ok(names
        .iter()
        .filter_map(|name| Some((parse_file_name(name)?, dir.join(name))))
        .collect())
}

/// A segment: records from `base` on, without gaps inside.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) base: u64,
    pub(super) path: PathBuf,
    /// Bytes of records that readers may see; a seal is not among them.
    len: AtomicU64,
    /// Arrival time of the last record, UTC milliseconds.
    last_timestamp_ms: AtomicI64,
    /// Offsets and where they start, about every megabyte of what was written or scanned so far.
    index: Mutex<Vec<(u64, u64)>>,
}

impl Segment {
    pub(super) fn new(base: u64, path: PathBuf, len: u64, last_timestamp_ms: i64) -> Self {
        let (len, last_timestamp_ms) = (AtomicU64::new(len), AtomicI64::new(last_timestamp_ms));
        Self {
            base,
            path,
            len,
            last_timestamp_ms,
            index: Mutex::default(),
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.len.load(Ordering::Acquire)
    }

    pub(super) fn last_timestamp_ms(&self) -> i64 {
        self.last_timestamp_ms.load(Ordering::Relaxed)
    }

    /// Lets readers see the first `len` bytes.
    pub(super) fn publish(&self, len: u64, last_timestamp_ms: i64) {
        self.last_timestamp_ms.store(last_timestamp_ms, Ordering::Relaxed);
        self.len.store(len, Ordering::Release);
    }

    /// Opens the file for reading.
    pub(super) fn open(&self) -> Result<File, LogError> {
        File::open(&self.path).map_err(LogError::io("open", &self.path))
    }

    /// Remembers that the record `offset` starts at `position`, if the last entry is far enough behind.
    pub(super) fn note(&self, offset: u64, position: u64) {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let last = index.last().map_or(0, |(_, position)| *position);
        if position >= last + INDEX_INTERVAL_BYTES {
            index.push((offset, position));
        }
    }

    /// Returns the last known record at or before `offset`, and where it starts.
    pub(super) fn floor(&self, offset: u64) -> (u64, u64) {
        let index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let above = index.partition_point(|(noted, _)| *noted <= offset);
        above.checked_sub(1).map_or((self.base, 0), |entry| index[entry])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_base_and_nothing_else_passes() {
        assert_eq!(parse_file_name(&file_name(42)), Some(42));
        for name in [
            "42.log",
            "00000000000000000042.log.damaged-7",
            "0000000000000000004x.log",
            "LOCK",
        ] {
            assert_eq!(parse_file_name(name), None, "{name}");
        }
    }

    #[test]
    fn floor_finds_the_last_entry_at_or_before_an_offset() {
        let segment = Segment::new(100, PathBuf::new(), 0, 0);
        assert_eq!(segment.floor(150), (100, 0));
        segment.note(110, INDEX_INTERVAL_BYTES - 1);
        segment.note(120, INDEX_INTERVAL_BYTES);
        segment.note(130, INDEX_INTERVAL_BYTES + 1);
        assert_eq!(segment.floor(119), (100, 0));
        assert_eq!(segment.floor(120), (120, INDEX_INTERVAL_BYTES));
        assert_eq!(segment.floor(500), (120, INDEX_INTERVAL_BYTES));
    }
}
