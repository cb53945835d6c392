//! Users whom an OpenID Connect issuer vouches for.

use marginstream_control::ControlError;

use crate::support::{TestStore, store_tests};

store_tests! {
    a_new_subject_gets_a_user_and_keeps_it
    a_verified_address_links_to_its_user
    an_address_that_is_not_verified_neither_links_nor_makes_a_user
    issuers_and_subjects_are_apart
    broken_identities_are_refused
    of_many_first_sign_ins_one_makes_the_user
}

const ISSUER: &str = "https://id.example";

async fn a_new_subject_gets_a_user_and_keeps_it(test: TestStore) {
    let upsert = async |email: &str, verified| {
        test.store
            .upsert_external_user(ISSUER, "subject-1", email, verified)
            .await
            .unwrap()
    };
    let user = upsert(" Ada@B.example ", true).await;
    let email = test.store.user_email(user).await.unwrap();
    assert_eq!(email.as_deref(), Some("ada@b.example"));
    // Only the subject counts from now on.
    for (email, verified) in [
        ("ada@b.example", false),
        ("other@b.example", true),
        ("broken", false),
    ] {
        assert_eq!(upsert(email, verified).await, user);
    }
    let email = test.store.user_email(user).await.unwrap();
    assert_eq!(email.as_deref(), Some("ada@b.example"));
    assert_eq!(test.number("SELECT COUNT(*) FROM users").await, 1);
    for password in ["", "any password"] {
        let signed_in = test.store.authenticate("ada@b.example", password).await;
        assert_eq!(signed_in.unwrap(), None, "there is no password");
    }
}

async fn a_verified_address_links_to_its_user(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let linked = test
        .store
        .upsert_external_user(ISSUER, "s", "OWNER@globex.example", true);
    assert_eq!(linked.await.unwrap(), made.user_id);
    let password = made.password.unwrap();
    let signed_in = test.store.authenticate("owner@globex.example", password.expose());
    assert_eq!(
        signed_in.await.unwrap(),
        Some(made.user_id),
        "the password still holds"
    );
}

/// Else who claims the address of another would be that user, or would be waiting for them.
async fn an_address_that_is_not_verified_neither_links_nor_makes_a_user(test: TestStore) {
    test.bootstrap("Globex", "owner@globex.example").await;
    for email in ["owner@globex.example", "new@globex.example"] {
        let refused = test.store.upsert_external_user(ISSUER, "s", email, false).await;
        assert!(matches!(refused, Err(ControlError::Forbidden(_))), "{email}");
    }
    assert_eq!(test.number("SELECT COUNT(*) FROM users").await, 1);
    let identities = test.number("SELECT COUNT(*) FROM external_identities");
    assert_eq!(identities.await, 0);
}

async fn issuers_and_subjects_are_apart(test: TestStore) {
    let upsert = async |issuer: &str, subject: &str, email: &str| {
        let user = test.store.upsert_external_user(issuer, subject, email, true);
        user.await.unwrap()
    };
    let first = upsert(ISSUER, "s", "a@b.example").await;
    let second = upsert("https://id.example/", "s", "b@b.example").await;
    let third = upsert(ISSUER, "S", "c@b.example").await;
    assert!(first != second && second != third && first != third);
    // Several identities may be one user.
    assert_eq!(upsert("https://other.example", "é", "a@b.example").await, first);
}

async fn broken_identities_are_refused(test: TestStore) {
    for (issuer, subject, email) in [
        ("", "s", "a@b.example"),
        (ISSUER, "", "a@b.example"),
        (ISSUER, "s\0", "a@b.example"),
        ("\0", "s", "a@b.example"),
        (ISSUER, "s", "nobody"),
        (ISSUER, "s", "a\0@b.example"),
    ] {
        let refused = test
            .store
            .upsert_external_user(issuer, subject, email, true)
            .await;
        assert!(
            matches!(refused, Err(ControlError::Invalid(_))),
            "{issuer:?} {subject:?}"
        );
    }
    assert_eq!(test.number("SELECT COUNT(*) FROM users").await, 0);
}

async fn of_many_first_sign_ins_one_makes_the_user(test: TestStore) {
    let stores = [test.store.clone(), test.connect_again().await];
    let tasks: Vec<_> = (0..12)
        .map(|index| {
            let store = stores[index % 2].clone();
            tokio::spawn(async move {
                store
                    .upsert_external_user(ISSUER, "s", "ada@b.example", true)
                    .await
                    .unwrap()
            })
        })
        .collect();
    let mut users = Vec::new();
    for task in tasks {
        users.push(task.await.unwrap());
    }
    users.dedup();
    assert_eq!(users.len(), 1);
    assert_eq!(test.number("SELECT COUNT(*) FROM users").await, 1);
}
