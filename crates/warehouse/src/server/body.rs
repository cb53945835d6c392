//! A request's body, handed from the connection's task to the statement's thread.

use std::io::{self, Read};

use axum::body::Body;
use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use tokio::sync::mpsc;

use super::codec::{Encoding, decoder};
use super::native_blocks::NativeBlockReader;

/// Chunks in flight between the two, each as large as the connection's read buffer at most.
const CHUNKS_IN_FLIGHT: usize = 8;
const DECODED_CHUNK_BYTES: usize = 256 << 10;

enum BodyEvent {
    Chunk(Bytes),
    End,
}

/// Starts to forward `body`. A body that breaks off never yields its end.
pub(super) fn forward(mut body: Body) -> BodyChunks {
    let (sender, receiver) = mpsc::channel(CHUNKS_IN_FLIGHT);
    tokio::spawn(async move {
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else { return };
            let Ok(chunk) = frame.into_data() else { continue };
            if sender.send(BodyEvent::Chunk(chunk)).await.is_err() {
                return;
            }
        }
        // The receiver may be gone already, when the statement did not need its body.
        drop(sender.send(BodyEvent::End).await);
    });
    BodyChunks {
        receiver,
        current: Bytes::new(),
        ended: false,
    }
}

/// The body as it came over the connection.
pub(super) struct BodyChunks {
    receiver: mpsc::Receiver<BodyEvent>,
    current: Bytes,
    ended: bool,
}

impl BodyChunks {
    fn next_chunk(&mut self) -> io::Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        match self.receiver.blocking_recv() {
            Some(BodyEvent::Chunk(chunk)) => Ok(Some(chunk)),
            Some(BodyEvent::End) => {
                self.ended = true;
                Ok(None)
            }
            None => Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "the client broke off its request",
            )),
        }
    }
}

impl Read for BodyChunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.next_chunk()? {
                Some(chunk) => self.current = chunk,
                None => return Ok(0),
            }
        }
        let length = buffer.len().min(self.current.len());
        self.current
            .copy_to_slice(buffer.get_mut(..length).unwrap_or_default());
        Ok(length)
    }
}

/// The body as the statement sees it, decompressed.
pub(super) enum BodyReader {
    /// Chunks pass through uncopied.
    Plain(BodyChunks),
    /// Chunks are decoded into buffers of [`DECODED_CHUNK_BYTES`].
    Decoded(Box<dyn Read + Send>),
}

impl BodyReader {
    /// `native_blocks` says that the body is in ClickHouse's own compressed blocks (`decompress=1`).
    pub(super) fn new(chunks: BodyChunks, encoding: Encoding, native_blocks: bool) -> io::Result<Self> {
        Ok(match (encoding, native_blocks) {
            (Encoding::Identity, false) => Self::Plain(chunks),
            (Encoding::Identity, true) => Self::Decoded(Box::new(NativeBlockReader::new(chunks))),
            (encoding, false) => Self::Decoded(decoder(encoding, chunks)?),
            (encoding, true) => Self::Decoded(Box::new(NativeBlockReader::new(decoder(encoding, chunks)?))),
        })
    }

    /// The next bytes, or `None` at the end.
    ///
    /// # Errors
    /// `ConnectionAborted` when the client broke off, others when the body cannot be decoded.
    pub(super) fn next_chunk(&mut self) -> io::Result<Option<Bytes>> {
        match self {
            Self::Plain(chunks) => chunks.next_chunk(),
            Self::Decoded(reader) => {
                let mut buffer = Vec::with_capacity(DECODED_CHUNK_BYTES);
                let limit = u64::try_from(DECODED_CHUNK_BYTES).unwrap_or(u64::MAX);
                reader.by_ref().take(limit).read_to_end(&mut buffer)?;
                Ok((!buffer.is_empty()).then(|| Bytes::from(buffer)))
            }
        }
    }
}
