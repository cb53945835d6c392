//! The first owner, and the API key that comes with the organization.

use marginstream_control::{BootstrapRequest, ControlError, SecretHash};
use schemas::access::Tier;
use schemas::id::ApiKeyId;
use schemas::time::TimestampMs;

use crate::support::{TestStore, store_tests};

store_tests! {
    a_new_owner_gets_everything_to_start_with
    a_free_organization_has_a_subscription_row_too
    a_known_user_is_reused_and_keeps_the_password
    bad_names_and_addresses_leave_nothing_behind
    no_secret_is_printed_or_stored
    revoked_and_unknown_keys_resolve_to_nothing
    a_key_tells_whether_its_owner_is_still_a_member
    default_tags_come_with_the_key
    a_key_is_touched_at_most_once_a_minute
    concurrent_bootstraps_share_one_user_and_get_slugs_of_their_own
}

async fn a_new_owner_gets_everything_to_start_with(test: TestStore) {
    let made = test.bootstrap(" Globex Corp. ", " Owner@Globex.Example ").await;
    assert_eq!(made.email, "owner@globex.example");
    let password = made.password.as_ref().unwrap();
    assert!(password.expose().len() >= 20);
    assert_eq!(
        test.store
            .authenticate("OWNER@globex.example", password.expose())
            .await
            .unwrap(),
        Some(made.user_id)
    );

    let org = test.store.org(made.org_id).await.unwrap().unwrap();
    assert_eq!(
        (org.name.as_str(), org.slug.as_str(), org.is_personal),
        ("Globex Corp.", "globex-corp", false)
    );
    assert_eq!(
        test.store.default_org(made.user_id).await.unwrap(),
        Some(made.org_id)
    );
    assert_eq!(test.store.org_tier(made.org_id).await.unwrap(), Tier::Pro);
    assert_eq!(
        test.number("SELECT COUNT(*) FROM memberships WHERE role = 'owner'")
            .await,
        1
    );

    let key = test
        .store
        .resolve_api_key(SecretHash::of(made.api_key.expose()))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        (key.key_id, key.org_id, key.user_id),
        (made.api_key_id, made.org_id, made.user_id)
    );
    assert_eq!(
        (key.name.as_str(), key.api_version.as_str()),
        ("default", "2026-04-01")
    );
    assert!(key.owner_is_member && key.default_tags.is_empty());
    assert_eq!(key.tier, Tier::Pro);
}

async fn a_free_organization_has_a_subscription_row_too(test: TestStore) {
    let request = BootstrapRequest {
        org_name: "Tiny".into(),
        email: "a@b.example".into(),
        tier: Tier::Free,
    };
    test.store.bootstrap(request).await.unwrap();
    assert_eq!(
        test.number("SELECT COUNT(*) FROM subscriptions WHERE tier = 'free'")
            .await,
        1
    );
}

async fn a_known_user_is_reused_and_keeps_the_password(test: TestStore) {
    let first = test.bootstrap("Globex", "owner@globex.example").await;
    let second = test.bootstrap("Globex", "OWNER@GLOBEX.EXAMPLE").await;
    assert_eq!(first.user_id, second.user_id);
    assert!(second.password.is_none());
    let password = first.password.unwrap();
    let user = test
        .store
        .authenticate("owner@globex.example", password.expose())
        .await
        .unwrap();
    assert_eq!(user, Some(first.user_id));

    let slugs: Vec<String> = test
        .store
        .list_orgs()
        .await
        .unwrap()
        .into_iter()
        .map(|org| org.slug)
        .collect();
    assert_eq!(slugs.len(), 2);
    assert!(slugs.contains(&"globex".to_owned()));
    assert!(
        slugs
            .iter()
            .all(|slug| slug.starts_with("globex") && slug.len() <= 50)
    );
}

async fn bad_names_and_addresses_leave_nothing_behind(test: TestStore) {
    for (org_name, email) in [("", "a@b.example"), ("Globex", "nobody")] {
        let request = BootstrapRequest {
            org_name: org_name.into(),
            email: email.into(),
            tier: Tier::Pro,
        };
        assert!(matches!(
            test.store.bootstrap(request).await,
            Err(ControlError::Invalid(_))
        ));
    }
    assert_eq!(test.number("SELECT COUNT(*) FROM users").await, 0);
}

async fn no_secret_is_printed_or_stored(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let session = test
        .store
        .create_session(made.user_id, made.org_id)
        .await
        .unwrap();
    let password = made.password.clone().unwrap();
    let secrets = [made.api_key.expose(), session.expose(), password.expose()];

    let printed = format!("{made:?} {session:?} {:?}", test.store);
    let stored = test.stored().await;
    assert!(
        holds(&stored, "owner@globex.example"),
        "what is looked through has the rows"
    );
    for secret in secrets {
        assert!(!printed.contains(secret));
        assert!(!holds(&stored, secret));
    }
    // The displayable start of the key is stored, the rest is not.
    assert!(!printed.contains(&made.api_key.expose()[19..]));
}

fn holds(stored: &[u8], text: &str) -> bool {
    stored.windows(text.len()).any(|window| window == text.as_bytes())
}

async fn revoked_and_unknown_keys_resolve_to_nothing(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    for unknown in [
        "",
        "ns_live_sk_",
        "x' OR 1=1 --",
        &made.api_key.expose().to_uppercase(),
    ] {
        assert_eq!(
            test.store.resolve_api_key(SecretHash::of(unknown)).await.unwrap(),
            None
        );
    }
    test.sql("UPDATE api_keys SET revoked_at = 1").await;
    assert_eq!(
        test.store
            .resolve_api_key(SecretHash::of(made.api_key.expose()))
            .await
            .unwrap(),
        None
    );
    let names = test.store.api_key_names(made.org_id).await.unwrap();
    assert_eq!(names.get(&made.api_key_id).map(String::as_str), Some("default"));
}

async fn a_key_tells_whether_its_owner_is_still_a_member(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let hash = SecretHash::of(made.api_key.expose());
    for (change, tier) in [
        ("UPDATE memberships SET role = '__proto__'", Tier::Pro),
        (
            "DELETE FROM memberships; UPDATE subscriptions SET status = 'canceled'",
            Tier::Free,
        ),
    ] {
        test.sql(change).await;
        let key = test.store.resolve_api_key(hash).await.unwrap().unwrap();
        assert!(!key.owner_is_member, "{change}");
        assert_eq!(key.tier, tier);
    }
}

async fn default_tags_come_with_the_key(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let hash = SecretHash::of(made.api_key.expose());
    test.sql(r#"UPDATE api_keys SET default_tags = '{"team":"data"}'"#)
        .await;
    let key = test.store.resolve_api_key(hash).await.unwrap().unwrap();
    assert_eq!(key.default_tags.get("team").map(String::as_str), Some("data"));
    test.sql("UPDATE api_keys SET default_tags = 'broken'").await;
    let corrupt = test.store.resolve_api_key(hash).await;
    assert!(matches!(
        corrupt,
        Err(ControlError::Corrupt {
            column: "default_tags"
        })
    ));
}

async fn a_key_is_touched_at_most_once_a_minute(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let keys = [made.api_key_id, ApiKeyId::random()];
    for (at, written) in [(100_000, 1), (159_999, 0), (160_000, 1), (90_000, 0)] {
        assert_eq!(
            test.store.touch_api_keys(&keys, TimestampMs(at)).await.unwrap(),
            written,
            "at {at}"
        );
    }
    assert_eq!(test.number("SELECT last_used_at FROM api_keys").await, 160_000);
    assert_eq!(test.store.touch_api_keys(&[], TimestampMs(0)).await.unwrap(), 0);
}

/// Each looks the user up before it writes: the write lock must be held from the start.
async fn concurrent_bootstraps_share_one_user_and_get_slugs_of_their_own(test: TestStore) {
    let stores = [test.store.clone(), test.connect_again().await];
    let tasks: Vec<_> = (0..20)
        .map(|index| {
            let store = stores[index % 2].clone();
            let request = BootstrapRequest {
                org_name: "Globex".into(),
                email: "a@b.example".into(),
                tier: Tier::Pro,
            };
            tokio::spawn(async move { store.bootstrap(request).await.unwrap() })
        })
        .collect();
    let mut num_passwords = 0;
    for task in tasks {
        num_passwords += usize::from(task.await.unwrap().password.is_some());
    }
    assert_eq!(num_passwords, 1);
    assert_eq!(test.number("SELECT COUNT(*) FROM users").await, 1);
    assert_eq!(test.number("SELECT COUNT(DISTINCT slug) FROM orgs").await, 20);
}
