//! Files and directories that survive a crash: private modes, names synced into their directories.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::LogError;

/// Returns options that make files readable by their owner only.
pub(super) fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.mode(0o600);
    options
}

/// Makes `dir` and its parents where absent, readable by their owner only, and syncs its own name.
pub(super) fn create_dir(dir: &Path) -> Result<(), LogError> {
    if dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(LogError::io("create directory", dir))?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => Ok(()),
    }
}

/// Makes the names in `dir` durable: a synced file without a synced name is lost with the power.
pub(super) fn sync_dir(dir: &Path) -> Result<(), LogError> {
    let opened = File::open(dir).map_err(LogError::io("open directory", dir))?;
    opened.sync_all().map_err(LogError::io("sync directory", dir))
}

/// Returns the names in `dir`, sorted; none if it does not exist. Names that are not UTF-8 are not ours.
pub(super) fn list_dir(dir: &Path) -> Result<Vec<String>, LogError> {
    if !dir.exists() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in dir.read_dir().map_err(LogError::io("list directory", dir))? {
        let entry = entry.map_err(LogError::io("list directory", dir))?;
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort();
    Ok(names)
}

/// Copies `from` from byte `start` on into the new or emptied file `to`, and syncs it.
pub(super) fn copy_synced(from: &Path, start: u64, to: &Path) -> Result<(), LogError> {
    let mut source = File::open(from).map_err(LogError::io("open", from))?;
    source
        .seek(SeekFrom::Start(start))
        .map_err(LogError::io("read", from))?;
    let mut options = private_file();
    let mut copy = options
        .write(true)
        .create(true)
        .truncate(true)
        .open(to)
        .map_err(LogError::io("create", to))?;
    io::copy(&mut source, &mut copy).map_err(LogError::io("write", to))?;
    copy.sync_all().map_err(LogError::io("sync", to))?;
    to.parent().map_or(Ok(()), sync_dir)
}

/// The right to write to a log's directory, held until dropped. The system frees it when the process ends.
#[derive(Debug)]
pub(super) struct DirLock {
    file: File,
}

impl DirLock {
    /// Locks `dir`, which is made if absent.
    ///
    /// # Errors
    /// [`LogError::Locked`] naming the process that has it.
    pub(super) fn acquire(dir: &Path) -> Result<Self, LogError> {
        create_dir(dir)?;
        let path: PathBuf = dir.join("LOCK");
        let mut options = private_file();
        let mut file = options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(LogError::io("open", &path))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut pid = String::new();
                file.read_to_string(&mut pid)
                    .map_err(LogError::io("read", &path))?;
                let pid = if pid.trim().is_empty() {
                    "unknown".to_owned()
                } else {
                    pid.trim().to_owned()
                };
                return Err(LogError::Locked {
                    dir: dir.to_path_buf(),
                    pid,
                });
            }
            Err(TryLockError::Error(source)) => return Err(LogError::io("lock", &path)(source)),
        }
        // The id only serves the message of the next one to come: a full disk must not keep the log shut.
        let written = file
            .set_len(0)
            .and_then(|()| write!(file, "{}", std::process::id()));
        if let Err(error) = written {
            tracing::warn!(%error, "process id not written to the lock file");
        }
        Ok(Self { file })
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        // Closing alone would not do while a child that was just forked still holds a copy of the file.
        if let Err(error) = self.file.unlock() {
            tracing::warn!(%error, "log directory not unlocked");
        }
    }
}
