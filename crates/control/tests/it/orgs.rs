//! Organizations, tiers, settings.

use marginstream_control::ControlError;
use schemas::access::Tier;
use schemas::id::{OrgId, UserId};

use crate::support::{TestStore, store_tests};

store_tests! {
    settings_belong_to_one_organization
    only_active_and_past_due_subscriptions_count
    unknown_ids_give_nothing
    organizations_are_listed_oldest_first
}

async fn settings_belong_to_one_organization(test: TestStore) {
    let org = test.new_org().await;
    let other = test.bootstrap("Initech", "owner@initech.example").await.org_id;
    assert_eq!(test.store.setting(org, "allowApiKeyReads").await.unwrap(), None);
    test.store
        .set_setting(org, "allowApiKeyReads", "true")
        .await
        .unwrap();
    test.store
        .set_setting(org, "allowApiKeyReads", "false")
        .await
        .unwrap();
    assert_eq!(
        test.store
            .setting(org, "allowApiKeyReads")
            .await
            .unwrap()
            .as_deref(),
        Some("false")
    );
    assert_eq!(test.store.setting(other, "allowApiKeyReads").await.unwrap(), None);
    assert_eq!(test.store.setting(org, "\0").await.unwrap(), None);
    for (name, value) in [("a\0", "1"), ("a", "\0")] {
        let refused = test.store.set_setting(org, name, value).await;
        assert!(matches!(refused, Err(ControlError::Invalid(_))));
    }
    let missing = test.store.set_setting(OrgId::random(), "any", "1").await;
    assert!(matches!(missing, Err(ControlError::NotFound("organization"))));
}

async fn only_active_and_past_due_subscriptions_count(test: TestStore) {
    let org = test.new_org().await;
    for (status, tier) in [
        ("past_due", Tier::Pro),
        ("canceled", Tier::Free),
        ("active", Tier::Pro),
    ] {
        test.sql(&format!("UPDATE subscriptions SET status = '{status}'"))
            .await;
        assert_eq!(test.store.org_tier(org).await.unwrap(), tier, "{status}");
    }
    test.sql("DELETE FROM subscriptions").await;
    assert_eq!(test.store.org_tier(org).await.unwrap(), Tier::Free);
}

async fn unknown_ids_give_nothing(test: TestStore) {
    assert_eq!(test.store.org(OrgId::random()).await.unwrap(), None);
    assert_eq!(test.store.default_org(UserId::random()).await.unwrap(), None);
    assert!(test.store.list_orgs().await.unwrap().is_empty());
    assert!(
        test.store
            .api_key_names(OrgId::random())
            .await
            .unwrap()
            .is_empty()
    );
}

async fn organizations_are_listed_oldest_first(test: TestStore) {
    for name in ["First", "Second", "Third"] {
        test.bootstrap(name, "owner@globex.example").await;
        test.sql("UPDATE orgs SET created_at = created_at - 1000").await;
    }
    let names: Vec<String> = test
        .store
        .list_orgs()
        .await
        .unwrap()
        .into_iter()
        .map(|org| org.name)
        .collect();
    assert_eq!(names, ["First", "Second", "Third"]);
}
