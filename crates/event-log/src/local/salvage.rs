//! Finds intact records in damaged bytes.

use std::ops::Range;

use super::frame::{FrameKind, HEADER_LEN, Header, RECORD_MAGIC};

/// Intact records that follow each other.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) offsets: Range<u64>,
    pub(super) bytes: Range<usize>,
    pub(super) last_timestamp_ms: i64,
}

/// Finds the intact records in damaged bytes, with rising offsets in `[from, end)`.
pub(super) fn find_runs(bytes: &[u8], from: u64, end: u64) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let (mut position, mut next_offset) = (0, from);
    while position + HEADER_LEN <= bytes.len() {
        let Some(header) =
            intact_record(&bytes[position..]).filter(|header| (next_offset..end).contains(&header.offset))
        else {
            position += 1;
            continue;
        };
        let frame_end = position + header.frame_len() as usize;
        match runs.last_mut() {
            Some(run) if run.bytes.end == position && run.offsets.end == header.offset => {
                run.bytes.end = frame_end;
                run.offsets.end += 1;
                run.last_timestamp_ms = header.timestamp_ms;
            }
            _ => runs.push(Run {
                offsets: header.offset..header.offset + 1,
                bytes: position..frame_end,
                last_timestamp_ms: header.timestamp_ms,
            }),
        }
        (position, next_offset) = (frame_end, header.offset + 1);
    }
    runs
}

/// Returns the header of the record at the start of `bytes`, if both checksums hold.
fn intact_record(bytes: &[u8]) -> Option<Header> {
    if !bytes.starts_with(&RECORD_MAGIC) {
        return None;
    }
    let header = Header::decode(bytes)
        .ok()
        .filter(|header| header.kind == FrameKind::Record)?;
    let body = bytes.get(HEADER_LEN..header.frame_len() as usize)?;
    header.verify_body(body).ok().map(|()| header)
}

/// Returns the offsets in `[from, end)` that are in none of `runs`.
pub(super) fn lost_offsets(runs: &[Run], from: u64, end: u64) -> Vec<Range<u64>> {
    let starts = [from].into_iter().chain(runs.iter().map(|run| run.offsets.end));
    let ends = runs.iter().map(|run| run.offsets.start).chain([end]);
    starts
        .zip(ends)
        .map(|(start, end)| start..end)
        .filter(|lost| !lost.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(offset: u64) -> Vec<u8> {
        let body = [7; 10];
        let (body_len, body_crc) = (10, crc32fast::hash(&body));
        let kind = FrameKind::Record;
        let header = Header {
            kind,
            body_len,
            offset,
            timestamp_ms: offset as i64,
            body_crc,
        };
        [&header.encode()[..], &body].concat()
    }

    #[test]
    fn finds_runs_between_junk_and_keeps_to_the_bounds() {
        let bytes = [
            frame(2),
            b"MSL1junk".to_vec(),
            frame(5),
            frame(6),
            frame(4),
            frame(8),
            frame(9),
        ]
        .concat();
        let runs = find_runs(&bytes, 3, 9);
        let offsets: Vec<_> = runs.iter().map(|run| run.offsets.clone()).collect();
        assert_eq!(offsets, vec![5..7, 8..9]);
        assert_eq!(bytes[runs[0].bytes.clone()], [frame(5), frame(6)].concat());
        assert_eq!(runs[0].last_timestamp_ms, 6);
        assert_eq!(lost_offsets(&runs, 3, 9), vec![3..5, 7..8]);
    }
}
