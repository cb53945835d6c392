//! What the calls on the hot path cost, printed.

use std::time::{Duration, Instant};

use marginstream_control::SecretHash;
use schemas::mapping::MatchType;

use crate::support::{TestStore, store_tests};

store_tests! {
    look_ups_are_quick
    ten_thousand_mappings_are_read_at_once
}

const NUM_CALLS: usize = 2_000;
const NUM_OTHER_KEYS: usize = 10_000;

/// Keys of other owners, so that the look-up works in a table of some size.
const OTHER_KEYS: &str = "
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
    INSERT INTO api_keys (id, org_id, user_id, name, key_hash, key_prefix, default_tags, api_version,
                          environment, created_at)
    SELECT 'id' || i, k.org_id, k.user_id, 'other', 'hash' || i, 'ns_live_sk_', '{}', '2026-04-01', 'live', i
    FROM n, (SELECT org_id, user_id FROM api_keys LIMIT 1) k";

async fn look_ups_are_quick(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    test.sql(OTHER_KEYS).await;
    let keys = test.number("SELECT COUNT(*) FROM api_keys").await;
    assert_eq!(usize::try_from(keys).unwrap(), NUM_OTHER_KEYS + 1);
    let token = test
        .store
        .create_session(made.user_id, made.org_id)
        .await
        .unwrap();

    let mut keys = Vec::with_capacity(NUM_CALLS);
    let mut sessions = Vec::with_capacity(NUM_CALLS);
    let mut writes = Vec::new();
    for index in 0..NUM_CALLS {
        let start = Instant::now();
        let hash = SecretHash::of(made.api_key.expose());
        assert!(test.store.resolve_api_key(hash).await.unwrap().is_some());
        keys.push(start.elapsed());
        let start = Instant::now();
        assert!(
            test.store
                .resolve_session(token.expose())
                .await
                .unwrap()
                .is_some()
        );
        sessions.push(start.elapsed());
        if index % 20 == 0 {
            let start = Instant::now();
            let name = index.to_string();
            test.store
                .upsert_mapping(made.org_id, &name, "customer", &name, MatchType::Auto)
                .await
                .unwrap();
            writes.push(start.elapsed());
        }
    }
    report("resolve_api_key", keys);
    report("resolve_session", sessions);
    report("upsert_mapping", writes);
}

/// Mappings as the API makes them, one in ten by `auto`, in an order that no index has.
const MAPPINGS: &str = "
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
    INSERT INTO customer_mappings (id, org_id, stripe_customer_id, tag_key, tag_value, match_type,
                                   confidence_hundredths, created_at)
    SELECT '00000000-0000-4000-8000-0000000' || (10000 + i), o.id, 'cus_PqRsTuVwXyZ' || i, 'customer',
           'customer-' || i || '-é', CASE WHEN i % 10 = 0 THEN 'auto' ELSE 'manual' END,
           CASE WHEN i % 10 = 0 THEN NULL ELSE 100 END, 1700000000000 + (i * 7919) % 10000
    FROM n, orgs o";

async fn ten_thousand_mappings_are_read_at_once(test: TestStore) {
    let org = test.new_org().await;
    test.sql(MAPPINGS).await;
    let mut took = Vec::new();
    let mut mappings = Vec::new();
    for _ in 0..30 {
        let start = Instant::now();
        mappings = test.store.list_customer_mappings(org).await.unwrap();
        took.push(start.elapsed());
    }
    assert_eq!(mappings.len(), 10_000);
    assert!(mappings.is_sorted_by_key(|mapping| (mapping.created_at, mapping.id)));
    for mapping in &mappings {
        let index = mapping.id.as_u128() & 0xfff_ffff;
        let index: u64 = format!("{index:x}").parse::<u64>().unwrap() - 10_000;
        assert_eq!(mapping.tag_value, format!("customer-{index}-é"));
        assert_eq!(mapping.stripe_customer_id, format!("cus_PqRsTuVwXyZ{index}"));
        let (match_type, confidence) = match index % 10 {
            0 => (MatchType::Auto, None),
            _ => (MatchType::Manual, Some(100)),
        };
        assert_eq!((mapping.match_type, mapping.confidence), (match_type, confidence));
        assert_eq!((mapping.org_id, mapping.tag_key.as_str()), (org, "customer"));
    }
    assert_eq!(test.store.list_mappings(org).await.unwrap(), mappings);
    report("list_customer_mappings, 10,000 of them", took);
}

fn report(what: &str, mut took: Vec<Duration>) {
    took.sort_unstable();
    let (median, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!(
        "{what}: p50 {median:?}, p99 {p99:?}, {} calls one after the other",
        took.len()
    );
    assert!(median < Duration::from_millis(250), "{what} takes {median:?}");
}
