//! Finds and opens the engine's shared library.

use std::env;
use std::path::{Path, PathBuf};

use super::EngineError;
use super::ffi::Api;

const FILE_NAME: &str = "libchdb.so";
const PACKAGE_SCOPE: &str = "deploy/libchdb/node_modules/@chdb";

/// Opens the library named by `explicit`, else by `CHDB_LIB`, else the first that is found.
pub(super) fn load(explicit: Option<&Path>) -> Result<Api, EngineError> {
    let named = explicit
        .map(Path::to_owned)
        .or_else(|| env::var_os("CHDB_LIB").map(PathBuf::from));
    if let Some(path) = named {
        if !path.is_file() {
            return Err(EngineError::LibraryNotFound {
                searched: vec![path.display().to_string()],
            });
        }
        return Api::load(&path).map_err(|source| EngineError::Load { path, source });
    }
    let mut searched = Vec::new();
    for path in candidates(&mut searched) {
        if path.is_file() {
            return Api::load(&path).map_err(|source| EngineError::Load { path, source });
        }
    }
    searched.push(format!("the system's library paths ({FILE_NAME})"));
    Api::load(Path::new(FILE_NAME)).map_err(|_| EngineError::LibraryNotFound { searched })
}

/// Files to try, in order; adds each place looked at to `searched`.
fn candidates(searched: &mut Vec<String>) -> Vec<PathBuf> {
    let beside_executable = env::current_exe()
        .ok()
        .and_then(|exe| exe.parent().map(Path::to_owned));
    let mut files = Vec::new();
    if let Some(dir) = &beside_executable {
        files.push(dir.join(FILE_NAME));
        searched.push(dir.join(FILE_NAME).display().to_string());
    }
    for start in beside_executable.into_iter().chain(env::current_dir().ok()) {
        searched.push(format!(
            "{PACKAGE_SCOPE}/lib-*/{FILE_NAME} in or above {}",
            start.display()
        ));
        for dir in start.ancestors() {
            files.extend(packaged(&dir.join(PACKAGE_SCOPE)));
        }
    }
    files
}

/// The library of each platform package installed under `scope`.
fn packaged(scope: &Path) -> Vec<PathBuf> {
    let Ok(entries) = scope.read_dir() else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("lib-"))
        .map(|entry| entry.path().join(FILE_NAME))
        .collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_every_place_when_a_named_library_is_missing() {
        let missing = Path::new("/nonexistent/libchdb.so");
        let error = load(Some(missing)).unwrap_err().to_string();
        assert!(error.contains("/nonexistent/libchdb.so"), "{error}");
        assert!(error.contains("make libchdb"), "{error}");
    }

    #[test]
    fn finds_the_packaged_library_above_a_directory() {
        let root = tempfile::tempdir().unwrap();
        let package = root.path().join(PACKAGE_SCOPE).join("lib-any");
        std::fs::create_dir_all(&package).unwrap();
        assert_eq!(
            packaged(&root.path().join(PACKAGE_SCOPE)),
            [package.join(FILE_NAME)]
        );
    }
}
