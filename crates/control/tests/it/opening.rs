//! Connecting: migrations, reopening, reading what was written.

use marginstream_control::{ControlError, ControlStore};
use schemas::access::Role;
use schemas::mapping::MatchType;

use crate::support::{TestStore, store_tests};

store_tests! {
    migrations_run_once_however_often_it_is_opened
    eight_may_open_a_new_store_at_once
    a_newer_database_is_refused_and_left_alone
    rows_of_the_first_version_are_kept
    everything_survives_a_reopening
    a_write_is_read_at_once_on_every_connection
}

async fn migrations_run_once_however_often_it_is_opened(test: TestStore) {
    test.connect_again().await.close().await;
    assert_eq!(test.number("SELECT COUNT(*) FROM schema_migrations").await, 2);
}

async fn eight_may_open_a_new_store_at_once(test: TestStore) {
    for _ in 0..10 {
        let place = test.another_place().await;
        let opening = (0..8).map(|_| {
            let url = place.url();
            tokio::spawn(async move { ControlStore::connect(&url).await.map(|_| ()) })
        });
        for opened in opening.collect::<Vec<_>>() {
            opened.await.unwrap().unwrap();
        }
    }
}

async fn a_newer_database_is_refused_and_left_alone(test: TestStore) {
    test.sql("INSERT INTO schema_migrations (version, name, applied_at) VALUES (99, 'later', 0)")
        .await;
    let error = ControlStore::connect(&test.url()).await.unwrap_err();
    assert!(matches!(error, ControlError::NewerSchema { found: 99, known: 2 }));
    assert!(error.to_string().contains("run a newer program"));
}

/// What a release had stored when the tables had their first form.
const FIRST_VERSION: &str = concat!(
    include_str!("../../migrations/0001_control_store.sql"),
    "CREATE TABLE schema_migrations (version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL,
                                     applied_at BIGINT NOT NULL);
     INSERT INTO schema_migrations VALUES (1, 'control_store', 0);
     INSERT INTO orgs VALUES ('00000000-0000-4000-8000-000000000001', 'Globex', 'globex', 0, 5, 6);
     INSERT INTO users VALUES ('00000000-0000-4000-8000-000000000002', 'a@b.example', NULL, NULL, 5);
     INSERT INTO memberships VALUES ('00000000-0000-4000-8000-000000000001',
                                     '00000000-0000-4000-8000-000000000002', 'owner', 5);
     INSERT INTO sessions VALUES ('2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881',
                                  '00000000-0000-4000-8000-000000000002',
                                  '00000000-0000-4000-8000-000000000001', 5, 9000000000000);
     INSERT INTO api_keys VALUES ('00000000-0000-4000-8000-000000000003',
                                  '00000000-0000-4000-8000-000000000001',
                                  '00000000-0000-4000-8000-000000000002', 'default', 'hash', 'ns_live_sk_',
                                  '{\"team\":\"data\"}', '2026-04-01', 'live', NULL, NULL, 5);"
);

async fn rows_of_the_first_version_are_kept(test: TestStore) {
    let place = test.another_place().await;
    place.sql(FIRST_VERSION).await;
    let migrated = TestStore::open(place).await;
    let session = migrated.store.resolve_session("x").await.unwrap().unwrap();
    assert_eq!(session.role, Some(Role::Owner));
    let org = migrated.store.org(session.org_id).await.unwrap().unwrap();
    assert_eq!((org.slug.as_str(), org.is_personal), ("globex", false));
    let keys = migrated.store.list_api_keys(org.id, None, 10).await.unwrap();
    assert_eq!((keys.len(), keys[0].default_tags["team"].as_str()), (1, "data"));
    assert_eq!(
        (&keys[0].allowed_models, &keys[0].allowed_providers),
        (&None, &None)
    );
    // The sessions' indexes are there, too: the same names as before.
    let again = migrated.try_sql("CREATE INDEX sessions_by_expiry ON sessions (expires_at)");
    assert!(again.await.is_err());
}

async fn everything_survives_a_reopening(test: TestStore) {
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

async fn a_write_is_read_at_once_on_every_connection(test: TestStore) {
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
