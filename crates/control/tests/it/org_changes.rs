//! Making, changing and deleting organizations.

use std::collections::BTreeSet;

use marginstream_control::{ControlError, SecretHash};
use schemas::access::Role;
use schemas::id::{OrgId, UserId};
use schemas::mapping::{MappingChange, MatchType};

use crate::api_keys::draft;
use crate::support::{TestStore, store_tests};

store_tests! {
    who_makes_an_organization_owns_it
    organizations_of_a_user_are_listed_oldest_first_with_the_role
    slugs_are_unique_among_all_organizations
    of_many_who_want_one_slug_one_gets_it
    name_and_slug_change_apart
    bad_names_and_slugs_are_refused
    a_deleted_organization_leaves_no_row_but_its_audit_log
    a_deleted_organizations_mappings_are_announced
    a_deleted_organizations_keys_and_sessions_lose_it
}

async fn who_makes_an_organization_owns_it(test: TestStore) {
    let user = test.user("ada@globex.example").await;
    let org = test
        .store
        .create_org(user, "  Globex  ", " globex ")
        .await
        .unwrap();
    assert_eq!((org.name.as_str(), org.slug.as_str()), ("Globex", "globex"));
    assert!(!org.is_personal && org.created_at == org.updated_at);
    assert_eq!(test.store.org(org.id).await.unwrap(), Some(org.clone()));
    let members = test.store.list_members(org.id).await.unwrap();
    assert_eq!(
        (members.len(), members[0].user_id, members[0].role),
        (1, user, Role::Owner)
    );

    let nobody = test
        .store
        .create_org(UserId::random(), "Initech", "initech")
        .await;
    assert!(matches!(nobody, Err(ControlError::NotFound(_))), "{nobody:?}");
    let orgs = test.number("SELECT COUNT(*) FROM orgs").await;
    assert_eq!(orgs, 1, "an organization without an owner is not made");
}

async fn organizations_of_a_user_are_listed_oldest_first_with_the_role(test: TestStore) {
    let user = test.user("ada@globex.example").await;
    let personal = test.store.personal_org(user).await.unwrap();
    let own = test.store.create_org(user, "Own", "own").await.unwrap().id;
    let joined = test.new_org().await;
    test.store.add_member(joined, user, Role::Viewer).await.unwrap();
    test.sql(&format!(
        "UPDATE orgs SET created_at = 1 WHERE id = '{}'",
        joined.0
    ))
    .await;
    test.sql(&format!("UPDATE orgs SET created_at = 2 WHERE id = '{}'", own.0))
        .await;
    let list = async || {
        let orgs = test.store.list_orgs_of(user).await.unwrap();
        let pairs = orgs.into_iter().map(|of_user| (of_user.org.id, of_user.role));
        pairs.collect::<Vec<_>>()
    };
    let expected = [
        (joined, Role::Viewer),
        (own, Role::Owner),
        (personal, Role::Owner),
    ];
    assert_eq!(list().await, expected);
    test.sql("UPDATE memberships SET role = '__proto__' WHERE role = 'viewer'")
        .await;
    assert_eq!(list().await, expected[1..]);
    assert!(
        test.store
            .list_orgs_of(UserId::random())
            .await
            .unwrap()
            .is_empty()
    );
}

async fn slugs_are_unique_among_all_organizations(test: TestStore) {
    let user = test.user("ada@globex.example").await;
    let personal = test.store.personal_org(user).await.unwrap();
    let personal = test.store.org(personal).await.unwrap().unwrap();
    let first = test.store.create_org(user, "First", "first").await.unwrap();
    let second = test.store.create_org(user, "Second", "second").await.unwrap();
    for taken in ["first", personal.slug.as_str()] {
        let made = test.store.create_org(user, "Third", taken).await;
        assert!(matches!(made, Err(ControlError::Conflict(_))), "{taken}");
        let changed = test
            .store
            .update_org(second.id, Some("Changed"), Some(taken))
            .await;
        assert!(matches!(changed, Err(ControlError::Conflict(_))), "{taken}");
    }
    assert_eq!(test.store.org(second.id).await.unwrap(), Some(second));
    let same = test
        .store
        .update_org(first.id, None, Some("first"))
        .await
        .unwrap();
    assert_eq!(same.slug, "first", "its own slug is no conflict");
    test.store.delete_org(first.id).await.unwrap();
    test.store.create_org(user, "Third", "first").await.unwrap();
}

async fn of_many_who_want_one_slug_one_gets_it(test: TestStore) {
    let user = test.user("ada@globex.example").await;
    let stores = [test.store.clone(), test.connect_again().await];
    let tasks: Vec<_> = (0..12)
        .map(|index| {
            let store = stores[index % 2].clone();
            tokio::spawn(async move { store.create_org(user, "Globex", "globex").await })
        })
        .collect();
    let mut num_made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => num_made += 1,
            Err(error) => assert!(matches!(error, ControlError::Conflict(_)), "{error:?}"),
        }
    }
    assert_eq!(num_made, 1);
    assert_eq!(test.number("SELECT COUNT(*) FROM memberships").await, 1);
}

async fn name_and_slug_change_apart(test: TestStore) {
    let org = test.new_org().await;
    test.sql("UPDATE orgs SET created_at = 5, updated_at = 5").await;
    let named = test.store.update_org(org, Some(" 日本 "), None).await.unwrap();
    assert_eq!((named.name.as_str(), named.slug.as_str()), ("日本", "globex"));
    assert!(named.updated_at.0 > 5 && named.created_at.0 == 5);
    let moved = test.store.update_org(org, None, Some("nihon")).await.unwrap();
    assert_eq!((moved.name.as_str(), moved.slug.as_str()), ("日本", "nihon"));
    assert_eq!(test.store.org(org).await.unwrap(), Some(moved));
    let missing = test.store.update_org(OrgId::random(), Some("Any"), None).await;
    assert!(matches!(missing, Err(ControlError::NotFound("organization"))));
}

async fn bad_names_and_slugs_are_refused(test: TestStore) {
    let user = test.user("ada@globex.example").await;
    let org = test.store.create_org(user, "Globex", "globex").await.unwrap();
    let long = "x".repeat(51);
    for (name, slug) in [
        ("", "acme"),
        (" \t ", "acme"),
        ("a\0b", "acme"),
        (long.as_str(), "acme"),
        ("Acme", "ab"),
        ("Acme", "Acme"),
        ("Acme", "ac--me"),
        ("Acme", "acme-"),
        ("Acme", "ac\0me"),
        ("Acme", long.as_str()),
    ] {
        let made = test.store.create_org(user, name, slug).await;
        assert!(matches!(made, Err(ControlError::Invalid(_))), "{name:?} {slug:?}");
        let changed = test.store.update_org(org.id, Some(name), Some(slug)).await;
        assert!(
            matches!(changed, Err(ControlError::Invalid(_))),
            "{name:?} {slug:?}"
        );
    }
    let nothing = test.store.update_org(org.id, None, None).await;
    assert!(matches!(nothing, Err(ControlError::Invalid(_))));
    assert_eq!(test.store.org(org.id).await.unwrap(), Some(org));
}

/// Tables that have a column `org_id` today; another one must be deleted from, too.
async fn tables_of_orgs(test: &TestStore) -> BTreeSet<String> {
    let migrations = [
        include_str!("../../migrations/0001_control_store.sql"),
        include_str!("../../migrations/0002_accounts.sql"),
    ];
    let mut tables = BTreeSet::new();
    for table in migrations.concat().split("CREATE TABLE ").skip(1) {
        let (name, columns) = table.split_once('(').unwrap();
        let columns = columns.split_once(");").unwrap().0;
        let name = name.trim().trim_end_matches("_without_org");
        if columns.contains(" org_id TEXT") {
            test.number(&format!("SELECT COUNT(*) FROM {name}")).await;
            tables.insert(name.to_owned());
        }
    }
    assert!(
        tables.contains("memberships") && tables.contains("audit_log"),
        "{tables:?}"
    );
    tables
}

async fn a_deleted_organization_leaves_no_row_but_its_audit_log(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let kept = test.bootstrap("Initech", "owner@globex.example").await;
    for org in [made.org_id, kept.org_id] {
        test.fill(org, made.user_id).await;
    }
    let tables = tables_of_orgs(&test).await;
    let count = async |table: &str, org: OrgId| {
        let sql = format!("SELECT COUNT(*) FROM {table} WHERE org_id = '{}'", org.0);
        test.number(&sql).await
    };
    for table in &tables {
        assert!(
            count(table, made.org_id).await > 0,
            "{table} has nothing to delete"
        );
    }
    test.store.delete_org(made.org_id).await.unwrap();
    for table in &tables {
        let left = count(table, made.org_id).await;
        assert_eq!(left, i64::from(table == "audit_log"), "{table}");
        assert!(
            count(table, kept.org_id).await > 0,
            "{table} of another organization"
        );
    }
    assert_eq!(test.store.org(made.org_id).await.unwrap(), None);
    assert!(test.store.org(kept.org_id).await.unwrap().is_some());
    for unknown in [made.org_id, OrgId::random()] {
        let again = test.store.delete_org(unknown).await;
        assert!(matches!(again, Err(ControlError::NotFound("organization"))));
    }
}

async fn a_deleted_organizations_mappings_are_announced(test: TestStore) {
    const NUM_MAPPINGS: i64 = 1_201;
    let org = test.new_org().await;
    let other = test.bootstrap("Initech", "owner@initech.example").await.org_id;
    let upsert = async |org, name: &str| {
        let mapping = test
            .store
            .upsert_mapping(org, name, "customer", name, MatchType::Manual);
        mapping.await.unwrap()
    };
    let kept = upsert(other, "cus_0").await;
    let first = upsert(org, "cus_0").await;
    test.sql(&format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {NUM_MAPPINGS} - 1)
         INSERT INTO customer_mappings (id, org_id, stripe_customer_id, tag_key, tag_value, match_type, created_at)
         SELECT '00000000-0000-4000-8000-0000000' || (10000 + i), '{}', 'cus_' || i, 'customer', 'é' || i, 'auto', i
         FROM n",
        org.0
    ))
    .await;
    test.store.mark_published(u64::MAX).await.unwrap();
    test.store.delete_org(org).await.unwrap();

    let entries = test.store.next_outbox(10_000).await.unwrap();
    let mut removed = BTreeSet::new();
    for (entry, sequence) in entries.iter().zip(3..) {
        let change: MappingChange = serde_json::from_str(&entry.payload).unwrap();
        assert_eq!((entry.sequence, change.version), (sequence, sequence));
        assert_eq!(entry.key, change.mapping.id.to_string());
        assert!(change.deleted && change.mapping.org_id == org);
        removed.insert(change.mapping.id);
    }
    assert_eq!((entries.len(), removed.len()), (1_201, 1_201));
    assert!(removed.contains(&first.id));
    assert_eq!(test.store.list_mappings(other).await.unwrap(), [kept]);
    let woken = tokio::time::timeout(std::time::Duration::from_secs(5), test.store.wait_for_outbox());
    assert!(woken.await.is_ok(), "the publisher is woken");
    // Numbers go on without a gap.
    upsert(other, "cus_1").await;
    assert_eq!(
        test.store.next_outbox(10_000).await.unwrap()[1_201].sequence,
        1_204
    );
}

async fn a_deleted_organizations_keys_and_sessions_lose_it(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let member = test.member(made.org_id, "ada@globex.example", Role::Member).await;
    let key = test.store.create_api_key(made.org_id, member, draft("key"));
    let (_, secret) = key.await.unwrap();
    let token = test.store.create_session(member, made.org_id).await.unwrap();
    test.store.delete_org(made.org_id).await.unwrap();
    let hash = SecretHash::of(secret.expose());
    assert_eq!(test.store.resolve_api_key(hash).await.unwrap(), None);
    let session = test.store.resolve_session(token.expose()).await.unwrap().unwrap();
    assert_eq!(session.user_id, member);
    assert_eq!(session.org_id, test.store.personal_org(member).await.unwrap());
}
