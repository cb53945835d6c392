//! Accepting invitations, and the order of the rules.

use marginstream_control::{ControlError, InvitationToken};
use schemas::access::{Role, Tier};
use schemas::id::{OrgId, UserId};

use crate::support::{TestStore, store_tests};

store_tests! {
    who_accepts_is_a_member_with_the_invited_role
    an_invitation_is_accepted_once_however_many_try
    the_first_broken_rule_is_told
    an_expired_invitation_is_marked_and_gone
    who_is_a_member_already_does_not_use_the_invitation_up
    a_seat_is_not_counted_again
    a_broken_invitation_makes_no_owner
}

async fn invite(test: &TestStore, email: &str, role: Role) -> (OrgId, InvitationToken) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let invited = test
        .store
        .create_invitation(made.org_id, made.user_id, email, role);
    (made.org_id, invited.await.unwrap().1)
}

async fn who_accepts_is_a_member_with_the_invited_role(test: TestStore) {
    let (org, token) = invite(&test, "ADA@b.example", Role::Admin).await;
    let invitation = test.store.list_invitations(org).await.unwrap().remove(0);
    let ada = test.user("ada@b.example").await;
    let accepted = test.store.accept_invitation(token.expose(), ada).await;
    assert_eq!(accepted.unwrap(), (org, Role::Admin, invitation.id));
    assert_eq!(test.store.membership(org, ada).await.unwrap(), Some(Role::Admin));
    assert!(test.store.list_invitations(org).await.unwrap().is_empty());
    let by = format!(
        "SELECT COUNT(*) FROM invitations
         WHERE status = 'accepted' AND accepted_by = '{}' AND accepted_at >= created_at",
        ada.0
    );
    assert_eq!(test.number(&by).await, 1);
    // Leaving and coming back takes another invitation.
    test.store.leave_org(org, ada).await.unwrap();
    let again = test.store.accept_invitation(token.expose(), ada).await;
    assert!(matches!(again, Err(ControlError::Conflict(_))));
}

async fn an_invitation_is_accepted_once_however_many_try(test: TestStore) {
    let (org, token) = invite(&test, "ada@b.example", Role::Member).await;
    let ada = test.user("ada@b.example").await;
    let stores = [test.store.clone(), test.connect_again().await];
    let tasks: Vec<_> = (0..12)
        .map(|index| {
            let (store, token) = (stores[index % 2].clone(), token.clone());
            tokio::spawn(async move { store.accept_invitation(token.expose(), ada).await })
        })
        .collect();
    let mut num_accepted = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => num_accepted += 1,
            Err(error) => assert!(matches!(error, ControlError::Conflict(_)), "{error:?}"),
        }
    }
    assert_eq!(num_accepted, 1);
    assert_eq!(test.store.list_members(org).await.unwrap().len(), 2);
}

async fn the_first_broken_rule_is_told(test: TestStore) {
    let (org, token) = invite(&test, "ada@b.example", Role::Member).await;
    let ada = test.user("ada@b.example").await;
    let eve = test.user("eve@b.example").await;
    let accept = async |token: &str, user| test.store.accept_invitation(token, user).await;
    for unknown in ["", "\0", "ns_inv_", &token.expose().to_uppercase()] {
        let missing = accept(unknown, ada).await;
        assert!(matches!(missing, Err(ControlError::NotFound("invitation"))));
    }
    // The address comes before the time, and the status before both.
    test.expire_invitations().await;
    for stranger in [eve, UserId::random()] {
        let refused = accept(token.expose(), stranger).await;
        assert!(matches!(refused, Err(ControlError::Forbidden(_))), "{refused:?}");
    }
    test.sql("UPDATE invitations SET status = 'revoked'").await;
    let revoked = accept(token.expose(), eve).await;
    assert!(matches!(revoked, Err(ControlError::Conflict(_))), "{revoked:?}");
    // The time comes before the membership.
    test.sql("UPDATE invitations SET status = 'pending'").await;
    test.store.add_member(org, ada, Role::Viewer).await.unwrap();
    let expired = accept(token.expose(), ada).await;
    assert!(matches!(expired, Err(ControlError::Expired("invitation"))));
}

async fn an_expired_invitation_is_marked_and_gone(test: TestStore) {
    let (org, token) = invite(&test, "ada@b.example", Role::Member).await;
    let ada = test.user("ada@b.example").await;
    test.expire_invitations().await;
    let expired = test.store.accept_invitation(token.expose(), ada).await;
    assert!(matches!(expired, Err(ControlError::Expired("invitation"))));
    let marked = "SELECT COUNT(*) FROM invitations WHERE status = 'expired'";
    assert_eq!(test.number(marked).await, 1, "though the call has failed");
    assert_eq!(test.store.membership(org, ada).await.unwrap(), None);
    let again = test.store.accept_invitation(token.expose(), ada).await;
    assert!(matches!(again, Err(ControlError::Conflict(_))));
}

async fn who_is_a_member_already_does_not_use_the_invitation_up(test: TestStore) {
    let (org, token) = invite(&test, "ada@b.example", Role::Admin).await;
    let ada = test.member(org, "ada@b.example", Role::Viewer).await;
    for role in ["viewer", "__proto__"] {
        test.sql(&format!(
            "UPDATE memberships SET role = '{role}' WHERE user_id = '{}'",
            ada.0
        ))
        .await;
        let twice = test.store.accept_invitation(token.expose(), ada).await;
        assert!(matches!(twice, Err(ControlError::Conflict(_))), "{role}");
    }
    assert_eq!(test.store.list_invitations(org).await.unwrap().len(), 1);
    test.sql(&format!("DELETE FROM memberships WHERE user_id = '{}'", ada.0))
        .await;
    let accepted = test.store.accept_invitation(token.expose(), ada).await;
    assert_eq!(accepted.unwrap().1, Role::Admin);
}

async fn a_seat_is_not_counted_again(test: TestStore) {
    let (org, token) = invite(&test, "ada@b.example", Role::Member).await;
    for index in 0..4 {
        let email = format!("user-{index}@b.example");
        test.member(org, &email, Role::Member).await;
    }
    test.store.set_tier(org, Tier::Free).await.unwrap();
    let ada = test.user("ada@b.example").await;
    test.store.accept_invitation(token.expose(), ada).await.unwrap();
    assert_eq!(test.store.list_members(org).await.unwrap().len(), 6);
}

async fn a_broken_invitation_makes_no_owner(test: TestStore) {
    let (org, token) = invite(&test, "ada@b.example", Role::Member).await;
    let ada = test.user("ada@b.example").await;
    for role in ["owner", "__proto__", ""] {
        test.sql(&format!("UPDATE invitations SET role = '{role}'")).await;
        let broken = test.store.accept_invitation(token.expose(), ada).await;
        assert!(matches!(broken, Err(ControlError::Corrupt { column: "role" })));
    }
    assert_eq!(test.store.membership(org, ada).await.unwrap(), None);
}
