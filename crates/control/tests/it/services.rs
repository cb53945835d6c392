//! Several services over one store: each as a process of its own.

use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use marginstream_control::{BootstrapRequest, ControlError, ControlStore};
use schemas::access::Tier;
use schemas::id::OrgId;
use schemas::mapping::MatchType;

use crate::support::{TestStore, store_tests};

store_tests! {
    processes_migrate_bootstrap_and_write_at_once
    two_publishers_pass_over_nothing
}

const CHILD_URL: &str = "CONTROL_TEST_CHILD_URL";
const CHILD_NAME: &str = "CONTROL_TEST_CHILD_NAME";
const NUM_CHILDREN: u64 = 3;
const CHILD_WRITES: u64 = 100;

async fn processes_migrate_bootstrap_and_write_at_once(test: TestStore) {
    let place = test.another_place().await;
    let children: Vec<Child> = (0..NUM_CHILDREN)
        .map(|index| child(&place.url(), &format!("service-{index}")))
        .collect();
    let shared = TestStore::open(place).await;

    // What is read meanwhile is without gaps, too.
    let mut next = 1;
    while next <= NUM_CHILDREN * CHILD_WRITES {
        for entry in shared.store.next_outbox(7).await.unwrap() {
            assert_eq!(entry.sequence, next);
            next += 1;
        }
        retried(async || shared.store.mark_published(next - 1).await).await;
    }
    for mut child in children {
        let status = tokio::task::spawn_blocking(move || child.wait()).await.unwrap();
        assert!(status.unwrap().success());
    }
    for (count, expected) in [
        ("SELECT COUNT(*) FROM schema_migrations", 2),
        ("SELECT COUNT(*) FROM users", 1),
        ("SELECT COUNT(DISTINCT slug) FROM orgs", NUM_CHILDREN),
        (
            "SELECT COUNT(*) FROM customer_mappings",
            NUM_CHILDREN * CHILD_WRITES,
        ),
        ("SELECT MAX(sequence) FROM outbox", NUM_CHILDREN * CHILD_WRITES),
        ("SELECT value FROM counters", NUM_CHILDREN * CHILD_WRITES),
    ] {
        assert_eq!(shared.number(count).await, expected.cast_signed(), "{count}");
    }
}

/// Runs this very test program a second time, as a service beside this one.
fn child(url: &str, name: &str) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "services::child_process"])
        .env(CHILD_URL, url)
        .env(CHILD_NAME, name)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

#[tokio::test]
#[ignore = "the other process of another test"]
async fn child_process() {
    let url = std::env::var(CHILD_URL).unwrap();
    let name = std::env::var(CHILD_NAME).unwrap();
    let store = retried(async || ControlStore::connect(&url).await).await;
    let request = BootstrapRequest {
        org_name: "Globex".into(),
        email: "owner@globex.example".into(),
        tier: Tier::Pro,
    };
    let org = retried(async || store.bootstrap(request.clone()).await)
        .await
        .org_id;
    for index in 0..CHILD_WRITES {
        map(&store, org, &format!("{name}-{index}")).await;
    }
    store.close().await;
}

/// Both read, "append to the log" and mark, as two ingest services do.
async fn two_publishers_pass_over_nothing(test: TestStore) {
    const NUM_CHANGES: u64 = 150;
    let org = test.new_org().await;
    let log = Arc::new(Mutex::new(Vec::new()));
    let stores = [test.store.clone(), test.connect_again().await];
    let publishers = stores.map(|store| tokio::spawn(publish(store, Arc::clone(&log), NUM_CHANGES)));
    for index in 0..NUM_CHANGES {
        map(&test.store, org, &format!("customer-{index}")).await;
    }
    for publisher in publishers {
        publisher.await.unwrap();
    }
    let mut published = log.lock().unwrap().clone();
    published.sort_unstable();
    published.dedup();
    assert_eq!(published, (1..=NUM_CHANGES).collect::<Vec<_>>());
    assert!(test.store.next_outbox(1).await.unwrap().is_empty());
}

async fn publish(store: ControlStore, log: Arc<Mutex<Vec<u64>>>, until: u64) {
    loop {
        let entries = store.next_outbox(4).await.unwrap();
        let sequences = entries.iter().map(|entry| entry.sequence);
        log.lock().unwrap().extend(sequences);
        if let Some(last) = entries.last() {
            store.mark_published(last.sequence).await.unwrap();
        }
        if log.lock().unwrap().contains(&until) {
            return;
        }
    }
}

async fn map(store: &ControlStore, org: OrgId, name: &str) {
    retried(async || {
        store
            .upsert_mapping(org, name, "customer", name, MatchType::Manual)
            .await
    })
    .await;
}

/// Repeats a call while it fails for a reason that passes, as services do.
async fn retried<T>(call: impl AsyncFn() -> Result<T, ControlError>) -> T {
    for _ in 0..10 {
        match call().await {
            Err(error) if error.is_retryable() => println!("tried again: {error:?}"),
            done => return done.unwrap(),
        }
    }
    panic!("ten attempts failed");
}
