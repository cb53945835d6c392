//! Who may make API keys, how many, and what of.

use marginstream_control::{ApiKeyDraft, ApiKeyPatch, ControlError};
use schemas::access::{Role, Tier};
use schemas::id::{OrgId, UserId};

use crate::api_keys::{draft, tags};
use crate::support::{TestStore, store_tests};

store_tests! {
    only_members_above_viewers_make_keys
    a_free_organization_has_ten_active_keys_at_most
    of_many_who_want_the_last_key_one_gets_it
    broken_drafts_are_refused
}

async fn only_members_above_viewers_make_keys(test: TestStore) {
    let org = test.new_org().await;
    let user = test.member(org, "ada@globex.example", Role::Member).await;
    test.store.create_api_key(org, user, draft("one")).await.unwrap();
    for role in ["viewer", "__proto__", "Owner", ""] {
        test.sql(&format!(
            "UPDATE memberships SET role = '{role}' WHERE user_id = '{}'",
            user.0
        ))
        .await;
        let refused = test.store.create_api_key(org, user, draft("two")).await;
        assert!(matches!(refused, Err(ControlError::Forbidden(_))), "{role}");
    }
    for (org, user) in [(org, UserId::random()), (OrgId::random(), user)] {
        let refused = test.store.create_api_key(org, user, draft("two")).await;
        assert!(matches!(refused, Err(ControlError::Forbidden(_))));
    }
    assert_eq!(test.number("SELECT COUNT(*) FROM api_keys").await, 2);
}

async fn a_free_organization_has_ten_active_keys_at_most(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let create = async || {
        test.store
            .create_api_key(made.org_id, made.user_id, draft("key"))
            .await
    };
    test.store.set_tier(made.org_id, Tier::Free).await.unwrap();
    for _ in 1..10 {
        create().await.unwrap();
    }
    let Err(ControlError::LimitExceeded(message)) = create().await else {
        panic!("an eleventh key");
    };
    assert_eq!(message, "the Free plan allows at most 10 active API keys");
    // Another organization's keys do not count, and a revoked one does no more.
    let other = test.bootstrap("Initech", "owner@globex.example").await.org_id;
    test.store.set_tier(other, Tier::Free).await.unwrap();
    test.store
        .create_api_key(other, made.user_id, draft("key"))
        .await
        .unwrap();
    test.store
        .revoke_api_key(made.org_id, made.api_key_id)
        .await
        .unwrap();
    create().await.unwrap();
    assert!(matches!(create().await, Err(ControlError::LimitExceeded(_))));

    test.store.set_tier(made.org_id, Tier::Pro).await.unwrap();
    create().await.unwrap();
    test.sql("UPDATE subscriptions SET status = 'canceled'").await;
    assert!(matches!(create().await, Err(ControlError::LimitExceeded(_))));
}

async fn of_many_who_want_the_last_key_one_gets_it(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    test.store.set_tier(made.org_id, Tier::Free).await.unwrap();
    for _ in 1..9 {
        let key = test.store.create_api_key(made.org_id, made.user_id, draft("key"));
        key.await.unwrap();
    }
    let stores = [test.store.clone(), test.connect_again().await];
    let tasks: Vec<_> = (0..12)
        .map(|index| {
            let store = stores[index % 2].clone();
            tokio::spawn(async move {
                store
                    .create_api_key(made.org_id, made.user_id, draft("key"))
                    .await
            })
        })
        .collect();
    let mut num_made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => num_made += 1,
            Err(error) => assert!(matches!(error, ControlError::LimitExceeded(_)), "{error:?}"),
        }
    }
    assert_eq!(num_made, 1);
    assert_eq!(test.number("SELECT COUNT(*) FROM api_keys").await, 10);
}

async fn broken_drafts_are_refused(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let many = (0..11).map(|index| (format!("k{index}"), String::new()));
    let lists = [vec![String::new()], vec!["m".repeat(101)], vec!["m".into(); 51]];
    let mut broken = vec![
        draft("  "),
        draft("a\0b"),
        draft(&"é".repeat(51)),
        ApiKeyDraft {
            default_tags: many.collect(),
            ..draft("tags")
        },
    ];
    for (key, value) in [("_ns_estimated", "true"), ("a b", ""), ("", ""), ("a", "\0")] {
        broken.push(ApiKeyDraft {
            default_tags: tags(&[(key, value)]),
            ..draft("tags")
        });
    }
    for list in lists {
        broken.push(ApiKeyDraft {
            allowed_providers: Some(list),
            ..draft("list")
        });
    }
    for draft in broken {
        let refused = test
            .store
            .create_api_key(made.org_id, made.user_id, draft.clone())
            .await;
        assert!(matches!(refused, Err(ControlError::Invalid(_))), "{draft:?}");
    }
    let renamed = ApiKeyPatch {
        name: Some(" ".into()),
        ..ApiKeyPatch::default()
    };
    let refused = test
        .store
        .update_api_key(made.org_id, made.api_key_id, renamed)
        .await;
    assert!(matches!(refused, Err(ControlError::Invalid(_))));
    let longest = draft(&"é".repeat(50));
    test.store
        .create_api_key(made.org_id, made.user_id, longest)
        .await
        .unwrap();
    assert_eq!(test.number("SELECT COUNT(*) FROM api_keys").await, 2);
}
