//! Content codings of requests and responses.

use std::io::{self, Read, Write};

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING};
use bytes::Bytes;
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use lz4_flex::frame::{FrameDecoder, FrameEncoder};

use super::native_blocks;

/// A content coding this server can read and write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Identity,
    Gzip,
    /// The LZ4 frame format.
    Lz4,
    Zstd,
}

impl Encoding {
    /// The coding's name in headers; `None` for identity.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Self::Identity => None,
            Self::Gzip => Some("gzip"),
            Self::Lz4 => Some("lz4"),
            Self::Zstd => Some("zstd"),
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::Gzip, Self::Lz4, Self::Zstd]
            .into_iter()
            .find(|encoding| encoding.name().is_some_and(|own| own.eq_ignore_ascii_case(name)))
    }

    /// The coding of a request's body; `None` if this server cannot read it.
    pub(super) fn of_request(headers: &HeaderMap) -> Option<Self> {
        match headers
            .get(CONTENT_ENCODING)
            .map(|value| value.to_str().unwrap_or("?").trim())
        {
            None | Some("" | "identity") => Some(Self::Identity),
            Some(name) => Self::from_name(name),
        }
    }

    /// The coding for the response: the first that the client lists and does not rule out.
    pub(super) fn for_response(headers: &HeaderMap) -> Self {
        let accepted = headers
            .get(ACCEPT_ENCODING)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default();
        let wanted = |entry: &str| {
            let (name, weight) = entry.split_once(';').unwrap_or((entry, ""));
            let ruled_out = weight
                .trim()
                .strip_prefix("q=")
                .is_some_and(|q| q.parse() == Ok(0.0_f32));
            Self::from_name(name.trim()).filter(|_| !ruled_out)
        };
        accepted.split(',').find_map(wanted).unwrap_or(Self::Identity)
    }
}

/// Reads `source` decoded.
pub(super) fn decoder(
    encoding: Encoding,
    source: impl Read + Send + 'static,
) -> io::Result<Box<dyn Read + Send>> {
    Ok(match encoding {
        Encoding::Identity => Box::new(source),
        Encoding::Gzip => Box::new(MultiGzDecoder::new(source)),
        Encoding::Lz4 => Box::new(FrameDecoder::new(source)),
        Encoding::Zstd => Box::new(zstd::stream::read::Decoder::new(source)?),
    })
}

/// Encodes a response, chunk by chunk.
pub(super) enum Encoder {
    Identity,
    /// ClickHouse's own compressed blocks (`compress=1`).
    NativeBlocks,
    Gzip(GzEncoder<Vec<u8>>),
    Lz4(Box<FrameEncoder<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    pub(super) fn new(encoding: Encoding, native_blocks: bool) -> io::Result<Self> {
        Ok(match encoding {
            Encoding::Identity if native_blocks => Self::NativeBlocks,
            Encoding::Identity => Self::Identity,
            Encoding::Gzip => Self::Gzip(GzEncoder::new(Vec::new(), Compression::fast())),
            Encoding::Lz4 => Self::Lz4(Box::new(FrameEncoder::new(Vec::new()))),
            Encoding::Zstd => Self::Zstd(zstd::stream::write::Encoder::new(Vec::new(), 1)?),
        })
    }

    /// Encodes `chunk`; all of it can be decoded from what was returned so far.
    pub(super) fn encode(&mut self, chunk: Bytes) -> io::Result<Bytes> {
        match self {
            Self::Identity => Ok(chunk),
            Self::NativeBlocks => native_blocks::encode(&chunk).map(Bytes::from),
            Self::Gzip(encoder) => through(encoder, &chunk, GzEncoder::get_mut),
            Self::Lz4(encoder) => through(encoder.as_mut(), &chunk, FrameEncoder::get_mut),
            Self::Zstd(encoder) => through(encoder, &chunk, zstd::stream::write::Encoder::get_mut),
        }
    }

    /// Returns what ends the encoded stream.
    pub(super) fn finish(self) -> io::Result<Bytes> {
        Ok(Bytes::from(match self {
            Self::Identity | Self::NativeBlocks => Vec::new(),
            Self::Gzip(encoder) => encoder.finish()?,
            Self::Lz4(encoder) => encoder.finish().map_err(io::Error::other)?,
            Self::Zstd(encoder) => encoder.finish()?,
        }))
    }
}

fn through<E: Write>(
    encoder: &mut E,
    chunk: &[u8],
    output: impl Fn(&mut E) -> &mut Vec<u8>,
) -> io::Result<Bytes> {
    encoder.write_all(chunk)?;
    encoder.flush()?;
    Ok(Bytes::from(std::mem::take(output(encoder))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    #[test]
    fn every_coding_round_trips() {
        for encoding in [Encoding::Identity, Encoding::Gzip, Encoding::Lz4, Encoding::Zstd] {
            let mut encoder = Encoder::new(encoding, false).unwrap();
            let mut encoded = Vec::new();
            let chunks = [Bytes::from(vec![b'x'; 100_000]), Bytes::from_static(b"end")];
            for chunk in chunks {
                encoded.extend_from_slice(&encoder.encode(chunk).unwrap());
            }
            encoded.extend_from_slice(&encoder.finish().unwrap());
            let mut decoded = Vec::new();
            decoder(encoding, io::Cursor::new(encoded))
                .unwrap()
                .read_to_end(&mut decoded)
                .unwrap();
            assert_eq!(decoded.len(), 100_003, "{encoding:?}");
            assert!(decoded.ends_with(b"xend"));
        }
    }

    #[test]
    fn takes_the_first_coding_that_is_not_ruled_out() {
        let accept = |value: &'static str| {
            Encoding::for_response(&HeaderMap::from_iter([(
                ACCEPT_ENCODING,
                HeaderValue::from_static(value),
            )]))
        };
        assert_eq!(accept("br, lz4, gzip"), Encoding::Lz4);
        assert_eq!(accept("gzip;q=0, zstd"), Encoding::Zstd);
        assert_eq!(accept("br"), Encoding::Identity);
    }
}
