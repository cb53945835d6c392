//! What one group has committed in one partition.
//!
//! The file has two slots of 4096 bytes. A commit overwrites the older one and syncs it, so a torn write
//! leaves the other. All bytes are there from the start: a commit needs no space on a full disk.
//!
//! ```text
//! slot   crc u32 | sequence u64 | offset u64 | metadata_len u32 | metadata | zeros        little-endian
//! ```
//!
//! The CRC-32 covers the rest of the slot, zeros included. Sequence 0 is an empty slot.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError, RwLock};

use bytes::Buf;
use tracing::warn;

use super::files;
use super::partition::damaged;
use crate::{Committed, LogError};

/// Largest metadata of a commit, in bytes.
const MAX_METADATA_BYTES: usize = 1024;

const SLOT_LEN: usize = 4096;
const FILE_LEN: usize = 2 * SLOT_LEN;

/// A group's commits in one partition.
#[derive(Debug)]
pub(super) struct CommitFile {
    pub(super) path: PathBuf,
    /// The open file and the sequence number of its newer slot; held while a commit is written.
    written: Mutex<(File, u64)>,
    /// What the newer slot says, to be read without waiting for the disk.
    current: RwLock<Option<Committed>>,
}

impl CommitFile {
    /// Makes the file, empty.
    pub(super) fn create(path: PathBuf) -> Result<Self, LogError> {
        let file = open_file(&path, true)?;
        file.write_all_at(&[0; FILE_LEN], 0)
            .map_err(LogError::io("write", &path))?;
        file.sync_all().map_err(LogError::io("sync", &path))?;
        if let Some(dir) = path.parent() {
            files::sync_dir(dir)?;
        }
        Ok(Self {
            path,
            written: Mutex::new((file, 0)),
            current: RwLock::new(None),
        })
    }

    /// Opens the file with the newer of its intact slots.
    pub(super) fn load(root: &Path, path: PathBuf) -> Result<Self, LogError> {
        let file = open_file(&path, false)?;
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut &file, &mut bytes).map_err(LogError::io("read", &path))?;
        if bytes.len() < FILE_LEN && bytes.iter().all(|byte| *byte == 0) {
            // The process died while making it.
            drop(file);
            return Self::create(path);
        }
        bytes.resize(FILE_LEN, 0);
        let slots = [decode_slot(&bytes[..SLOT_LEN]), decode_slot(&bytes[SLOT_LEN..])];
        let newest = match slots {
            [None, None] => {
                let detail = "neither of the two commit slots is intact";
                return Err(damaged(root, &path, 0, FILE_LEN as u64, detail));
            }
            [Some(a), Some(b)] => {
                if a.0 > b.0 {
                    a
                } else {
                    b
                }
            }
            [Some(intact), None] | [None, Some(intact)] => {
                warn!(path = %path.display(), "unfinished commit dropped");
                intact
            }
        };
        let (sequence, committed) = newest;
        let current = (sequence > 0).then_some(committed);
        Ok(Self {
            path,
            written: Mutex::new((file, sequence)),
            current: RwLock::new(current),
        })
    }

    pub(super) fn current(&self) -> Option<Committed> {
        self.current
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Writes a commit and syncs it. Blocks.
    ///
    /// # Errors
    /// [`LogError::TooLarge`] for the metadata; I/O errors, after which the previous commit stands.
    pub(super) fn commit(&self, offset: u64, metadata: &str) -> Result<(), LogError> {
        if metadata.len() > MAX_METADATA_BYTES {
            let (bytes, max_bytes) = (metadata.len(), MAX_METADATA_BYTES);
            return Err(LogError::TooLarge {
                what: "commit metadata",
                bytes,
                max_bytes,
            });
        }
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let sequence = written.1 + 1;
        let position = (sequence % 2) * SLOT_LEN as u64;
        let slot = encode_slot(sequence, offset, metadata);
        written
            .0
            .write_all_at(&slot, position)
            .map_err(LogError::io("write", &self.path))?;
        written.0.sync_data().map_err(LogError::io("sync", &self.path))?;
        written.1 = sequence;
        let committed = Committed {
            offset,
            metadata: metadata.to_owned(),
        };
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = Some(committed);
        Ok(())
    }
}

fn open_file(path: &Path, create: bool) -> Result<File, LogError> {
    let mut options = files::private_file();
    options
        .read(true)
        .write(true)
        .create(create)
        .truncate(create)
        .open(path)
        .map_err(LogError::io("open", path))
}

fn encode_slot(sequence: u64, offset: u64, metadata: &str) -> Vec<u8> {
    let mut slot = vec![0; 4];
    slot.extend_from_slice(&sequence.to_le_bytes());
    slot.extend_from_slice(&offset.to_le_bytes());
    slot.extend_from_slice(&(metadata.len() as u32).to_le_bytes());
    slot.extend_from_slice(metadata.as_bytes());
    slot.resize(SLOT_LEN, 0);
    let crc = crc32fast::hash(&slot[4..]);
    slot[..4].copy_from_slice(&crc.to_le_bytes());
    slot
}

/// Decodes a slot: its sequence number and commit. An empty slot has number 0; a torn one is `None`.
fn decode_slot(mut slot: &[u8]) -> Option<(u64, Committed)> {
    if slot.iter().all(|byte| *byte == 0) {
        return Some((
            0,
            Committed {
                offset: 0,
                metadata: String::new(),
            },
        ));
    }
    if slot.get_u32_le() != crc32fast::hash(slot) {
        return None;
    }
    let (sequence, offset, metadata_len) = (slot.get_u64_le(), slot.get_u64_le(), slot.get_u32_le());
    let metadata = slot.get(..metadata_len as usize)?;
    Some((
        sequence,
        Committed {
            offset,
            metadata: String::from_utf8(metadata.to_vec()).ok()?,
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn commit_file(dir: &Path) -> CommitFile {
        CommitFile::create(dir.join("topic-0.commit")).unwrap()
    }

    #[test]
    fn a_torn_commit_leaves_the_previous_one_at_every_byte() {
        let dir = tempfile::tempdir().unwrap();
        let file = commit_file(dir.path());
        file.commit(1, "first").unwrap();
        file.commit(2, "second").unwrap();
        let before = std::fs::read(&file.path).unwrap();
        file.commit(3, "third").unwrap();
        let after = std::fs::read(&file.path).unwrap();
        for cut in 0..64 {
            let mut torn = before.clone();
            torn[SLOT_LEN..SLOT_LEN + cut].copy_from_slice(&after[SLOT_LEN..SLOT_LEN + cut]);
            std::fs::write(&file.path, &torn).unwrap();
            let committed = CommitFile::load(dir.path(), file.path.clone())
                .unwrap()
                .current()
                .unwrap();
            let expected = if torn == after {
                (3, "third")
            } else {
                (2, "second")
            };
            assert_eq!(
                (committed.offset, committed.metadata.as_str()),
                expected,
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn a_half_made_file_is_empty_and_a_destroyed_one_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let path = commit_file(dir.path()).path;
        std::fs::write(&path, [0; 100]).unwrap();
        assert_eq!(
            CommitFile::load(dir.path(), path.clone()).unwrap().current(),
            None
        );
        std::fs::write(&path, [7; FILE_LEN]).unwrap();
        let error = CommitFile::load(dir.path(), path.clone()).unwrap_err();
        assert!(matches!(error, LogError::Damaged { .. }));
    }

    #[test]
    fn refuses_metadata_over_the_limit() {
        let dir = tempfile::tempdir().unwrap();
        let file = commit_file(dir.path());
        file.commit(1, &"x".repeat(MAX_METADATA_BYTES)).unwrap();
        let error = file.commit(2, &"x".repeat(MAX_METADATA_BYTES + 1)).unwrap_err();
        assert!(matches!(error, LogError::TooLarge { bytes: 1025, .. }));
        assert_eq!(file.current().map(|committed| committed.offset), Some(1));
    }
}
