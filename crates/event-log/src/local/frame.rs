//! The bytes of one record on disk. All integers are little-endian.
//!
//! ```text
//! header (32)  magic 4 | body_len u32 | offset u64 | timestamp_ms i64 | body_crc u32 | header_crc u32
//! body         key_len u32 | num_headers u16 | (name_len u16 | value_len u32 | name | value)* | key | value
//! ```
//!
//! One frame is one record, so damage costs no more than one. `header_crc` covers the 28 bytes before
//! it, `body_crc` included; both are CRC-32 (IEEE). A seal is a header alone, the last bytes of a full
//! segment: its offset is the base of the next segment.

use std::io::IoSlice;

use bytes::{Buf, Bytes};

use crate::{AppendRecord, LogError, LogRecord};

/// Bytes of a header, and of a seal.
pub(super) const HEADER_LEN: usize = 32;
/// Bytes of a frame without key, headers and value.
pub(super) const MIN_FRAME_LEN: usize = HEADER_LEN + 6;
/// The first bytes of every record.
pub(super) const RECORD_MAGIC: [u8; 4] = *b"MSL1";
/// The first bytes of a seal.
pub(super) const SEAL_MAGIC: [u8; 4] = *b"MSS1";

/// Values up to here are copied behind their header: cheaper than one more slice for the kernel.
const MAX_INLINE_VALUE_BYTES: usize = 4096;

/// Why bytes are not a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum FrameError {
    #[error("bytes are not a record header")]
    Magic,
    #[error("header checksum does not match")]
    HeaderChecksum,
    #[error("body checksum does not match")]
    BodyChecksum,
    #[error("body is malformed")]
    Body,
}

/// What a header announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FrameKind {
    Record,
    Seal,
}

/// A frame's header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: FrameKind,
    pub(super) body_len: u32,
    pub(super) offset: u64,
    pub(super) timestamp_ms: i64,
    pub(super) body_crc: u32,
}

impl Header {
    /// Makes the seal of a segment that ends before `next_offset` and whose last record came at `timestamp_ms`.
    pub(super) fn seal(next_offset: u64, timestamp_ms: i64) -> Self {
        Self {
            kind: FrameKind::Seal,
            body_len: 0,
            offset: next_offset,
            timestamp_ms,
            body_crc: 0,
        }
    }

    /// Returns the length of the whole frame in bytes.
    pub(super) fn frame_len(&self) -> u64 {
        HEADER_LEN as u64 + u64::from(self.body_len)
    }

    pub(super) fn encode(&self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[0..4].copy_from_slice(match self.kind {
            FrameKind::Record => &RECORD_MAGIC,
            FrameKind::Seal => &SEAL_MAGIC,
        });
        bytes[4..8].copy_from_slice(&self.body_len.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.offset.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.timestamp_ms.to_le_bytes());
        bytes[24..28].copy_from_slice(&self.body_crc.to_le_bytes());
        let header_crc = crc32fast::hash(&bytes[..28]);
        bytes[28..32].copy_from_slice(&header_crc.to_le_bytes());
        bytes
    }

    /// Decodes and verifies the header at the start of `bytes`, which has at least [`HEADER_LEN`] of them.
    pub(super) fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        let (mut rest, covered) = (bytes, &bytes[..28]);
        let kind = match &bytes[..4] {
            magic if *magic == RECORD_MAGIC => FrameKind::Record,
            magic if *magic == SEAL_MAGIC => FrameKind::Seal,
            _ => return Err(FrameError::Magic),
        };
        rest.advance(4);
        let header = Self {
            kind,
            body_len: rest.get_u32_le(),
            offset: rest.get_u64_le(),
            timestamp_ms: rest.get_i64_le(),
            body_crc: rest.get_u32_le(),
        };
        if rest.get_u32_le() != crc32fast::hash(covered) {
            return Err(FrameError::HeaderChecksum);
        }
        Ok(header)
    }

    /// Verifies `body` against this header.
    pub(super) fn verify_body(&self, body: &[u8]) -> Result<(), FrameError> {
        if crc32fast::hash(body) == self.body_crc {
            Ok(())
        } else {
            Err(FrameError::BodyChecksum)
        }
    }

    /// Verifies and decodes `body`; the record's parts share its buffer.
    pub(super) fn decode_record(&self, mut body: Bytes) -> Result<LogRecord, FrameError> {
        self.verify_body(&body)?;
        let key_len = body.try_get_u32_le().map_err(|_| FrameError::Body)? as usize;
        let num_headers = body.try_get_u16_le().map_err(|_| FrameError::Body)?;
        let mut headers = Vec::with_capacity(usize::from(num_headers));
        for _ in 0..num_headers {
            let name_len = body.try_get_u16_le().map_err(|_| FrameError::Body)?;
            let value_len = body.try_get_u32_le().map_err(|_| FrameError::Body)?;
            let name = take(&mut body, usize::from(name_len))?;
            let name = std::str::from_utf8(&name)
                .map_err(|_| FrameError::Body)?
                .to_owned();
            headers.push((name, take(&mut body, value_len as usize)?));
        }
        let key = take(&mut body, key_len)?;
        Ok(LogRecord {
            offset: self.offset,
            timestamp_ms: self.timestamp_ms,
            key,
            headers,
            value: body,
        })
    }
}

fn take(body: &mut Bytes, len: usize) -> Result<Bytes, FrameError> {
    if len <= body.len() {
        Ok(body.split_to(len))
    } else {
        Err(FrameError::Body)
    }
}

/// A record ready to be written but for its offset and time, which the writer knows.
#[derive(Debug)]
pub(super) struct EncodedRecord {
    /// The header's space, then the body up to the value, and a small value too.
    head: Vec<u8>,
    /// A large value, written from where it is.
    value: Bytes,
    body_crc: u32,
}

/// Returns how many bytes the record's frame will have.
pub(super) fn encoded_len(record: &AppendRecord) -> usize {
    let headers: usize = record
        .headers
        .iter()
        .map(|(name, value)| 6 + name.len() + value.len())
        .sum();
    MIN_FRAME_LEN + headers + record.key.len() + record.value.len()
}

/// Encodes a record; what can be checksummed before the offset is known is done here, outside the writer.
///
/// # Errors
/// [`LogError::TooLarge`] over `max_record_bytes` (the whole frame, at most 1 GiB), 65,535 headers or
/// 65,535 bytes of one header's name.
pub(super) fn encode_record(
    record: AppendRecord,
    max_record_bytes: usize,
) -> Result<EncodedRecord, LogError> {
    let bytes = encoded_len(&record);
    if bytes > max_record_bytes {
        return Err(LogError::TooLarge {
            what: "record",
            bytes,
            max_bytes: max_record_bytes,
        });
    }
    let is_inline = record.value.len() <= MAX_INLINE_VALUE_BYTES;
    let mut head = Vec::with_capacity(if is_inline {
        bytes
    } else {
        bytes - record.value.len()
    });
    head.resize(HEADER_LEN, 0);
    head.extend_from_slice(&length_u32(record.key.len())?.to_le_bytes());
    head.extend_from_slice(&length_u16("number of headers", record.headers.len())?.to_le_bytes());
    for (name, value) in &record.headers {
        head.extend_from_slice(&length_u16("header name", name.len())?.to_le_bytes());
        head.extend_from_slice(&length_u32(value.len())?.to_le_bytes());
        head.extend_from_slice(name.as_bytes());
        head.extend_from_slice(value);
    }
    head.extend_from_slice(&record.key);
    let value = if is_inline {
        head.extend_from_slice(&record.value);
        Bytes::new()
    } else {
        record.value
    };
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&head[HEADER_LEN..]);
    hasher.update(&value);
    Ok(EncodedRecord {
        head,
        value,
        body_crc: hasher.finalize(),
    })
}

fn length_u16(what: &'static str, length: usize) -> Result<u16, LogError> {
    let max_bytes = usize::from(u16::MAX);
    u16::try_from(length).map_err(|_| LogError::TooLarge {
        what,
        bytes: length,
        max_bytes,
    })
}

fn length_u32(length: usize) -> Result<u32, LogError> {
    let max_bytes = u32::MAX as usize;
    u32::try_from(length).map_err(|_| LogError::TooLarge {
        what: "record",
        bytes: length,
        max_bytes,
    })
}

impl EncodedRecord {
    /// Returns the length of the whole frame in bytes.
    pub(super) fn frame_len(&self) -> u64 {
        (self.head.len() + self.value.len()) as u64
    }

    /// Writes the header, now that the record's place and time are known.
    pub(super) fn set_header(&mut self, offset: u64, timestamp_ms: i64) {
        // The lengths were checked when the record was encoded: a frame is at most 1 GiB.
        let body_len = (self.frame_len() - HEADER_LEN as u64) as u32;
        let header = Header {
            kind: FrameKind::Record,
            body_len,
            offset,
            timestamp_ms,
            body_crc: self.body_crc,
        };
        self.head[..HEADER_LEN].copy_from_slice(&header.encode());
    }

    /// Adds the frame's bytes to a vectored write.
    pub(super) fn push_slices<'a>(&'a self, slices: &mut Vec<IoSlice<'a>>) {
        slices.push(IoSlice::new(&self.head));
        if !self.value.is_empty() {
            slices.push(IoSlice::new(&self.value));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(record: AppendRecord, offset: u64, timestamp_ms: i64) -> Bytes {
        let mut encoded = encode_record(record, 1 << 20).unwrap();
        encoded.set_header(offset, timestamp_ms);
        [encoded.head, encoded.value.to_vec()].concat().into()
    }

    fn bytes(max_len: usize) -> impl Strategy<Value = Bytes> {
        proptest::collection::vec(any::<u8>(), 0..max_len).prop_map(Bytes::from)
    }

    fn record() -> impl Strategy<Value = AppendRecord> {
        let headers = proptest::collection::vec(("[ -~]{0,12}", bytes(20)), 0..5);
        (bytes(40), headers, bytes(9000)).prop_map(|(key, headers, value)| AppendRecord {
            partition: 0,
            key,
            headers,
            value,
        })
    }

    proptest! {
        #[test]
        fn a_record_reads_back_as_it_was_written(record in record(), offset: u64, timestamp_ms: i64) {
            let frame = frame(record.clone(), offset, timestamp_ms);
            prop_assert_eq!(frame.len(), encoded_len(&record));
            let header = Header::decode(&frame).unwrap();
            prop_assert_eq!(header.frame_len(), frame.len() as u64);
            let read = header.decode_record(frame.slice(HEADER_LEN..)).unwrap();
            let AppendRecord { key, headers, value, .. } = record;
            prop_assert_eq!(read, LogRecord { offset, timestamp_ms, key, headers, value });
        }

        #[test]
        fn any_flipped_bit_is_noticed(record in record(), bit: prop::sample::Index) {
            let mut frame = frame(record, 7, 8).to_vec();
            let bit = bit.index(frame.len() * 8);
            frame[bit / 8] ^= 1 << (bit % 8);
            let frame = Bytes::from(frame);
            let read = Header::decode(&frame).and_then(|header| header.decode_record(frame.slice(HEADER_LEN..)));
            prop_assert!(read.is_err());
        }
    }

    #[test]
    fn refuses_a_record_over_the_limit() {
        let record = AppendRecord {
            partition: 0,
            key: Bytes::new(),
            headers: vec![],
            value: Bytes::from(vec![0; 100]),
        };
        assert!(encode_record(record.clone(), MIN_FRAME_LEN + 100).is_ok());
        assert!(matches!(
            encode_record(record, MIN_FRAME_LEN + 99),
            Err(LogError::TooLarge { bytes: 138, .. })
        ));
    }
}
