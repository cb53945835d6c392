//! API keys: made, listed, changed, revoked.

use std::collections::BTreeSet;

use marginstream_control::{ApiKey, ApiKeyDraft, ApiKeyPatch, ControlError, SecretHash};
use schemas::id::{ApiKeyId, OrgId};
use schemas::tags::Tags;
use schemas::time::TimestampMs;

use crate::support::{TestStore, store_tests};

store_tests! {
    a_new_key_resolves_and_is_listed_without_its_secret
    a_patch_changes_what_it_names_and_nothing_else
    restrictions_tell_all_from_none
    a_revoked_key_is_gone_at_once_and_for_good
    keys_of_other_organizations_are_not_found
    pages_walk_over_equal_times_once_each
    no_secret_of_a_key_is_stored
}

pub(crate) fn draft(name: &str) -> ApiKeyDraft {
    ApiKeyDraft {
        name: name.into(),
        ..ApiKeyDraft::default()
    }
}

pub(crate) fn tags(pairs: &[(&str, &str)]) -> Tags {
    let owned = pairs.iter().map(|(key, value)| ((*key).into(), (*value).into()));
    owned.collect()
}

async fn a_new_key_resolves_and_is_listed_without_its_secret(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let wanted = ApiKeyDraft {
        name: "  etl nächtlich  ".into(),
        default_tags: tags(&[("team", "data"), ("empty", "")]),
        allowed_models: Some(vec!["gpt-5".into(), "模型\0".into()]),
        allowed_providers: None,
    };
    let (key, secret) = test
        .store
        .create_api_key(made.org_id, made.user_id, wanted)
        .await
        .unwrap();
    assert_eq!((key.name.as_str(), key.last_used_at), ("etl nächtlich", None));
    assert_eq!(key.key_prefix, secret.expose()[..19]);
    assert_eq!(key.allowed_models, Some(vec!["gpt-5".into(), "模型\0".into()]));

    let hash = SecretHash::of(secret.expose());
    let resolved = test.store.resolve_api_key(hash).await.unwrap().unwrap();
    assert_eq!(
        (resolved.key_id, resolved.org_id, resolved.user_id),
        (key.id, made.org_id, made.user_id)
    );
    assert_eq!(resolved.default_tags, tags(&[("team", "data"), ("empty", "")]));
    assert_eq!(resolved.api_version, "2026-04-01");
    assert!(resolved.owner_is_member);

    test.store
        .touch_api_keys(&[key.id], TimestampMs(5_000))
        .await
        .unwrap();
    let listed = test.store.list_api_keys(made.org_id, None, 10).await.unwrap();
    let used = ApiKey {
        last_used_at: Some(TimestampMs(5_000)),
        ..key
    };
    assert!(listed.contains(&used), "{listed:?}");
    assert_eq!(listed.len(), 2, "the first key of the organization, too");
}

async fn a_patch_changes_what_it_names_and_nothing_else(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let wanted = ApiKeyDraft {
        name: "first".into(),
        default_tags: tags(&[("team", "data")]),
        allowed_models: Some(vec!["m".into()]),
        allowed_providers: Some(vec!["openai".into()]),
    };
    let (key, _) = test
        .store
        .create_api_key(made.org_id, made.user_id, wanted)
        .await
        .unwrap();
    let update = async |patch| {
        test.store
            .update_api_key(made.org_id, key.id, patch)
            .await
            .unwrap()
    };
    assert_eq!(update(ApiKeyPatch::default()).await, key);

    let renamed = update(ApiKeyPatch {
        name: Some(" second ".into()),
        ..ApiKeyPatch::default()
    })
    .await;
    let expected = ApiKey {
        name: "second".into(),
        ..key.clone()
    };
    assert_eq!(renamed, expected);

    let cleared = update(ApiKeyPatch {
        default_tags: Some(Tags::new()),
        allowed_models: Some(None),
        ..ApiKeyPatch::default()
    })
    .await;
    let expected = ApiKey {
        default_tags: Tags::new(),
        allowed_models: None,
        ..expected
    };
    assert_eq!(cleared, expected);
    let listed = test.store.list_api_keys(made.org_id, None, 10).await.unwrap();
    assert!(listed.contains(&expected), "what is returned is what is stored");
}

async fn restrictions_tell_all_from_none(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let wanted = ApiKeyDraft {
        allowed_models: Some(Vec::new()),
        ..draft("none")
    };
    let (key, _) = test
        .store
        .create_api_key(made.org_id, made.user_id, wanted)
        .await
        .unwrap();
    let listed = test.store.list_api_keys(made.org_id, None, 10).await.unwrap();
    let stored = listed.iter().find(|listed| listed.id == key.id).unwrap();
    assert_eq!(stored.allowed_models, Some(Vec::new()), "no model");
    assert_eq!(stored.allowed_providers, None, "all providers");
    test.sql("UPDATE api_keys SET allowed_models = 'broken'").await;
    let corrupt = test.store.list_api_keys(made.org_id, None, 10).await;
    let column = "allowed_models";
    assert!(matches!(corrupt, Err(ControlError::Corrupt { column: found }) if found == column));
}

async fn a_revoked_key_is_gone_at_once_and_for_good(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let (org, key) = (made.org_id, made.api_key_id);
    let before = TimestampMs::now();
    let revoked_at = test.store.revoke_api_key(org, key).await.unwrap();
    assert!(before <= revoked_at && revoked_at <= TimestampMs::now());
    assert_eq!(test.number("SELECT revoked_at FROM api_keys").await, revoked_at.0);
    let hash = SecretHash::of(made.api_key.expose());
    assert_eq!(test.store.resolve_api_key(hash).await.unwrap(), None);
    assert!(test.store.list_api_keys(org, None, 10).await.unwrap().is_empty());
    assert_not_found(test.store.revoke_api_key(org, key).await);
    assert_not_found(test.store.update_api_key(org, key, ApiKeyPatch::default()).await);
    // Its name still labels the events that it brought.
    assert!(test.store.api_key_names(org).await.unwrap().contains_key(&key));
}

fn assert_not_found<T: std::fmt::Debug>(result: Result<T, ControlError>) {
    assert!(
        matches!(result, Err(ControlError::NotFound("API key"))),
        "{result:?}"
    );
}

async fn keys_of_other_organizations_are_not_found(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let other = test.bootstrap("Initech", "owner@initech.example").await.org_id;
    for (org, key) in [
        (other, made.api_key_id),
        (OrgId::random(), made.api_key_id),
        (made.org_id, ApiKeyId::random()),
    ] {
        assert_not_found(test.store.revoke_api_key(org, key).await);
        assert_not_found(test.store.update_api_key(org, key, ApiKeyPatch::default()).await);
    }
    assert_eq!(
        test.store
            .list_api_keys(made.org_id, None, 10)
            .await
            .unwrap()
            .len(),
        1
    );
    let unknown = test.store.list_api_keys(OrgId::random(), None, 10).await.unwrap();
    assert!(unknown.is_empty());
}

async fn pages_walk_over_equal_times_once_each(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    for index in 0..20 {
        let name = "x".repeat(index % 3 + 1);
        let key = test.store.create_api_key(made.org_id, made.user_id, draft(&name));
        key.await.unwrap();
    }
    test.sql("UPDATE api_keys SET created_at = LENGTH(name)").await;
    let mut walked = Vec::new();
    let mut after = None;
    loop {
        let page = test.store.list_api_keys(made.org_id, after, 4).await.unwrap();
        assert!(page.len() <= 4);
        let Some(last) = page.last() else { break };
        after = Some((last.created_at, last.id));
        walked.extend(page.iter().map(|key| (key.created_at, key.id.0.to_string())));
    }
    assert_eq!(walked.len(), 21);
    assert!(walked.is_sorted_by(|left, right| left > right), "{walked:?}");
    assert_eq!(walked.iter().collect::<BTreeSet<_>>().len(), 21);

    // A cursor need not name a row.
    let between = Some((TimestampMs(2), ApiKeyId(uuid::Uuid::nil())));
    let below = test.store.list_api_keys(made.org_id, between, 100).await.unwrap();
    assert!(!below.is_empty() && below.iter().all(|key| key.created_at.0 == 1));
    let none = test.store.list_api_keys(made.org_id, None, 0).await.unwrap();
    assert!(none.is_empty());
}

async fn no_secret_of_a_key_is_stored(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let (key, secret) = test
        .store
        .create_api_key(made.org_id, made.user_id, draft("key"))
        .await
        .unwrap();
    assert!(!format!("{key:?} {secret:?}").contains(&secret.expose()[19..]));
    let stored = test.stored().await;
    let holds = |text: &str| stored.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds(&secret.expose()[..19]) && !holds(secret.expose()));
}
