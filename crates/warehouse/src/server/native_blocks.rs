//! ClickHouse's compressed blocks (`compress=1`, `decompress=1`): checksum, method, sizes, data.
//!
//! A block is a 16-byte CityHash128 (version 1.0.2) of the rest, then one byte for the method, the
//! size with this 9-byte header and the size of the data before, both `u32` little-endian, and the
//! data. Source: <https://clickhouse.com/docs/native-protocol/compression>.

use std::io::{self, Read};

use cityhash_rs::cityhash_102_128;

const CHECKSUM_BYTES: usize = 16;
const HEADER_BYTES: usize = 9;
const METHOD_NONE: u8 = 0x02;
const METHOD_LZ4: u8 = 0x82;
const METHOD_ZSTD: u8 = 0x90;
/// Largest block accepted, before and after decompression. ClickHouse's own limit is 1 GiB; clients
/// write blocks of about 1 MiB.
const MAX_BLOCK_BYTES: usize = 256 << 20;
/// Data of one block written.
const WRITE_BLOCK_BYTES: usize = 1 << 20;

/// Encodes `data` as blocks compressed with lz4.
pub(super) fn encode(data: &[u8]) -> io::Result<Vec<u8>> {
    let mut output = Vec::with_capacity(data.len() / 2 + CHECKSUM_BYTES + HEADER_BYTES);
    for chunk in data.chunks(WRITE_BLOCK_BYTES) {
        let compressed = lz4_flex::block::compress(chunk);
        let size = |length: usize| u32::try_from(length).map_err(|_| invalid("block is too large"));
        let mut block = Vec::with_capacity(compressed.len() + HEADER_BYTES);
        block.push(METHOD_LZ4);
        block.extend_from_slice(&size(compressed.len() + HEADER_BYTES)?.to_le_bytes());
        block.extend_from_slice(&size(chunk.len())?.to_le_bytes());
        block.extend_from_slice(&compressed);
        output.extend_from_slice(&checksum(&block));
        output.extend_from_slice(&block);
    }
    Ok(output)
}

/// The hash with its halves in the order ClickHouse writes them.
fn checksum(block: &[u8]) -> [u8; CHECKSUM_BYTES] {
    cityhash_102_128(block).rotate_right(64).to_le_bytes()
}

/// Reads the data of the blocks in `source`.
pub(super) struct NativeBlockReader<R> {
    source: R,
    block: Vec<u8>,
    position: usize,
}

impl<R: Read> NativeBlockReader<R> {
    pub(super) fn new(source: R) -> Self {
        Self {
            source,
            block: Vec::new(),
            position: 0,
        }
    }

    /// Reads the next block into `self.block`; `false` at the end of the source.
    fn next_block(&mut self) -> io::Result<bool> {
        let mut expected = [0; CHECKSUM_BYTES];
        let length = self.source.read(&mut expected)?;
        if length == 0 {
            return Ok(false);
        }
        self.source
            .read_exact(expected.get_mut(length..).unwrap_or_default())?;
        let mut block = vec![0; HEADER_BYTES];
        self.source.read_exact(&mut block)?;
        let [method, c0, c1, c2, c3, d0, d1, d2, d3] = *block.as_slice() else {
            return Err(invalid("block header is cut"));
        };
        let compressed = size_of_block([c0, c1, c2, c3])?;
        let decompressed = size_of_block([d0, d1, d2, d3])?;
        let length = compressed
            .checked_sub(HEADER_BYTES)
            .ok_or_else(|| invalid("block size is too small"))?;
        block.resize(HEADER_BYTES + length, 0);
        self.source
            .read_exact(block.get_mut(HEADER_BYTES..).unwrap_or_default())?;
        if checksum(&block) != expected {
            return Err(invalid("checksum of a compressed block does not match"));
        }
        let data = block.get(HEADER_BYTES..).unwrap_or_default();
        self.block = match method {
            METHOD_NONE => data.to_vec(),
            METHOD_LZ4 => lz4_flex::block::decompress(data, decompressed).map_err(io::Error::other)?,
            METHOD_ZSTD => zstd::bulk::decompress(data, decompressed)?,
            _ => return Err(invalid("unknown method of a compressed block")),
        };
        self.position = 0;
        Ok(true)
    }
}

impl<R: Read> Read for NativeBlockReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.position == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let available = self.block.get(self.position..).unwrap_or_default();
        let length = available.len().min(buffer.len());
        if let (Some(target), Some(source)) = (buffer.get_mut(..length), available.get(..length)) {
            target.copy_from_slice(source);
        }
        self.position += length;
        Ok(length)
    }
}

fn size_of_block(bytes: [u8; 4]) -> io::Result<usize> {
    usize::try_from(u32::from_le_bytes(bytes))
        .ok()
        .filter(|&size| size <= MAX_BLOCK_BYTES)
        .ok_or_else(|| invalid("compressed block is too large"))
}

fn invalid(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(blocks: &[u8]) -> io::Result<Vec<u8>> {
        let mut data = Vec::new();
        NativeBlockReader::new(blocks)
            .read_to_end(&mut data)
            .map(|_| data)
    }

    #[test]
    fn round_trips_several_blocks() {
        let data: Vec<u8> = (0..3_000_000_u32).map(|i| (i / 7) as u8).collect();
        assert_eq!(decode(&encode(&data).unwrap()).unwrap(), data);
    }

    #[test]
    fn refuses_a_flipped_bit_and_a_cut_block() {
        let mut blocks = encode(b"some data that is compressed").unwrap();
        assert!(decode(&blocks[..blocks.len() - 1]).is_err());
        let last = blocks.len() - 1;
        blocks[last] ^= 1;
        assert!(decode(&blocks).is_err());
    }
}
