//! The outbox: order, marks, waking.

use std::time::Duration;

use marginstream_control::{ControlStore, DIMENSIONS};
use schemas::id::OrgId;
use schemas::mapping::{MappingChange, MatchType};
use schemas::time::TimestampMs;

use crate::support::{TestStore, store_tests};

store_tests! {
    each_change_is_announced_with_its_version
    entries_come_in_order_until_they_are_marked
    pruning_keeps_what_is_not_published_and_numbers_go_on
    a_write_wakes_the_publisher_even_when_it_waits_later
    no_number_becomes_visible_after_a_larger_one
    a_write_given_up_half_way_leaves_nothing
}

async fn map(store: &ControlStore, org: OrgId, name: &str) {
    store
        .upsert_mapping(org, name, "customer", name, MatchType::Manual)
        .await
        .unwrap();
}

async fn each_change_is_announced_with_its_version(test: TestStore) {
    let org = test.new_org().await;
    let mapping = test
        .store
        .upsert_mapping(org, "cus_1", "customer", "globex", MatchType::Manual)
        .await
        .unwrap();
    test.store.delete_mapping(org, mapping.id).await.unwrap();

    let entries = test.store.next_outbox(10).await.unwrap();
    assert_eq!(entries.len(), 2);
    for (entry, (version, deleted)) in entries.iter().zip([(1, false), (2, true)]) {
        assert_eq!((entry.sequence, entry.topic.as_str()), (version, DIMENSIONS));
        assert_eq!(entry.key, mapping.id.to_string());
        let change: MappingChange = serde_json::from_str(&entry.payload).unwrap();
        assert_eq!(
            change,
            MappingChange {
                mapping: mapping.clone(),
                deleted,
                version
            }
        );
    }
}

async fn entries_come_in_order_until_they_are_marked(test: TestStore) {
    let org = test.new_org().await;
    for index in 0..12 {
        map(&test.store, org, &format!("cus_{index}")).await;
    }
    let sequences = async |limit| {
        let entries = test.store.next_outbox(limit).await.unwrap();
        entries
            .into_iter()
            .map(|entry| entry.sequence)
            .collect::<Vec<_>>()
    };
    assert_eq!(sequences(5).await, [1, 2, 3, 4, 5]);
    assert_eq!(
        sequences(5).await,
        [1, 2, 3, 4, 5],
        "reading does not take them away"
    );
    assert_eq!(test.store.mark_published(5).await.unwrap(), 5);
    assert_eq!(test.store.mark_published(5).await.unwrap(), 0);
    assert_eq!(sequences(100).await, (6..=12).collect::<Vec<_>>());
    assert_eq!(test.store.mark_published(u64::MAX).await.unwrap(), 7);
    assert!(sequences(100).await.is_empty());
}

async fn pruning_keeps_what_is_not_published_and_numbers_go_on(test: TestStore) {
    let org = test.new_org().await;
    map(&test.store, org, "cus_1").await;
    map(&test.store, org, "cus_2").await;
    test.store.mark_published(1).await.unwrap();
    assert_eq!(test.store.prune_outbox(TimestampMs(0)).await.unwrap(), 0);
    assert_eq!(test.store.prune_outbox(TimestampMs(i64::MAX)).await.unwrap(), 1);
    test.store.mark_published(2).await.unwrap();
    assert_eq!(test.store.prune_outbox(TimestampMs(i64::MAX)).await.unwrap(), 1);

    map(&test.store, org, "cus_3").await;
    assert_eq!(test.store.next_outbox(10).await.unwrap()[0].sequence, 3);
}

async fn a_write_wakes_the_publisher_even_when_it_waits_later(test: TestStore) {
    let org = test.new_org().await;
    map(&test.store, org, "cus_1").await;
    test.store.clone().wait_for_outbox().await;

    let idle = tokio::time::timeout(Duration::from_millis(20), test.store.wait_for_outbox()).await;
    assert!(idle.is_err(), "one write wakes once");

    let waiter = tokio::spawn({
        let store = test.store.clone();
        async move { store.wait_for_outbox().await }
    });
    map(&test.store, org, "cus_2").await;
    waiter.await.unwrap();
}

/// A reader beside two writers never sees number `n` without all numbers before it.
async fn no_number_becomes_visible_after_a_larger_one(test: TestStore) {
    const NUM_EACH: u64 = 100;
    let org = test.new_org().await;
    let other = test.connect_again().await;
    let writers = [("left", test.store.clone()), ("right", other.clone())].map(|(side, store)| {
        tokio::spawn(async move {
            for index in 0..NUM_EACH {
                map(&store, org, &format!("{side}-{index}")).await;
            }
        })
    });
    let mut next = 1;
    while next <= 2 * NUM_EACH {
        for entry in other.next_outbox(7).await.unwrap() {
            assert_eq!(entry.sequence, next);
            other.mark_published(next).await.unwrap();
            next += 1;
        }
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

async fn a_write_given_up_half_way_leaves_nothing(test: TestStore) {
    let org = test.new_org().await;
    for micros in (0..2_000).step_by(50) {
        let write = test
            .store
            .upsert_mapping(org, "cus_1", "customer", "globex", MatchType::Manual);
        // Dropped at whatever point it has reached.
        drop(tokio::time::timeout(Duration::from_micros(micros), write).await);
    }
    map(&test.store, org, "cus_2").await;
    let num_entries = test.number("SELECT COUNT(*) FROM outbox").await;
    assert_eq!(test.number("SELECT value FROM counters").await, num_entries);
    assert_eq!(test.number("SELECT MAX(sequence) FROM outbox").await, num_entries);
}
