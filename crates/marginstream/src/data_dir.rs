//! The data directory: where its parts are, and whether it can be used.

use std::fs::{DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use tracing::warn;

use crate::error::CommandError;
use crate::secret::Secret;

/// Random bytes of a generated password.
const PASSWORD_BYTES: usize = 18;

/// A data directory. Whoever can read it is an operator.
#[derive(Debug, Clone)]
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    /// Makes the directory with mode 0700 if it is missing, and makes sure that it can be written.
    pub(crate) fn prepare(path: &Path) -> Result<Self, CommandError> {
        make_dir(path)?;
        // The engine needs an absolute path, and no command changes its working directory.
        let dir = Self(
            path.canonicalize()
                .map_err(CommandError::file("open the data directory", path))?,
        );
        dir.check_writable()?;
        dir.warn_if_open();
        make_dir(&dir.clickhouse())?;
        Ok(dir)
    }

    /// Opens a directory that a server has used before.
    pub(crate) fn existing(path: &Path) -> Result<Self, CommandError> {
        let control = path.join("control.db");
        // Reading, not merely looking: only those who may are operators.
        match std::fs::File::open(&control) {
            Ok(_) => Self::prepare(path),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(CommandError::Usage(format!(
                "{} is no data directory of marginstream yet; run `marginstream admin bootstrap --data {}` or name another with --data",
                path.display(),
                path.display()
            ))),
            Err(source) => Err(CommandError::File {
                what: "read",
                path: control,
                source,
            }),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    pub(crate) fn clickhouse(&self) -> PathBuf {
        self.0.join("clickhouse")
    }

    pub(crate) fn operator_socket(&self) -> PathBuf {
        self.0.join("operator.sock")
    }

    pub(crate) fn control_url(&self) -> String {
        format!("sqlite:{}", self.0.join("control.db").display())
    }

    /// Returns the password of a ClickHouse user, made at first use, and the file that holds it.
    pub(crate) fn clickhouse_password(&self, user: &str) -> Result<(Secret, PathBuf), CommandError> {
        let path = self.0.join(format!("clickhouse-{user}.password"));
        match std::fs::read_to_string(&path) {
            Ok(text) if !text.trim().is_empty() => return Ok((text.trim().to_owned().into(), path)),
            // An empty file is one that a full disk left.
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => {
                return Err(CommandError::File {
                    what: "read",
                    path,
                    source,
                });
            }
        }
        let password = generate_password()?;
        write_private(&path, password.expose()).map_err(CommandError::file("write", &path))?;
        Ok((password, path))
    }

    fn check_writable(&self) -> Result<(), CommandError> {
        let path = self.0.join(".write-test");
        let outcome = write_private(&path, "marginstream").and_then(|()| std::fs::remove_file(&path));
        outcome.map_err(CommandError::file("write to the data directory", &self.0))
    }

    fn warn_if_open(&self) {
        let mode = std::fs::metadata(&self.0).map_or(0, |metadata| metadata.permissions().mode());
        if mode & 0o077 != 0 {
            let mode = format!("{:o}", mode & 0o777);
            warn!(dir = %self.0.display(), mode, "data directory is open to other users; mode 700 is meant");
        }
    }
}

fn make_dir(path: &Path) -> Result<(), CommandError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(CommandError::file("make the directory", path))
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn generate_password() -> Result<Secret, CommandError> {
    let mut bytes = [0_u8; PASSWORD_BYTES];
    getrandom::fill(&mut bytes).map_err(CommandError::Random)?;
    Ok(bytes
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>()
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_a_private_directory_with_lasting_private_passwords() {
        let root = tempfile::tempdir().unwrap();
        let dir = DataDir::prepare(&root.path().join("a/b")).unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(dir.path()), mode(&dir.clickhouse())), (0o700, 0o700));
        let (password, path) = dir.clickhouse_password("analyst").unwrap();
        assert_eq!((password.expose().len(), mode(&path)), (36, 0o600));
        assert_eq!(dir.clickhouse_password("analyst").unwrap().0, password);
        assert_ne!(dir.clickhouse_password("service").unwrap().0, password);
    }

    #[test]
    fn says_what_is_wrong_with_a_directory() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        std::fs::write(&file, "").unwrap();
        let refused = DataDir::prepare(&file).unwrap_err().to_string();
        assert!(refused.starts_with("cannot make the directory"), "{refused}");
        let refused = DataDir::existing(&root.path().join("none"))
            .unwrap_err()
            .to_string();
        assert!(
            refused.contains("is no data directory of marginstream yet"),
            "{refused}"
        );
    }
}
