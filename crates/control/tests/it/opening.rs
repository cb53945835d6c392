//! Connecting: files, migrations, several processes.

use std::process::Command;

use marginstream_control::{ControlError, ControlStore};
use schemas::mapping::MatchType;

use crate::support::TestStore;

const CHILD_URL: &str = "CONTROL_TEST_CHILD_URL";
const CHILD_WRITES: i64 = 200;

#[tokio::test]
async fn the_file_is_for_its_owner_only() {
    let test = TestStore::open().await;
    test.new_org().await;
    #[cfg(unix)]
    for suffix in ["", "-wal", "-shm"] {
        use std::os::unix::fs::PermissionsExt;
        let path = format!("{}{suffix}", test.path().display());
        assert_eq!(
            std::fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600,
            "{path}"
        );
    }
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

#[tokio::test]
async fn postgres_is_refused_in_plain_words() {
    let error = ControlStore::connect("postgres://user:hunter2@host/control")
        .await
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "postgres is not switched on in this build: use sqlite:<path>"
    );
    assert!(!format!("{error:?}").contains("hunter2"));
}

#[tokio::test]
async fn migrations_run_once_however_often_it_is_opened() {
    let test = TestStore::open().await;
    test.connect_again().await.close().await;
    assert_eq!(test.number("SELECT COUNT(*) FROM schema_migrations").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn eight_may_open_a_new_file_at_once() {
    for _ in 0..10 {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("control.db").display());
        let opening = (0..8).map(|_| {
            let url = url.clone();
            tokio::spawn(async move { ControlStore::connect(&url).await.map(|_| ()) })
        });
        for opened in opening.collect::<Vec<_>>() {
            opened.await.unwrap().unwrap();
        }
    }
}

#[tokio::test]
async fn a_newer_database_is_refused_and_left_alone() {
    let test = TestStore::open().await;
    test.sql("INSERT INTO schema_migrations (version, name, applied_at) VALUES (99, 'later', 0)")
        .await;
    let error = ControlStore::connect(&test.url()).await.unwrap_err();
    assert!(matches!(error, ControlError::NewerSchema { found: 99, known: 1 }));
    assert!(error.to_string().contains("run a newer program"));
}

#[tokio::test]
async fn everything_survives_a_reopening() {
    let test = TestStore::open().await;
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let session = test
        .store
        .create_session(made.user_id, made.org_id)
        .await
        .unwrap();
    let mapping = test
        .store
        .upsert_mapping(made.org_id, "cus_1", "customer", "globex", MatchType::Manual)
        .await;
    test.store.close().await;

    let reopened = test.connect_again().await;
    let hash = marginstream_control::SecretHash::of(made.api_key.expose());
    assert_eq!(
        reopened.resolve_api_key(hash).await.unwrap().unwrap().key_id,
        made.api_key_id
    );
    assert_eq!(
        reopened
            .resolve_session(session.expose())
            .await
            .unwrap()
            .unwrap()
            .user_id,
        made.user_id
    );
    assert_eq!(
        reopened.list_mappings(made.org_id).await.unwrap(),
        [mapping.unwrap()]
    );
    assert_eq!(reopened.next_outbox(10).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_write_is_read_at_once_on_every_connection() {
    let test = TestStore::open().await;
    let org = test.new_org().await;
    let other = test.connect_again().await;
    for round in 0..50 {
        let value = round.to_string();
        test.store.set_setting(org, "round", &value).await.unwrap();
        let reads = (0..8).map(|_| test.store.setting(org, "round"));
        for read in reads {
            assert_eq!(read.await.unwrap().as_deref(), Some(value.as_str()));
        }
        assert_eq!(
            other.setting(org, "round").await.unwrap().as_deref(),
            Some(value.as_str())
        );
    }
}

/// Runs this very test program a second time, as the process that writes beside this one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_may_write_at_the_same_time() {
    let test = TestStore::open().await;
    let org = test.new_org().await;
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "opening::child_process_writes"])
        .env(CHILD_URL, test.url())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while test.store.list_mappings(org).await.unwrap().is_empty() {
        assert!(child.try_wait().unwrap().is_none_or(|status| status.success()));
    }
    for index in 0..CHILD_WRITES {
        let customer = format!("parent-{index}");
        test.store
            .upsert_mapping(org, &customer, "customer", &customer, MatchType::Auto)
            .await
            .unwrap();
    }
    let status = tokio::task::spawn_blocking(move || child.wait())
        .await
        .unwrap()
        .unwrap();
    assert!(status.success());

    let mappings = test.store.list_mappings(org).await.unwrap();
    assert_eq!(mappings.len(), usize::try_from(2 * CHILD_WRITES).unwrap());
    let entries = test.store.next_outbox(1_000).await.unwrap();
    let sequences: Vec<u64> = entries.iter().map(|entry| entry.sequence).collect();
    assert_eq!(
        sequences,
        (1..=2 * CHILD_WRITES.unsigned_abs()).collect::<Vec<_>>()
    );
}

#[tokio::test]
#[ignore = "the second process of another test"]
async fn child_process_writes() {
    let store = ControlStore::connect(&std::env::var(CHILD_URL).unwrap())
        .await
        .unwrap();
    let org = store.list_orgs().await.unwrap()[0].id;
    for index in 0..CHILD_WRITES {
        let customer = format!("child-{index}");
        store
            .upsert_mapping(org, &customer, "customer", &customer, MatchType::Auto)
            .await
            .unwrap();
    }
}
