//! The segment that is written to.

use std::fs::File;
use std::io::{self, IoSlice, Write};
use std::path::Path;
use std::sync::Arc;

use super::files;
use super::frame::{EncodedRecord, HEADER_LEN, Header};
use super::segment::{self, Segment};
use crate::LogError;

/// The kernel takes at most this many slices in one call (`IOV_MAX`).
const MAX_SLICES: usize = 1024;

/// A segment open for appending. What it has written may be ahead of what readers see and the disk has.
#[derive(Debug)]
pub(super) struct ActiveSegment {
    pub(super) segment: Arc<Segment>,
    file: File,
    /// Bytes written.
    pub(super) len: u64,
    /// The offset after the last record written.
    pub(super) next_offset: u64,
    /// Arrival time of the last record written, UTC milliseconds.
    pub(super) last_timestamp_ms: i64,
}

impl ActiveSegment {
    /// Makes an empty segment that starts with offset `base`, its name synced.
    ///
    /// # Errors
    /// [`LogError::Full`] or [`LogError::Io`] if there is no such file now; [`LogError::SyncFailed`] if
    /// there may be one.
    pub(super) fn create(dir: &Path, base: u64) -> Result<Self, LogError> {
        let path = dir.join(segment::file_name(base));
        let mut options = files::private_file();
        let file = options
            .create_new(true)
            .append(true)
            .open(&path)
            .map_err(LogError::io("create", &path))?;
        // Not to be tried again: the name is taken now, and the kernel may have dropped what it could not sync.
        File::open(dir)
            .and_then(|opened| opened.sync_all())
            .map_err(|source| LogError::SyncFailed {
                path: dir.to_path_buf(),
                source: Arc::new(source),
            })?;
        Ok(Self::resume(file, Arc::new(Segment::new(base, path, 0, 0)), base))
    }

    /// Goes on with a segment of which all was published.
    pub(super) fn resume(file: File, segment: Arc<Segment>, next_offset: u64) -> Self {
        let (len, last_timestamp_ms) = (segment.len(), segment.last_timestamp_ms());
        Self {
            segment,
            file,
            len,
            next_offset,
            last_timestamp_ms,
        }
    }

    /// Writes records whose headers are set, with as few calls as possible. Does not sync.
    ///
    /// # Errors
    /// The first failed write's. Part of the records may be in the file; [`Self::roll_back`] removes it.
    pub(super) fn write(&mut self, records: &[EncodedRecord], timestamp_ms: i64) -> Result<(), LogError> {
        let mut slices = Vec::with_capacity(MAX_SLICES + 1);
        for record in records {
            record.push_slices(&mut slices);
            if slices.len() >= MAX_SLICES {
                self.write_slices(&mut slices)?;
                slices.clear();
            }
        }
        self.write_slices(&mut slices)?;
        let mut position = self.len;
        for record in records {
            self.segment.note(self.next_offset, position);
            position += record.frame_len();
            self.next_offset += 1;
        }
        self.len = position;
        self.last_timestamp_ms = timestamp_ms;
        Ok(())
    }

    fn write_slices(&mut self, mut slices: &mut [IoSlice<'_>]) -> Result<(), LogError> {
        let failed = LogError::io("append to", &self.segment.path);
        while !slices.is_empty() {
            match self.file.write_vectored(slices) {
                Ok(0) => return Err(failed(io::ErrorKind::WriteZero.into())),
                Ok(written) => IoSlice::advance_slices(&mut slices, written),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(failed(error)),
            }
        }
        Ok(())
    }

    /// Cuts the file back to `len` bytes, of which the last record is the one before `next_offset`.
    ///
    /// # Errors
    /// [`LogError::SyncFailed`]: the file may hold half a record, and nothing may be written behind it.
    pub(super) fn roll_back(&mut self, len: u64, next_offset: u64) -> Result<(), LogError> {
        self.file
            .set_len(len)
            .map_err(|source| self.sync_failed(source))?;
        self.len = len;
        self.next_offset = next_offset;
        Ok(())
    }

    /// Makes everything written durable.
    ///
    /// # Errors
    /// [`LogError::SyncFailed`]. The kernel may have dropped the pages and would report success for the
    /// next sync, so there must be none: the log refuses all appends from here on.
    pub(super) fn sync(&self) -> Result<(), LogError> {
        self.file.sync_data().map_err(|source| self.sync_failed(source))
    }

    fn sync_failed(&self, source: io::Error) -> LogError {
        LogError::SyncFailed {
            path: self.segment.path.clone(),
            source: Arc::new(source),
        }
    }

    /// Lets readers see everything written.
    pub(super) fn publish(&self) {
        self.segment.publish(self.len, self.last_timestamp_ms);
    }

    /// Ends this segment with a synced seal and returns the next one. All that was written is synced with it.
    ///
    /// # Errors
    /// As [`Self::write`], [`Self::sync`] and [`Self::create`]; the seal is taken back, and the segment
    /// goes on, unless that fails too.
    pub(super) fn seal(&mut self, dir: &Path) -> Result<Self, LogError> {
        let seal = Header::seal(self.next_offset, self.last_timestamp_ms).encode();
        debug_assert_eq!(seal.len(), HEADER_LEN);
        let sealed = self
            .write_slices(&mut [IoSlice::new(&seal)])
            .and_then(|()| self.sync());
        match sealed.and_then(|()| Self::create(dir, self.next_offset)) {
            Err(error) if !matches!(error, LogError::SyncFailed { .. }) => {
                self.roll_back(self.len, self.next_offset)?;
                Err(error)
            }
            result => result,
        }
    }
}

#[cfg(test)]
impl ActiveSegment {
    /// A segment whose file is a device, to make the system calls fail that a disk rarely does.
    pub(super) fn on_device(path: &str) -> Self {
        let file = files::private_file().append(true).open(path).unwrap();
        Self::resume(file, Arc::new(Segment::new(0, path.into(), 0, 0)), 0)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::frame::encode_record;
    use super::*;
    use crate::AppendRecord;

    fn record() -> EncodedRecord {
        let record = AppendRecord {
            partition: 0,
            key: Bytes::new(),
            headers: vec![],
            value: Bytes::from_static(b"v"),
        };
        encode_record(record, 1000).unwrap()
    }

    #[test]
    fn a_failed_sync_says_that_the_log_must_be_reopened() {
        let mut active = ActiveSegment::on_device("/dev/null");
        active.write(&[record()], 0).unwrap();
        assert!(matches!(active.sync(), Err(LogError::SyncFailed { .. })));
    }

    #[test]
    fn a_full_device_is_full_and_a_failed_roll_back_is_final() {
        let mut active = ActiveSegment::on_device("/dev/full");
        assert!(matches!(active.write(&[record()], 0), Err(LogError::Full { .. })));
        assert_eq!((active.len, active.next_offset), (0, 0));
        assert!(matches!(active.roll_back(0, 0), Err(LogError::SyncFailed { .. })));
    }
}
