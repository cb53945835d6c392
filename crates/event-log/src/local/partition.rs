//! One partition as its readers share it with the writer, and its opening after a crash.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use tokio::sync::watch;
use tracing::warn;

use super::active::ActiveSegment;
use super::files;
use super::frame::{FrameKind, HEADER_LEN, Header};
use super::scan::{Tail, scan};
use super::segment::{self, Segment};
use crate::{LogError, TopicPartition};

/// A partition's segments and its end.
#[derive(Debug)]
pub(super) struct PartitionLog {
    pub(super) id: TopicPartition,
    /// The whole log's directory, for error messages.
    pub(super) root: PathBuf,
    /// This partition's directory.
    pub(super) dir: PathBuf,
    /// In offset order, never empty; the last one is written to.
    segments: RwLock<Vec<Arc<Segment>>>,
    /// The next offset to be written, as readers know it.
    end: watch::Sender<u64>,
    /// The offset below which everything is synced; at most `end`.
    durable_end: AtomicU64,
}

impl PartitionLog {
    /// Opens a partition: verifies that its segments follow each other, drops a torn write at its end,
    /// syncs what is left, and returns it with the segment to write to.
    ///
    /// # Errors
    /// [`LogError::Damaged`] where acknowledged records may be lost.
    pub(super) fn open(root: &Path, id: TopicPartition) -> Result<(Arc<Self>, ActiveSegment), LogError> {
        let dir = root.join(&*id.topic).join(id.partition.to_string());
        files::create_dir(&dir)?;
        let mut found = segment::list(&dir)?;
        let last = found.pop();
        let mut segments = open_sealed(root, &found, last.as_ref().map(|(base, _)| *base))?;
        let active = match last {
            Some((base, path)) => open_last(root, &dir, base, path, &mut segments)?,
            None => ActiveSegment::create(&dir, 0)?,
        };
        segments.push(Arc::clone(&active.segment));
        let end = active.next_offset;
        let log = Self {
            id,
            root: root.to_path_buf(),
            dir,
            segments: RwLock::new(segments),
            end: watch::Sender::new(end),
            durable_end: AtomicU64::new(end),
        };
        Ok((Arc::new(log), active))
    }

    pub(super) fn end(&self) -> u64 {
        *self.end.borrow()
    }

    /// Returns a receiver that is told each new end.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.end.subscribe()
    }

    /// Tells readers that every offset below `end` can be read.
    pub(super) fn publish_end(&self, end: u64) {
        self.end.send_replace(end);
    }

    pub(super) fn durable_end(&self) -> u64 {
        self.durable_end.load(Ordering::Acquire)
    }

    pub(super) fn set_durable_end(&self, end: u64) {
        self.durable_end.store(end, Ordering::Release);
    }

    pub(super) fn segments(&self) -> Vec<Arc<Segment>> {
        self.segments
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    pub(super) fn push_segment(&self, segment: Arc<Segment>) {
        self.segments
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .push(segment);
    }

    /// Forgets the first `num_segments`; readers that are in them finish what they hold open.
    pub(super) fn forget_segments(&self, num_segments: usize) {
        self.segments
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .drain(..num_segments);
    }

    pub(super) fn earliest(&self) -> u64 {
        self.segments
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .first()
            .map_or(0, |first| first.base)
    }

    /// Returns the segment that holds `offset`, or the last one before it.
    pub(super) fn segment_of(&self, offset: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let above = segments.partition_point(|segment| segment.base <= offset);
        above.checked_sub(1).map(|index| Arc::clone(&segments[index]))
    }

    /// Returns the segment after the one with this base.
    pub(super) fn segment_after(&self, base: u64) -> Option<Arc<Segment>> {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments
            .get(segments.partition_point(|segment| segment.base <= base))
            .map(Arc::clone)
    }

    /// Checks that `offset` is within what is kept, the end included.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`].
    pub(super) fn check_range(&self, offset: u64) -> Result<(), LogError> {
        let (earliest, end) = (self.earliest(), self.end());
        if (earliest..=end).contains(&offset) {
            return Ok(());
        }
        Err(LogError::OutOfRange {
            topic_partition: self.id.clone(),
            offset,
            earliest,
            end,
        })
    }
}

/// Opens all segments but the last by their seals, each of which must name the next segment's base.
fn open_sealed(
    root: &Path,
    found: &[(u64, PathBuf)],
    last_base: Option<u64>,
) -> Result<Vec<Arc<Segment>>, LogError> {
    let next_bases = found.iter().skip(1).map(|(base, _)| *base).chain(last_base);
    let mut segments = Vec::with_capacity(found.len() + 1);
    for ((base, path), next_base) in found.iter().zip(next_bases) {
        let file = File::open(path).map_err(LogError::io("open", path))?;
        let file_len = file.metadata().map_err(LogError::io("read", path))?.len();
        let Some(len) = file_len.checked_sub(HEADER_LEN as u64) else {
            return Err(damaged(
                root,
                path,
                0,
                file_len,
                "no seal, though another segment follows",
            ));
        };
        let mut bytes = [0; HEADER_LEN];
        file.read_exact_at(&mut bytes, len)
            .map_err(LogError::io("read", path))?;
        match Header::decode(&bytes) {
            Ok(seal) if seal.kind == FrameKind::Seal && seal.offset == next_base => {
                segments.push(Arc::new(Segment::new(
                    *base,
                    path.clone(),
                    len,
                    seal.timestamp_ms,
                )));
            }
            Ok(seal) if seal.kind == FrameKind::Seal => {
                let detail = format!("seal names offset {}, but {next_base} follows", seal.offset);
                return Err(damaged(root, path, len, HEADER_LEN as u64, detail));
            }
            _ => {
                let detail = "no seal, though another segment follows,";
                return Err(damaged(root, path, len, HEADER_LEN as u64, detail));
            }
        }
    }
    Ok(segments)
}

/// Opens the last segment by reading all of it. A sealed one (the process died before it made the next)
/// goes to `segments`, and the next one is made.
fn open_last(
    root: &Path,
    dir: &Path,
    base: u64,
    path: PathBuf,
    segments: &mut Vec<Arc<Segment>>,
) -> Result<ActiveSegment, LogError> {
    let file = files::private_file()
        .read(true)
        .append(true)
        .open(&path)
        .map_err(LogError::io("open", &path))?;
    let segment = Segment::new(base, path.clone(), 0, 0);
    let scan = scan(&file, base, |offset, position| segment.note(offset, position))
        .map_err(LogError::io("read", &path))?;
    let torn_bytes = scan.file_len - scan.len;
    match scan.tail {
        Tail::Damaged { detail } => return Err(damaged(root, &path, scan.len, torn_bytes, detail)),
        Tail::Torn => {
            warn!(path = %path.display(), position = scan.len, torn_bytes, "unfinished write dropped");
            file.set_len(scan.len).map_err(LogError::io("truncate", &path))?;
        }
        Tail::Clean | Tail::Sealed { .. } => {}
    }
    // What was written may never have been synced; from here on readers build on it.
    file.sync_all().map_err(LogError::io("sync", &path))?;
    segment.publish(scan.len, scan.last_timestamp_ms);
    let segment = Arc::new(segment);
    if let Tail::Sealed { next_base } = scan.tail {
        segments.push(segment);
        return ActiveSegment::create(dir, next_base);
    }
    files::sync_dir(dir)?;
    Ok(ActiveSegment::resume(file, segment, scan.next_offset))
}

pub(super) fn damaged(
    root: &Path,
    path: &Path,
    position: u64,
    unreadable_bytes: u64,
    detail: impl Into<String>,
) -> LogError {
    LogError::Damaged {
        dir: root.to_path_buf(),
        path: path.to_path_buf(),
        position,
        unreadable_bytes,
        detail: detail.into(),
    }
}
