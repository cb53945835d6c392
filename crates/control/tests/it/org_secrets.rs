//! Secrets of organizations, and the rotation of the keys that seal them.

use std::num::NonZeroU32;

use marginstream_control::{ControlError, Keyring, RotationReport};
use schemas::id::OrgId;

use crate::support::{TestStore, store_tests};

store_tests! {
    a_secret_is_read_back_and_stored_sealed
    secrets_belong_to_one_organization_and_one_name
    a_secret_that_is_moved_in_the_store_is_not_opened
    bad_names_are_refused_or_unknown
    a_rotation_seals_everything_under_the_newest_key
    a_rotation_passes_over_what_it_cannot_open_and_names_it
    secrets_written_during_a_rotation_are_not_lost
}

fn key(version: u32) -> String {
    let version = NonZeroU32::new(version).unwrap();
    Keyring::generate_key(version).unwrap().expose().to_owned()
}

fn keyring(keys: &[&str]) -> Keyring {
    Keyring::parse(&keys.join("\n")).unwrap()
}

async fn a_secret_is_read_back_and_stored_sealed(test: TestStore) {
    let org = test.new_org().await;
    let keyring = keyring(&[&key(1)]);
    assert_eq!(test.store.secret(&keyring, org, "stripe").await.unwrap(), None);
    for value in ["sk_live_first", "sk_live_é\0"] {
        test.store
            .set_secret(&keyring, org, "stripe", value)
            .await
            .unwrap();
        let secret = test.store.secret(&keyring, org, "stripe").await.unwrap().unwrap();
        assert_eq!(secret.expose(), value);
        assert_eq!(format!("{secret:?}"), "OpenedSecret(..)");
    }
    test.store.delete_secret(org, "stripe").await.unwrap();
    test.store.delete_secret(org, "stripe").await.unwrap();
    assert_eq!(test.store.secret(&keyring, org, "stripe").await.unwrap(), None);

    test.store
        .set_secret(&keyring, org, "stripe", "sk_live_last")
        .await
        .unwrap();
    let stored = test.stored().await;
    let holds = |text: &str| stored.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("v1:") && !holds("sk_live_last"));
}

async fn secrets_belong_to_one_organization_and_one_name(test: TestStore) {
    let org = test.new_org().await;
    let other = test.bootstrap("Initech", "owner@initech.example").await.org_id;
    let keyring = keyring(&[&key(1)]);
    for (org, name, value) in [(org, "stripe", "a"), (org, "slack", "b"), (other, "stripe", "c")] {
        test.store.set_secret(&keyring, org, name, value).await.unwrap();
    }
    test.store.delete_secret(org, "stripe").await.unwrap();
    let secret = async |org, name| {
        let opened = test.store.secret(&keyring, org, name).await.unwrap();
        opened.map(|secret| secret.expose().to_owned())
    };
    assert_eq!(secret(org, "stripe").await, None);
    assert_eq!(secret(org, "slack").await.as_deref(), Some("b"));
    assert_eq!(secret(other, "stripe").await.as_deref(), Some("c"));
    let nobody = test.store.set_secret(&keyring, OrgId::random(), "stripe", "a");
    assert!(matches!(
        nobody.await,
        Err(ControlError::NotFound("organization"))
    ));
}

async fn a_secret_that_is_moved_in_the_store_is_not_opened(test: TestStore) {
    let org = test.new_org().await;
    let other = test.bootstrap("Initech", "owner@initech.example").await.org_id;
    let keyring = keyring(&[&key(1)]);
    test.store
        .set_secret(&keyring, org, "stripe", "sk_live")
        .await
        .unwrap();
    test.sql(&format!(
        "INSERT INTO org_secrets (org_id, name, sealed) SELECT '{}', 'stripe', sealed FROM org_secrets;
         INSERT INTO org_secrets (org_id, name, sealed)
         SELECT org_id, 'slack', sealed FROM org_secrets WHERE org_id = '{}'",
        other.0, org.0
    ))
    .await;
    for (org, name) in [(other, "stripe"), (org, "slack")] {
        let moved = test.store.secret(&keyring, org, name).await;
        assert!(matches!(moved, Err(ControlError::Corrupt { .. })), "{name}");
    }
    assert!(test.store.secret(&keyring, org, "stripe").await.is_ok());
}

async fn bad_names_are_refused_or_unknown(test: TestStore) {
    let org = test.new_org().await;
    let keyring = keyring(&[&key(1)]);
    for name in ["", "a\0b"] {
        let refused = test.store.set_secret(&keyring, org, name, "value").await;
        assert!(matches!(refused, Err(ControlError::Invalid(_))));
        assert_eq!(test.store.secret(&keyring, org, name).await.unwrap(), None);
        test.store.delete_secret(org, name).await.unwrap();
    }
}

async fn fill(test: &TestStore, keyring: &Keyring, org: OrgId, num_secrets: usize) {
    for index in 0..num_secrets {
        let name = format!("secret-{index}");
        let set = test.store.set_secret(keyring, org, &name, &name);
        set.await.unwrap();
    }
}

async fn a_rotation_seals_everything_under_the_newest_key(test: TestStore) {
    let (first, second) = (key(1), key(10));
    let (old, both) = (keyring(&[&first]), keyring(&[&first, &second]));
    let org = test.new_org().await;
    let other = test.bootstrap("Initech", "owner@initech.example").await.org_id;
    // More than one transaction's worth.
    fill(&test, &old, org, 150).await;
    fill(&test, &old, other, 55).await;
    test.store.set_secret(&both, other, "new", "new").await.unwrap();
    let report = test.store.rotate_secrets(&both).await.unwrap();
    let expected = RotationReport {
        num_rotated: 205,
        unreadable: Vec::new(),
    };
    assert_eq!(report, expected);
    let report = test.store.rotate_secrets(&both).await.unwrap();
    assert_eq!(report, RotationReport::default(), "nothing is left to do");

    let new = keyring(&[&second]);
    for (org, index) in [(org, 0), (org, 149), (other, 54)] {
        let name = format!("secret-{index}");
        let secret = test.store.secret(&new, org, &name).await.unwrap().unwrap();
        assert_eq!(secret.expose(), name);
        let gone = test.store.secret(&old, org, &name).await;
        assert!(matches!(gone, Err(ControlError::MissingKey { .. })));
    }
}

async fn a_rotation_passes_over_what_it_cannot_open_and_names_it(test: TestStore) {
    let (first, second, third) = (key(1), key(2), key(3));
    let org = test.new_org().await;
    let store = &test.store;
    let mut unreadable = Vec::new();
    let oldest = keyring(&[&first]);
    for index in 100..220 {
        let name = format!("lost-{index}");
        store.set_secret(&oldest, org, &name, "value").await.unwrap();
        unreadable.push((org, name));
    }
    let older = keyring(&[&second]);
    for name in ["kept", "torn"] {
        store.set_secret(&older, org, name, "value").await.unwrap();
    }
    test.sql("UPDATE org_secrets SET sealed = 'v2:AAAA' WHERE name = 'torn'")
        .await;
    unreadable.push((org, "torn".to_owned()));
    let rotating = keyring(&[&second, &third]);
    let report = store.rotate_secrets(&rotating).await.unwrap();
    let expected = RotationReport {
        num_rotated: 1,
        unreadable,
    };
    assert_eq!(report, expected);
    // With the key that was missing, a second call goes on.
    let all = keyring(&[&first, &second, &third]);
    let report = store.rotate_secrets(&all).await.unwrap();
    let torn = vec![(org, "torn".to_owned())];
    assert_eq!((report.num_rotated, report.unreadable), (120, torn));
}

async fn secrets_written_during_a_rotation_are_not_lost(test: TestStore) {
    let (first, second) = (key(1), key(2));
    let org = test.new_org().await;
    fill(&test, &keyring(&[&first]), org, 120).await;
    let rotating = {
        let store = test.connect_again().await;
        let both = keyring(&[&first, &second]);
        tokio::spawn(async move { store.rotate_secrets(&both).await.unwrap() })
    };
    let both = keyring(&[&first, &second]);
    for index in (0..120).rev() {
        let name = format!("secret-{index}");
        let set = test.store.set_secret(&both, org, &name, "newer");
        set.await.unwrap();
    }
    rotating.await.unwrap();
    for index in 0..120 {
        let name = format!("secret-{index}");
        let secret = test.store.secret(&both, org, &name).await.unwrap().unwrap();
        assert_eq!(secret.expose(), "newer", "{name}");
    }
}
