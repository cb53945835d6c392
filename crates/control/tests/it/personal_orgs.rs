//! Personal organizations, and the organization that a session acts in.

use marginstream_control::ControlError;
use schemas::access::{Role, Tier};
use schemas::id::{OrgId, UserId};

use crate::support::{TestStore, store_tests};

store_tests! {
    a_personal_organization_is_made_once_and_owned
    many_who_ask_at_once_get_the_same_one
    a_taken_slug_does_not_stop_a_personal_organization
    who_left_the_organization_goes_on_in_the_personal_one
    a_session_without_an_organization_falls_back
    many_requests_of_one_session_fall_back_to_one_organization
    a_user_of_no_organization_signs_in_to_the_personal_one
    switching_lasts_and_needs_a_membership
    nobody_joins_or_changes_a_personal_organization
}

async fn a_personal_organization_is_made_once_and_owned(test: TestStore) {
    let user = test.user("ada@globex.example").await;
    let org = test.store.personal_org(user).await.unwrap();
    assert_eq!(test.store.personal_org(user).await.unwrap(), org);
    let stored = test.store.org(org).await.unwrap().unwrap();
    assert_eq!((stored.name.as_str(), stored.is_personal), ("Personal", true));
    let start = format!("user-{}-", &user.0.to_string()[..8]);
    assert!(stored.slug.starts_with(&start), "{}", stored.slug);
    assert_eq!(test.store.membership(org, user).await.unwrap(), Some(Role::Owner));
    assert_eq!(test.store.org_tier(org).await.unwrap(), Tier::Free);
    let unknown = test.store.personal_org(UserId::random()).await;
    assert!(
        matches!(unknown, Err(ControlError::NotFound("user"))),
        "{unknown:?}"
    );
}

async fn many_who_ask_at_once_get_the_same_one(test: TestStore) {
    let user = test.user("ada@globex.example").await;
    let stores = [test.store.clone(), test.connect_again().await];
    let tasks: Vec<_> = (0..20)
        .map(|index| {
            let store = stores[index % 2].clone();
            tokio::spawn(async move { store.personal_org(user).await.unwrap() })
        })
        .collect();
    let mut orgs = Vec::new();
    for task in tasks {
        orgs.push(task.await.unwrap());
    }
    orgs.dedup();
    assert_eq!(orgs.len(), 1);
    assert_eq!(test.number("SELECT COUNT(*) FROM orgs").await, 1);
    assert_eq!(test.number("SELECT COUNT(*) FROM memberships").await, 1);
}

/// Two users whose ids start alike may ask within one millisecond.
async fn a_taken_slug_does_not_stop_a_personal_organization(test: TestStore) {
    let mut users = Vec::new();
    for index in 0..20 {
        let id = format!("12345678-0000-4000-8000-{index:012}");
        test.sql(&format!(
            "INSERT INTO users (id, email, created_at) VALUES ('{id}', 'u{index}@a.example', 1)"
        ))
        .await;
        users.push(UserId(id.parse().unwrap()));
    }
    let tasks: Vec<_> = users
        .into_iter()
        .map(|user| {
            let store = test.store.clone();
            tokio::spawn(async move { store.personal_org(user).await.unwrap() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(test.number("SELECT COUNT(DISTINCT slug) FROM orgs").await, 20);
}

async fn who_left_the_organization_goes_on_in_the_personal_one(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let other = test.bootstrap("Initech", "owner@globex.example").await;
    let (user, org) = (made.user_id, made.org_id);
    let token = test.store.create_session(user, org).await.unwrap();
    let resolve = async || test.store.resolve_session(token.expose()).await.unwrap().unwrap();
    test.sql(&format!("DELETE FROM memberships WHERE org_id = '{}'", org.0))
        .await;
    let session = resolve().await;
    let personal = test.store.personal_org(user).await.unwrap();
    assert!(session.org_id == personal && personal != other.org_id);
    assert_eq!(
        (session.user_id, session.role, session.tier),
        (user, Some(Role::Owner), Tier::Free)
    );

    // It lasts: who joins again does not find themselves somewhere else in the middle of work.
    test.store.add_member(org, user, Role::Member).await.unwrap();
    assert_eq!(resolve().await, session);
    let orgs = test.number("SELECT COUNT(*) FROM orgs").await;
    assert_eq!(orgs, 3);
}

async fn a_session_without_an_organization_falls_back(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let token = test
        .store
        .create_session(made.user_id, made.org_id)
        .await
        .unwrap();
    test.sql("UPDATE sessions SET org_id = NULL").await;
    let session = test.store.resolve_session(token.expose()).await.unwrap().unwrap();
    assert_eq!(
        session.org_id,
        test.store.personal_org(made.user_id).await.unwrap()
    );
    // A role that is not one of the four is no reason to fall back: it passes no check.
    test.sql("UPDATE memberships SET role = '__proto__'").await;
    let fallen = test.store.resolve_session(token.expose()).await.unwrap().unwrap();
    assert_eq!((fallen.org_id, fallen.role), (session.org_id, None));

    test.sql("UPDATE sessions SET org_id = NULL, expires_at = 0")
        .await;
    assert_eq!(test.store.resolve_session(token.expose()).await.unwrap(), None);
}

async fn many_requests_of_one_session_fall_back_to_one_organization(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let token = test
        .store
        .create_session(made.user_id, made.org_id)
        .await
        .unwrap();
    test.sql("DELETE FROM memberships").await;
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (store, token) = (test.store.clone(), token.clone());
            tokio::spawn(async move { store.resolve_session(token.expose()).await.unwrap().unwrap() })
        })
        .collect();
    let personal = test.store.personal_org(made.user_id).await.unwrap();
    for task in tasks {
        let session = task.await.unwrap();
        assert_eq!((session.org_id, session.role), (personal, Some(Role::Owner)));
    }
    assert_eq!(test.number("SELECT COUNT(*) FROM orgs").await, 2);
}

async fn a_user_of_no_organization_signs_in_to_the_personal_one(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let joined = test.store.default_org(made.user_id).await.unwrap();
    assert_eq!(joined, Some(made.org_id), "what was joined first");
    assert_eq!(test.number("SELECT COUNT(*) FROM orgs").await, 1);

    let user = test.user("ada@globex.example").await;
    let org = test.store.default_org(user).await.unwrap();
    assert_eq!(org, Some(test.store.personal_org(user).await.unwrap()));
}

async fn switching_lasts_and_needs_a_membership(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let other = test.bootstrap("Initech", "owner@initech.example").await.org_id;
    let user = made.user_id;
    let token = test.store.create_session(user, made.org_id).await.unwrap();
    let token = token.expose();
    for foreign in [other, OrgId::random()] {
        let refused = test.store.switch_org(token, foreign).await;
        assert!(matches!(refused, Err(ControlError::Forbidden(_))), "{refused:?}");
    }
    test.store.add_member(other, user, Role::Viewer).await.unwrap();
    let session = test.store.switch_org(token, other).await.unwrap();
    assert_eq!(
        (session.user_id, session.org_id, session.role, session.tier),
        (user, other, Some(Role::Viewer), Tier::Pro)
    );
    assert_eq!(test.store.resolve_session(token).await.unwrap(), Some(session));

    test.sql("UPDATE memberships SET role = 'Owner' WHERE role = 'owner'")
        .await;
    let refused = test.store.switch_org(token, made.org_id).await;
    assert!(matches!(refused, Err(ControlError::Forbidden(_))));
    assert_eq!(test.store.resolve_session(token).await.unwrap(), Some(session));
    for unknown in ["", "unknown", "\0"] {
        let refused = test.store.switch_org(unknown, other).await;
        assert!(matches!(refused, Err(ControlError::NotFound("session"))));
    }
    test.sql("UPDATE sessions SET expires_at = 1").await;
    let over = test.store.switch_org(token, other).await;
    assert!(matches!(over, Err(ControlError::NotFound("session"))));
}

async fn nobody_joins_or_changes_a_personal_organization(test: TestStore) {
    let user = test.user("ada@globex.example").await;
    let guest = test.user("guest@globex.example").await;
    let org = test.store.personal_org(user).await.unwrap();
    let store = &test.store;
    let refused = [
        store.add_member(org, guest, Role::Viewer).await.unwrap_err(),
        store.update_org(org, Some("Mine"), None).await.unwrap_err(),
        store.delete_org(org).await.unwrap_err(),
        store.leave_org(org, user).await.unwrap_err(),
    ];
    for error in refused {
        assert!(matches!(error, ControlError::Forbidden(_)), "{error:?}");
    }
    let nobody = store.transfer_org(org, user, guest).await;
    assert!(matches!(nobody, Err(ControlError::NotFound("member"))));
    assert_eq!(store.membership(org, user).await.unwrap(), Some(Role::Owner));
}
