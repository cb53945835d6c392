//! The file of the keys that secrets are sealed under.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::num::NonZeroU32;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use control::Keyring;

use crate::error::CommandError;

/// The file's name in a data directory.
pub(super) const NAME: &str = "secret-keys";

/// Reads the keys.
///
/// # Errors
/// [`CommandError::File`] where there is no such file, [`CommandError::Control`] for a broken line.
pub(super) fn read(file: &Path) -> Result<Keyring, CommandError> {
    let text = fs::read_to_string(file).map_err(|source| failed("read the key file", file, source))?;
    Ok(Keyring::parse(&text)?)
}

/// Appends a new random key, which is on disk when this returns, and returns its version. A file that is
/// made now can be read by its owner alone.
///
/// # Errors
/// As [`read`]; the file is left as it is then.
pub(super) fn add_key(file: &Path) -> Result<NonZeroU32, CommandError> {
    let version = match fs::metadata(file) {
        Ok(_) => read(file)?.newest_version().saturating_add(1),
        Err(error) if error.kind() == ErrorKind::NotFound => NonZeroU32::MIN,
        Err(source) => return Err(failed("read the key file", file, source)),
    };
    let key = Keyring::generate_key(version)?;
    let appended = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut opened| {
            // The last line may lack its end.
            opened.write_all(format!("\n{}\n", key.expose()).as_bytes())?;
            opened.sync_all()
        });
    appended.map_err(|source| failed("write the key file", file, source))?;
    Ok(version)
}

fn failed(what: &'static str, file: &Path, source: std::io::Error) -> CommandError {
    CommandError::File {
        what,
        path: file.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn each_key_is_the_newest_and_earlier_ones_still_open() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(NAME);
        assert_eq!(add_key(&file).unwrap().get(), 1);
        let sealed = read(&file).unwrap().seal("sk_live", "org/stripe").unwrap();
        assert_eq!(add_key(&file).unwrap().get(), 2);
        let keys = read(&file).unwrap();
        assert_eq!(keys.newest_version().get(), 2);
        assert_eq!(keys.open(&sealed, "org/stripe").unwrap().expose(), "sk_live");
        let mode = fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_broken_file_is_named_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(NAME);
        fs::write(&file, "1:short\n").unwrap();
        assert!(add_key(&file).is_err());
        assert_eq!(fs::read_to_string(&file).unwrap(), "1:short\n");
        assert!(read(&dir.path().join("nowhere")).is_err());
    }
}
