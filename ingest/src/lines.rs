//! Cuts a stream of bytes into chunks of whole lines, in bounded memory. A sender that pauses does
//! not keep its lines waiting.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::{Duration, Instant, timeout_at};

/// A chunk is handed on once it holds this many bytes.
const CHUNK_BYTES: usize = 2 * 1024 * 1024;
/// A chunk is handed on this long after its first bytes came, if it holds a whole line.
const CHUNK_AGE: Duration = Duration::from_millis(200);
/// The longest line that is read; the rest of a longer one is skipped.
pub(crate) const MAX_LINE_BYTES: usize = 1024 * 1024;

/// Whole lines, numbered.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// Number of the first line, from 1.
    pub(crate) first_line: u64,
    /// Lines with their ends.
    pub(crate) bytes: Bytes,
    /// The last line stands here cut off, since it is longer than [`MAX_LINE_BYTES`].
    pub(crate) ends_in_long_line: bool,
}

/// Reads chunks.
#[derive(Debug)]
pub(crate) struct LineChunks<R> {
    reader: R,
    buffer: BytesMut,
    next_line: u64,
    is_skipping: bool,
    is_at_end: bool,
    /// When the oldest bytes of the buffer were read.
    oldest: Option<Instant>,
    is_due: bool,
}

impl<R: AsyncRead + Unpin> LineChunks<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader,
            buffer: BytesMut::new(),
            next_line: 1,
            is_skipping: false,
            is_at_end: false,
            oldest: None,
            is_due: false,
        }
    }

    /// Returns the next chunk; none at the end of the stream.
    pub(crate) async fn next(&mut self) -> std::io::Result<Option<Chunk>> {
        loop {
            if self.is_skipping {
                self.skip_to_line_end();
            }
            if let Some(chunk) = self.take_chunk() {
                return Ok(Some(chunk));
            }
            if self.is_at_end {
                return Ok(None);
            }
            self.read_more().await?;
        }
    }

    /// Reads once, or lets the buffer fall due.
    async fn read_more(&mut self) -> std::io::Result<()> {
        let due = self
            .oldest
            .filter(|_| self.buffer.contains(&b'\n'))
            .map(|oldest| oldest + CHUNK_AGE);
        self.buffer.reserve(64 * 1024);
        let read = self.reader.read_buf(&mut self.buffer);
        let num_read = match due {
            None => read.await?,
            Some(due) => match timeout_at(due, read).await {
                Ok(read) => read?,
                Err(_elapsed) => {
                    self.is_due = true;
                    return Ok(());
                }
            },
        };
        self.is_at_end = num_read == 0;
        self.oldest.get_or_insert_with(Instant::now);
        Ok(())
    }

    fn take_chunk(&mut self) -> Option<Chunk> {
        let is_full = self.buffer.len() >= CHUNK_BYTES;
        if self.buffer.is_empty() || !(is_full || self.is_at_end || self.is_due) {
            return None;
        }
        let line_end = self
            .buffer
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map(|at| at + 1);
        let first_line = self.next_line;
        let (length, ends_in_long_line) = match line_end {
            _ if self.is_at_end => (self.buffer.len(), false),
            Some(end) => (end, false),
            None => (self.buffer.len(), true),
        };
        let bytes = self.buffer.split_to(length).freeze();
        self.is_skipping = ends_in_long_line;
        self.is_due = false;
        self.oldest = (!self.buffer.is_empty()).then(Instant::now);
        let ends = bytes.iter().filter(|byte| **byte == b'\n').count() as u64;
        let is_open = !bytes.ends_with(b"\n");
        // The end of a line that is cut off is counted here, and skipped later.
        self.next_line += ends + u64::from(is_open);
        Some(Chunk {
            first_line,
            bytes,
            ends_in_long_line,
        })
    }

    fn skip_to_line_end(&mut self) {
        match self.buffer.iter().position(|byte| *byte == b'\n') {
            Some(end) => {
                drop(self.buffer.split_to(end + 1));
                self.is_skipping = false;
            }
            None => self.buffer.clear(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines_of(input: &[u8]) -> Vec<(u64, usize, bool)> {
        let mut chunks = LineChunks::new(input);
        let mut lines = Vec::new();
        while let Some(chunk) = chunks.next().await.unwrap() {
            let texts = chunk.bytes.split_inclusive(|byte| *byte == b'\n');
            for (number, line) in (chunk.first_line..).zip(texts) {
                lines.push((number, line.len(), chunk.ends_in_long_line));
            }
        }
        lines
    }

    #[tokio::test]
    async fn numbers_lines_across_chunks() {
        let line = [vec![b'x'; 999], vec![b'\n']].concat();
        let input = line.repeat(5_000);
        let lines = lines_of(&input).await;
        assert_eq!(lines.len(), 5_000);
        assert!(
            lines
                .iter()
                .enumerate()
                .all(|(index, line)| *line == (index as u64 + 1, 1_000, false))
        );
    }

    #[tokio::test]
    async fn the_last_line_needs_no_end() {
        assert_eq!(
            lines_of(b"a\n\nbb").await,
            vec![(1, 2, false), (2, 1, false), (3, 2, false)]
        );
        assert_eq!(lines_of(b"").await, vec![]);
    }

    #[tokio::test]
    async fn a_sender_that_pauses_does_not_keep_its_lines_waiting() {
        let (mut sender, receiver) = tokio::io::duplex(1024);
        tokio::io::AsyncWriteExt::write_all(&mut sender, b"one\ntwo")
            .await
            .unwrap();
        let mut chunks = LineChunks::new(receiver);
        let first = chunks.next().await.unwrap().unwrap();
        assert_eq!((first.first_line, &first.bytes[..]), (1, &b"one\n"[..]));
        drop(sender);
        let last = chunks.next().await.unwrap().unwrap();
        assert_eq!((last.first_line, &last.bytes[..]), (2, &b"two"[..]));
    }

    #[tokio::test]
    async fn an_endless_line_is_cut_and_skipped() {
        let input = [vec![b'x'; 3 * CHUNK_BYTES], b"\nshort\n".to_vec()].concat();
        let lines = lines_of(&input).await;
        assert_eq!(lines.len(), 2);
        assert!(lines[0].2 && lines[0].1 <= 2 * CHUNK_BYTES);
        assert_eq!((lines[1].0, lines[1].1), (2, 6));
    }
}
