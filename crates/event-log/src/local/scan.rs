//! Reads a segment file from its start and says how far it can be trusted.

use std::fs::File;
use std::io::{self, BufReader, Read};

use super::frame::{FrameError, FrameKind, HEADER_LEN, Header, RECORD_MAGIC, SEAL_MAGIC};

const BUFFER_BYTES: usize = 256 << 10;

/// What follows the intact records of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tail {
    /// Nothing.
    Clean,
    /// A seal, which names the next segment's base.
    Sealed { next_base: u64 },
    /// The beginning of a frame, or zeros: a write that was cut short and so never acknowledged.
    Torn,
    /// Anything else. It may have been acknowledged.
    Damaged { detail: String },
}

/// How far a segment file is intact.
#[derive(Debug)]
pub(super) struct Scan {
    /// Bytes of intact records.
    pub(super) len: u64,
    /// The offset after the last intact record.
    pub(super) next_offset: u64,
    /// Arrival time of the last intact record, UTC milliseconds; 0 if there is none.
    pub(super) last_timestamp_ms: i64,
    /// Bytes of the file.
    pub(super) file_len: u64,
    pub(super) tail: Tail,
}

/// Scans `file`, whose first record should have the offset `base`, verifying every checksum.
/// Calls `found` with the offset and position of each intact record.
pub(super) fn scan(file: &File, base: u64, mut found: impl FnMut(u64, u64)) -> io::Result<Scan> {
    let file_len = file.metadata()?.len();
    let mut reader = BufReader::with_capacity(BUFFER_BYTES, file);
    let mut scan = Scan {
        len: 0,
        next_offset: base,
        last_timestamp_ms: 0,
        file_len,
        tail: Tail::Clean,
    };
    let mut body = Vec::new();
    loop {
        let remaining = file_len - scan.len;
        let header = match next_header(&mut reader, remaining, scan.next_offset)? {
            Ok(header) => header,
            Err(tail) => {
                scan.tail = tail;
                return Ok(scan);
            }
        };
        if header.frame_len() > remaining {
            scan.tail = Tail::Torn;
            return Ok(scan);
        }
        body.resize(header.body_len as usize, 0);
        reader.read_exact(&mut body)?;
        if let Err(error) = header.verify_body(&body) {
            scan.tail = Tail::Damaged {
                detail: error.to_string(),
            };
            return Ok(scan);
        }
        found(header.offset, scan.len);
        scan.len += header.frame_len();
        scan.next_offset += 1;
        scan.last_timestamp_ms = header.timestamp_ms;
    }
}

/// Reads the header of the record `offset`, or says what stands there instead.
fn next_header(reader: &mut impl Read, remaining: u64, offset: u64) -> io::Result<Result<Header, Tail>> {
    if remaining == 0 {
        return Ok(Err(Tail::Clean));
    }
    if remaining < HEADER_LEN as u64 {
        let mut rest = Vec::new();
        reader.read_to_end(&mut rest)?;
        return Ok(Err(partial_header(&rest)));
    }
    let mut bytes = [0; HEADER_LEN];
    reader.read_exact(&mut bytes)?;
    let damaged = |detail: String| Ok(Err(Tail::Damaged { detail }));
    match Header::decode(&bytes) {
        Err(FrameError::Magic) if bytes == [0; HEADER_LEN] && is_zero_to_end(reader)? => Ok(Err(Tail::Torn)),
        Err(error) => damaged(error.to_string()),
        Ok(header) if header.kind == FrameKind::Seal => {
            if header.offset < offset {
                damaged(format!("seal names offset {}, below {offset}", header.offset))
            } else if remaining > HEADER_LEN as u64 {
                damaged("bytes follow the seal".to_owned())
            } else {
                Ok(Err(Tail::Sealed {
                    next_base: header.offset,
                }))
            }
        }
        Ok(header) if header.offset != offset => {
            damaged(format!("offset {} instead of {offset}", header.offset))
        }
        Ok(header) => Ok(Ok(header)),
    }
}

fn partial_header(bytes: &[u8]) -> Tail {
    let magic = &bytes[..bytes.len().min(RECORD_MAGIC.len())];
    let is_zero = bytes.iter().all(|byte| *byte == 0);
    if is_zero || RECORD_MAGIC.starts_with(magic) || SEAL_MAGIC.starts_with(magic) {
        return Tail::Torn;
    }
    Tail::Damaged {
        detail: FrameError::Magic.to_string(),
    }
}

fn is_zero_to_end(reader: &mut impl Read) -> io::Result<bool> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(true),
            read if buffer[..read].iter().any(|byte| *byte != 0) => return Ok(false),
            _ => {}
        }
    }
}
