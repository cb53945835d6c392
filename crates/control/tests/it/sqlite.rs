//! What is SQLite's own: files, paths, permissions.

use marginstream_control::{ControlError, ControlStore};

#[tokio::test]
async fn the_file_is_for_its_owner_only() {
    let directory = tempfile::tempdir().unwrap();
    let path = crate::support::file(&directory);
    let store = ControlStore::connect(&format!("sqlite:{}", path.display()))
        .await
        .unwrap();
    #[cfg(unix)]
    for suffix in ["", "-wal", "-shm"] {
        use std::os::unix::fs::PermissionsExt;
        let path = format!("{}{suffix}", path.display());
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600,
            "{path}"
        );
    }
    store.close().await;
}

#[tokio::test]
async fn paths_with_special_characters_work() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("a b?50%#é.db");
    let store = ControlStore::connect(&format!("sqlite:{}", path.display()))
        .await
        .unwrap();
    store.close().await;
    assert!(path.metadata().unwrap().len() > 0);
    let names = std::fs::read_dir(directory.path()).unwrap().count();
    assert_eq!(names, 1, "closing leaves the database file and nothing else");
}

#[tokio::test]
async fn a_missing_directory_is_named() {
    let error = ControlStore::connect("sqlite:/nonexistent/control.db")
        .await
        .unwrap_err();
    assert!(matches!(error, ControlError::Open { .. }));
    assert!(error.to_string().contains("/nonexistent/control.db"));
    assert!(!error.is_retryable());
}
