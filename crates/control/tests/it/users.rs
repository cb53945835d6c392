//! Users, as operators make and find them.

use marginstream_control::ControlError;
use schemas::id::UserId;

use crate::support::{TestStore, store_tests};

store_tests! {
    a_new_user_signs_in_with_the_password_that_was_told
    addresses_are_found_in_any_case_and_used_once
    users_are_listed_oldest_first
    what_is_no_address_makes_no_user
    of_many_who_make_one_user_one_does
}

async fn a_new_user_signs_in_with_the_password_that_was_told(test: TestStore) {
    let (user, password) = test.store.create_user(" Ada@Globex.Example ").await.unwrap();
    let signed_in = test
        .store
        .authenticate("ada@globex.example", password.expose())
        .await;
    assert_eq!(signed_in.unwrap(), Some(user));
    let email = test.store.user_email(user).await.unwrap();
    assert_eq!(email.as_deref(), Some("ada@globex.example"));
    assert_eq!(test.store.user_email(UserId::random()).await.unwrap(), None);
    assert_eq!(test.number("SELECT COUNT(*) FROM orgs").await, 0);
}

async fn addresses_are_found_in_any_case_and_used_once(test: TestStore) {
    let (user, _) = test.store.create_user("ÄDA@globex.example").await.unwrap();
    for same in ["äda@globex.example", " Äda@GLOBEX.example\t"] {
        assert_eq!(test.store.find_user(same).await.unwrap(), Some(user));
        let again = test.store.create_user(same).await;
        assert!(matches!(again, Err(ControlError::Conflict(_))));
    }
    for unknown in ["", "ada@globex.example", "äda@globex.example\0", "%"] {
        assert_eq!(test.store.find_user(unknown).await.unwrap(), None, "{unknown:?}");
    }
}

async fn users_are_listed_oldest_first(test: TestStore) {
    let newest = test.store.create_user("new@globex.example").await.unwrap().0;
    let oldest = test.user("old@globex.example").await;
    let users = test.store.list_users().await.unwrap();
    let listed: Vec<_> = users.iter().map(|user| (user.id, user.email.as_str())).collect();
    let expected = [(oldest, "old@globex.example"), (newest, "new@globex.example")];
    assert_eq!(listed, expected);
    assert_eq!(users[0].created_at.0, 1);
}

async fn what_is_no_address_makes_no_user(test: TestStore) {
    let long = format!("{}@globex.example", "a".repeat(254));
    for bad in ["", "ada", "a\0@globex.example", "a b@globex.example", &long] {
        let refused = test.store.create_user(bad).await;
        assert!(matches!(refused, Err(ControlError::Invalid(_))), "{bad:?}");
    }
    assert!(test.store.list_users().await.unwrap().is_empty());
}

async fn of_many_who_make_one_user_one_does(test: TestStore) {
    let tasks: Vec<_> = (0..6)
        .map(|_| {
            let store = test.store.clone();
            tokio::spawn(async move { store.create_user("ada@globex.example").await })
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
}
