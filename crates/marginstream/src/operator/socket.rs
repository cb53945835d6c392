//! The operator's socket file.

use std::fs::{DirBuilder, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

use crate::error::CommandError;

/// Longest path of a Unix socket, in bytes (`sun_path` holds one zero byte more).
const MAX_SOCKET_PATH_BYTES: usize = 107;

/// A path to a socket that is short enough for the system, however deep its directory is.
#[derive(Debug)]
pub(crate) struct ShortPath {
    path: PathBuf,
    /// Keeps the short name of the directory valid.
    _dir: Option<File>,
}

impl ShortPath {
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        if path.as_os_str().as_bytes().len() <= MAX_SOCKET_PATH_BYTES {
            return Ok(Self {
                path: path.to_path_buf(),
                _dir: None,
            });
        }
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidFilename.into());
        };
        let dir = File::open(parent)?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", dir.as_raw_fd())).join(name);
        Ok(Self {
            path,
            _dir: Some(dir),
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

/// Listens at `path` with mode 0600, in place of a socket that a killed server left. To be called by
/// the process that holds the event log's lock.
///
/// # Errors
/// [`CommandError::File`].
pub(crate) fn listen(path: &Path) -> Result<UnixListener, CommandError> {
    bind(path).map_err(CommandError::file("listen on", path))
}

/// Binds in a private directory and moves the socket to its place, so that it never is open to
/// others, whatever the process's umask.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let private = path.with_extension("starting");
    match DirBuilder::new().mode(0o700).create(&private) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let socket = private.join("s");
    remove_if_there(&socket)?;
    let listener = UnixListener::bind(ShortPath::of(&socket)?.path())?;
    std::fs::set_permissions(&socket, Permissions::from_mode(0o600))?;
    std::fs::rename(&socket, path)?;
    std::fs::remove_dir(&private)?;
    Ok(listener)
}

/// Removes the socket at an orderly end.
pub(crate) fn remove(path: &Path) -> Result<(), CommandError> {
    remove_if_there(path).map_err(CommandError::file("remove", path))
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn replaces_a_stale_socket_and_is_private() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("operator.sock");
        drop(listen(&path).unwrap());
        assert!(UnixStream::connect(&path).await.is_err());
        let _listener = listen(&path).unwrap();
        assert!(UnixStream::connect(&path).await.is_ok());
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(root.path().read_dir().unwrap().count(), 1);
        remove(&path).unwrap();
        remove(&path).unwrap();
    }

    #[tokio::test]
    async fn works_in_directories_of_any_depth() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("d".repeat(120));
        std::fs::create_dir(&deep).unwrap();
        let path = deep.join("operator.sock");
        let _listener = listen(&path).unwrap();
        assert!(
            UnixStream::connect(ShortPath::of(&path).unwrap().path())
                .await
                .is_ok()
        );
    }
}
