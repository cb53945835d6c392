//! Customer mappings: their uniqueness, what survives, what is announced.

use marginstream_control::ControlError;
use schemas::id::OrgId;
use schemas::mapping::MatchType;
use uuid::Uuid;

use crate::support::{TestStore, store_tests};

store_tests! {
    an_upsert_keeps_id_and_creation
    a_tag_value_of_another_customer_is_a_conflict_and_changes_nothing
    tag_keys_and_organizations_are_apart
    mappings_are_listed_oldest_first_then_by_id
    only_the_owner_of_a_mapping_deletes_it_and_once
    bad_texts_and_unknown_organizations_are_refused
    of_many_who_want_one_tag_value_one_gets_it
    concurrent_upserts_of_one_customer_end_in_one_mapping
}

async fn an_upsert_keeps_id_and_creation(test: TestStore) {
    let org = test.new_org().await;
    let first = test
        .store
        .upsert_mapping(org, "cus_1", "customer", "globex", MatchType::Auto)
        .await
        .unwrap();
    assert_eq!((first.confidence, first.match_type), (None, MatchType::Auto));
    test.sql("UPDATE customer_mappings SET created_at = 12345").await;

    let second = test
        .store
        .upsert_mapping(org, "cus_1", "customer", "Globex", MatchType::Manual)
        .await
        .unwrap();
    assert_eq!((second.id, second.created_at.0), (first.id, 12345));
    assert_eq!(
        (second.tag_value.as_str(), second.confidence),
        ("Globex", Some(100))
    );
    assert_eq!(
        test.store.list_mappings(org).await.unwrap(),
        std::slice::from_ref(&second)
    );

    let same = test
        .store
        .upsert_mapping(org, "cus_1", "customer", "Globex", MatchType::Manual)
        .await
        .unwrap();
    assert_eq!(same, second, "repeating it is no conflict with itself");
}

async fn a_tag_value_of_another_customer_is_a_conflict_and_changes_nothing(test: TestStore) {
    let org = test.new_org().await;
    let store = &test.store;
    store
        .upsert_mapping(org, "cus_1", "customer", "globex", MatchType::Manual)
        .await
        .unwrap();
    store
        .upsert_mapping(org, "cus_2", "customer", "initech", MatchType::Manual)
        .await
        .unwrap();
    let before = (
        store.list_mappings(org).await.unwrap(),
        store.next_outbox(10).await.unwrap(),
    );

    // One by insert, one by update of a mapping that exists.
    for customer in ["cus_3", "cus_2"] {
        let taken = store
            .upsert_mapping(org, customer, "customer", "globex", MatchType::Manual)
            .await;
        assert!(matches!(taken, Err(ControlError::Conflict(_))), "{customer}");
    }
    let after = (
        store.list_mappings(org).await.unwrap(),
        store.next_outbox(10).await.unwrap(),
    );
    assert_eq!(before, after, "a failed write leaves no outbox row");

    let next = store
        .upsert_mapping(org, "cus_3", "customer", "hooli", MatchType::Manual)
        .await;
    assert!(next.is_ok());
    let last = store.next_outbox(10).await.unwrap().pop().unwrap();
    assert_eq!(last.sequence, 3, "a failed write leaves no gap");
}

async fn tag_keys_and_organizations_are_apart(test: TestStore) {
    let org = test.new_org().await;
    let other = test.bootstrap("Initech", "owner@initech.example").await.org_id;
    let store = &test.store;
    let customer = store
        .upsert_mapping(org, "cus_1", "customer", "globex", MatchType::Manual)
        .await
        .unwrap();
    let team = store
        .upsert_mapping(org, "cus_1", "team", "globex", MatchType::Manual)
        .await
        .unwrap();
    let foreign = store
        .upsert_mapping(other, "cus_1", "customer", "globex", MatchType::Manual)
        .await
        .unwrap();

    let all = store.list_mappings(org).await.unwrap();
    assert_eq!(all.len(), 2);
    assert!(all.contains(&customer) && all.contains(&team));
    assert_eq!(
        store.list_customer_mappings(org).await.unwrap(),
        std::slice::from_ref(&customer)
    );
    assert_eq!(
        store.find_customer_mapping(org, "globex").await.unwrap(),
        Some(customer)
    );
    for unknown in ["Globex", "globex\0", "\0"] {
        assert_eq!(store.find_customer_mapping(org, unknown).await.unwrap(), None);
    }
    assert_eq!(
        store.find_customer_mapping(other, "globex").await.unwrap(),
        Some(foreign)
    );
}

async fn mappings_are_listed_oldest_first_then_by_id(test: TestStore) {
    let org = test.new_org().await;
    for index in 0..20 {
        let name = format!("customer-{index}");
        test.store
            .upsert_mapping(org, &name, "customer", &name, MatchType::Auto)
            .await
            .unwrap();
    }
    test.sql("UPDATE customer_mappings SET created_at = LENGTH(tag_value)")
        .await;
    let listed = test.store.list_mappings(org).await.unwrap();
    let order: Vec<_> = listed
        .iter()
        .map(|mapping| (mapping.created_at, mapping.id.to_string()))
        .collect();
    assert_eq!(listed.len(), 20);
    assert!(order.is_sorted());
}

async fn only_the_owner_of_a_mapping_deletes_it_and_once(test: TestStore) {
    let org = test.new_org().await;
    let store = &test.store;
    let mapping = store
        .upsert_mapping(org, "cus_1", "customer", "globex", MatchType::Manual)
        .await
        .unwrap();
    for (org, id) in [(OrgId::random(), mapping.id), (org, Uuid::new_v4())] {
        assert!(matches!(
            store.delete_mapping(org, id).await,
            Err(ControlError::NotFound("mapping"))
        ));
    }
    store.delete_mapping(org, mapping.id).await.unwrap();
    assert!(store.list_mappings(org).await.unwrap().is_empty());
    assert!(matches!(
        store.delete_mapping(org, mapping.id).await,
        Err(ControlError::NotFound("mapping"))
    ));
    assert_eq!(store.next_outbox(10).await.unwrap().len(), 2);
    // The value is free again.
    store
        .upsert_mapping(org, "cus_2", "customer", "globex", MatchType::Manual)
        .await
        .unwrap();
}

async fn bad_texts_and_unknown_organizations_are_refused(test: TestStore) {
    let org = test.new_org().await;
    let long = "x".repeat(256);
    for bad in ["", "a\0b", "a\u{7f}b", long.as_str()] {
        let refused = test
            .store
            .upsert_mapping(org, "cus_1", "customer", bad, MatchType::Manual)
            .await;
        assert!(matches!(refused, Err(ControlError::Invalid(_))), "{bad:?}");
    }
    let longest = "é".repeat(255);
    test.store
        .upsert_mapping(org, "cus_1", "customer", &longest, MatchType::Manual)
        .await
        .unwrap();
    let stray = test
        .store
        .upsert_mapping(OrgId::random(), "c", "customer", "v", MatchType::Manual)
        .await;
    assert!(matches!(stray, Err(ControlError::NotFound("organization"))));
}

async fn of_many_who_want_one_tag_value_one_gets_it(test: TestStore) {
    let org = test.new_org().await;
    let stores = [test.store.clone(), test.connect_again().await];
    let tasks: Vec<_> = (0..40)
        .map(|index| {
            let store = stores[index % 2].clone();
            let customer = format!("cus_{index}");
            tokio::spawn(async move {
                store
                    .upsert_mapping(org, &customer, "customer", "globex", MatchType::Manual)
                    .await
            })
        })
        .collect();
    let mut num_won = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => num_won += 1,
            Err(error) => assert!(matches!(error, ControlError::Conflict(_)), "{error:?}"),
        }
    }
    assert_eq!(num_won, 1);
    assert_eq!(test.store.list_mappings(org).await.unwrap().len(), 1);
    assert_eq!(test.store.next_outbox(100).await.unwrap().len(), 1);
}

async fn concurrent_upserts_of_one_customer_end_in_one_mapping(test: TestStore) {
    let org = test.new_org().await;
    let stores = [test.store.clone(), test.connect_again().await];
    let tasks: Vec<_> = (0..60)
        .map(|index| {
            let store = stores[index % 2].clone();
            let value = format!("value-{index}");
            tokio::spawn(async move {
                store
                    .upsert_mapping(org, "cus_1", "customer", &value, MatchType::Manual)
                    .await
                    .unwrap()
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let mappings = test.store.list_mappings(org).await.unwrap();
    let entries = test.store.next_outbox(100).await.unwrap();
    assert_eq!((mappings.len(), entries.len()), (1, 60));
    // The change with the largest version is the state that the store ended in.
    let last: schemas::mapping::MappingChange = serde_json::from_str(&entries[59].payload).unwrap();
    assert_eq!(last.mapping, mappings[0]);
}
