//! Reads records from segment files. All of this blocks.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

use super::frame::{FrameKind, HEADER_LEN, Header};
use super::partition::{PartitionLog, damaged};
use super::segment::Segment;
use crate::{LogError, LogRecord};

/// Bytes read at a time while looking for an offset.
const SEEK_BYTES: u64 = 256 << 10;

/// A place in a partition, kept between reads so that the next one need not search.
#[derive(Debug)]
pub(super) struct Cursor {
    segment: Arc<Segment>,
    file: File,
    /// Where the next frame starts, in bytes.
    position: u64,
    /// The offset that a read must ask for to go on from here.
    next_offset: u64,
}

/// Reads the first records at or after `from`, up to `max_bytes` of frames but at least one record, from
/// one segment; none if there is none yet. `from` is at or above the earliest offset.
///
/// # Errors
/// [`LogError::Damaged`], [`LogError::OutOfRange`] if retention was faster, or I/O errors.
pub(super) fn read(
    log: &PartitionLog,
    cursor: Option<Cursor>,
    from: u64,
    max_bytes: usize,
) -> Result<(Vec<LogRecord>, Option<Cursor>), LogError> {
    let Some(mut cursor) = cursor
        .filter(|cursor| cursor.next_offset == from)
        .map_or_else(|| Cursor::seek(log, from), |cursor| Ok(Some(cursor)))?
    else {
        return Ok((Vec::new(), None));
    };
    loop {
        // In this order: once there is a next segment, nothing is added to this one.
        let next = log.segment_after(cursor.segment.base);
        let records = cursor.read_records(log, from, max_bytes)?;
        if !records.is_empty() {
            return Ok((records, Some(cursor)));
        }
        match next {
            Some(next) => cursor = Cursor::start(log, next, from)?,
            None => return Ok((records, Some(cursor))),
        }
    }
}

impl Cursor {
    fn start(log: &PartitionLog, segment: Arc<Segment>, next_offset: u64) -> Result<Self, LogError> {
        // A missing file means that retention removed it after `from` was checked.
        let file = segment
            .open()
            .map_err(|error| log.check_range(next_offset).err().unwrap_or(error))?;
        Ok(Self {
            segment,
            file,
            position: 0,
            next_offset,
        })
    }

    /// Finds the first record at or after `from` in the segment that should hold it, or that segment's end.
    fn seek(log: &PartitionLog, from: u64) -> Result<Option<Self>, LogError> {
        let Some(segment) = log.segment_of(from) else {
            return Ok(None);
        };
        let mut cursor = Self::start(log, segment, from)?;
        let (mut offset, position) = cursor.segment.floor(from);
        cursor.position = position;
        let len = cursor.segment.len();
        let (mut chunk, mut chunk_start) = (Vec::new(), position);
        while offset < from && cursor.position < len {
            cursor.check_room(log, len)?;
            let in_chunk = (cursor.position - chunk_start) as usize;
            if in_chunk + HEADER_LEN > chunk.len() {
                chunk_start = cursor.position;
                chunk = cursor.read_bytes(log, SEEK_BYTES.min(len - chunk_start))?;
                continue;
            }
            let header = cursor.decode_header(log, &chunk[in_chunk..], len)?;
            cursor.segment.note(header.offset, cursor.position);
            if header.offset >= from {
                break;
            }
            offset = header.offset + 1;
            cursor.position += header.frame_len();
        }
        Ok(Some(cursor))
    }

    /// Reads on from here to the end of the segment as readers see it, and moves behind what it returns.
    fn read_records(
        &mut self,
        log: &PartitionLog,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<LogRecord>, LogError> {
        let len = self.segment.len();
        let mut records = Vec::new();
        if self.position >= len {
            return Ok(records);
        }
        self.check_room(log, len)?;
        let wanted = (max_bytes.max(HEADER_LEN) as u64).min(len - self.position);
        let mut chunk = Bytes::from(self.read_bytes(log, wanted)?);
        while chunk.len() >= HEADER_LEN {
            let header = self.decode_header(log, &chunk, len)?;
            // Fits `usize`: a frame is at most 4 GiB and this crate needs 64 bits.
            let frame_len = header.frame_len() as usize;
            if frame_len > chunk.len() {
                if !records.is_empty() {
                    break;
                }
                chunk = Bytes::from(self.read_bytes(log, header.frame_len())?);
            }
            let body = chunk.split_to(frame_len).slice(HEADER_LEN..);
            let record = header
                .decode_record(body)
                .map_err(|error| self.damaged(log, len, error.to_string()))?;
            self.segment.note(header.offset, self.position);
            self.position += header.frame_len();
            if header.offset >= from {
                self.next_offset = header.offset + 1;
                records.push(record);
            }
        }
        Ok(records)
    }

    /// Checks that at least a header fits between this position and `len`.
    fn check_room(&self, log: &PartitionLog, len: u64) -> Result<(), LogError> {
        if len - self.position >= HEADER_LEN as u64 {
            return Ok(());
        }
        Err(self.damaged(log, len, "segment ends within a header".to_owned()))
    }

    /// Decodes a header at this position and checks that its frame ends within `len`.
    fn decode_header(&self, log: &PartitionLog, bytes: &[u8], len: u64) -> Result<Header, LogError> {
        let header = Header::decode(bytes).map_err(|error| self.damaged(log, len, error.to_string()))?;
        if header.kind == FrameKind::Seal || header.frame_len() > len - self.position {
            return Err(self.damaged(log, len, "record goes past the segment's end".to_owned()));
        }
        Ok(header)
    }

    fn read_bytes(&self, log: &PartitionLog, num_bytes: u64) -> Result<Vec<u8>, LogError> {
        let mut bytes = vec![0; num_bytes as usize];
        match self.file.read_exact_at(&mut bytes, self.position) {
            Ok(()) => Ok(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => Err(self.damaged(
                log,
                self.segment.len(),
                "file is shorter than what was written".to_owned(),
            )),
            Err(error) => Err(LogError::io("read", &self.segment.path)(error)),
        }
    }

    fn damaged(&self, log: &PartitionLog, len: u64, detail: String) -> LogError {
        damaged(
            &log.root,
            &self.segment.path,
            self.position,
            len - self.position,
            detail,
        )
    }
}
