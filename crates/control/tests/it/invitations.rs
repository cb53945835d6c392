//! Inviting people and taking invitations back.

use std::collections::BTreeSet;

use marginstream_control::{ControlError, InvitationStatus};
use schemas::access::{Role, Tier};
use schemas::id::{OrgId, UserId};
use uuid::Uuid;

use crate::support::{TestStore, store_tests};

store_tests! {
    an_invitation_lasts_seven_days_and_its_token_is_not_stored
    live_invitations_are_listed_newest_first
    only_admins_invite_others_and_never_an_owner
    an_address_has_one_pending_invitation_in_any_case
    of_many_who_invite_one_address_one_does
    invitations_take_seats_until_their_time_is_over
    of_many_who_want_the_last_seat_one_gets_it
    only_pending_invitations_of_the_organization_are_revoked
}

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

async fn an_invitation_lasts_seven_days_and_its_token_is_not_stored(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let email = " Ädä@Globex.Example ";
    let invited = test
        .store
        .create_invitation(made.org_id, made.user_id, email, Role::Member);
    let (invitation, token) = invited.await.unwrap();
    assert_eq!(
        (invitation.email.as_str(), invitation.role),
        ("ädä@globex.example", Role::Member)
    );
    assert_eq!(
        (invitation.status, invitation.invited_by),
        (InvitationStatus::Pending, made.user_id)
    );
    assert_eq!(invitation.token_prefix, token.expose()[..15]);
    assert_eq!(invitation.expires_at.0 - invitation.created_at.0, 7 * DAY_MS);
    let listed = test.store.list_invitations(made.org_id).await.unwrap();
    assert_eq!(listed, [invitation]);
    assert_eq!(format!("{token:?}"), "InvitationToken(..)");

    let stored = test.stored().await;
    let holds = |text: &str| stored.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds(&token.expose()[..15]) && !holds(token.expose()));
}

async fn live_invitations_are_listed_newest_first(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let org = made.org_id;
    let mut ids = Vec::new();
    for email in ["a@b.example", "bb@b.example", "ccc@b.example", "ddd@b.example"] {
        let invited = test
            .store
            .create_invitation(org, made.user_id, email, Role::Viewer);
        ids.push(invited.await.unwrap().0.id);
    }
    test.sql("UPDATE invitations SET created_at = LENGTH(email)")
        .await;
    let listed = test.store.list_invitations(org).await.unwrap();
    let order: Vec<_> = listed
        .iter()
        .map(|invitation| (invitation.created_at, invitation.id.to_string()))
        .collect();
    assert!(order.len() == 4 && order.is_sorted_by(|left, right| left > right));

    test.store.revoke_invitation(org, ids[0]).await.unwrap();
    test.sql("UPDATE invitations SET expires_at = 1 WHERE email = 'bb@b.example'")
        .await;
    let live: BTreeSet<Uuid> = test
        .store
        .list_invitations(org)
        .await
        .unwrap()
        .into_iter()
        .map(|invitation| invitation.id)
        .collect();
    assert_eq!(live, BTreeSet::from([ids[2], ids[3]]));
    assert!(
        test.store
            .list_invitations(OrgId::random())
            .await
            .unwrap()
            .is_empty()
    );
}

async fn only_admins_invite_others_and_never_an_owner(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let org = made.org_id;
    let admin = test.member(org, "admin@globex.example", Role::Admin).await;
    let member = test.member(org, "member@globex.example", Role::Member).await;
    let invite = async |org, actor, email: &str, role| {
        let invited = test.store.create_invitation(org, actor, email, role).await;
        invited.map(drop)
    };
    for stranger in [member, UserId::random()] {
        let refused = invite(org, stranger, "new@b.example", Role::Viewer).await;
        assert!(matches!(refused, Err(ControlError::Forbidden(_))), "{refused:?}");
    }
    let unknown = invite(OrgId::random(), admin, "new@b.example", Role::Viewer).await;
    assert!(matches!(unknown, Err(ControlError::Forbidden(_))));
    for (email, role) in [
        ("new@b.example", Role::Owner),
        ("ADMIN@globex.example", Role::Viewer),
        ("new", Role::Viewer),
        ("n\0w@b.example", Role::Viewer),
        ("", Role::Viewer),
    ] {
        let refused = invite(org, admin, email, role).await;
        assert!(matches!(refused, Err(ControlError::Invalid(_))), "{email:?}");
    }
    let personal = test.store.personal_org(admin).await.unwrap();
    let refused = invite(personal, admin, "new@b.example", Role::Viewer).await;
    assert!(matches!(refused, Err(ControlError::Forbidden(_))));
    assert_eq!(test.number("SELECT COUNT(*) FROM invitations").await, 0);
    invite(org, admin, "new@b.example", Role::Admin).await.unwrap();
}

async fn an_address_has_one_pending_invitation_in_any_case(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let other = test.bootstrap("Initech", "owner@globex.example").await;
    let invite = async |org, email: &str| {
        test.store
            .create_invitation(org, made.user_id, email, Role::Viewer)
            .await
    };
    let (first, _) = invite(made.org_id, "ada@b.example").await.unwrap();
    let again = invite(made.org_id, "ADA@B.example").await;
    assert!(matches!(again, Err(ControlError::Conflict(_))), "{again:?}");
    invite(other.org_id, "ada@b.example").await.unwrap();

    // A revoked one blocks nobody, nor does one whose time is over.
    test.store.revoke_invitation(made.org_id, first.id).await.unwrap();
    invite(made.org_id, "ada@b.example").await.unwrap();
    test.expire_invitations().await;
    let (last, _) = invite(made.org_id, "ada@b.example").await.unwrap();
    let listed = test.store.list_invitations(made.org_id).await.unwrap();
    assert_eq!(listed, [last]);
    let expired = "SELECT COUNT(*) FROM invitations WHERE status = 'expired'";
    assert_eq!(
        test.number(expired).await,
        1,
        "other organizations' are left alone"
    );
}

async fn of_many_who_invite_one_address_one_does(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let stores = [test.store.clone(), test.connect_again().await];
    let tasks: Vec<_> = (0..12)
        .map(|index| {
            let store = stores[index % 2].clone();
            tokio::spawn(async move {
                store
                    .create_invitation(made.org_id, made.user_id, "ada@b.example", Role::Member)
                    .await
            })
        })
        .collect();
    let mut num_invited = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => num_invited += 1,
            Err(error) => assert!(matches!(error, ControlError::Conflict(_)), "{error:?}"),
        }
    }
    assert_eq!(num_invited, 1);
}

async fn invitations_take_seats_until_their_time_is_over(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let org = made.org_id;
    test.store.set_tier(org, Tier::Free).await.unwrap();
    let invite = async |email: &str, role| test.store.create_invitation(org, made.user_id, email, role).await;
    test.member(org, "admin@globex.example", Role::Admin).await;
    let (taken, _) = invite("a@b.example", Role::Member).await.unwrap();
    let full = invite("c@b.example", Role::Admin).await;
    let Err(ControlError::LimitExceeded(message)) = full else {
        panic!("a fourth seat: {full:?}");
    };
    assert_eq!(message, "the Free plan allows at most 3 seats");
    // Who is invited already is told so first.
    let twice = invite("a@b.example", Role::Member).await;
    assert!(matches!(twice, Err(ControlError::Conflict(_))));
    invite("viewer@b.example", Role::Viewer).await.unwrap();
    let user = test.user("direct@b.example").await;
    let direct = test.store.add_member(org, user, Role::Member).await;
    assert!(matches!(direct, Err(ControlError::LimitExceeded(_))));

    test.store.revoke_invitation(org, taken.id).await.unwrap();
    invite("c@b.example", Role::Admin).await.unwrap();
    assert!(invite("d@b.example", Role::Admin).await.is_err());
    test.expire_invitations().await;
    invite("d@b.example", Role::Admin).await.unwrap();
    test.expire_invitations().await;
    test.store.add_member(org, user, Role::Member).await.unwrap();
}

async fn of_many_who_want_the_last_seat_one_gets_it(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let org = made.org_id;
    test.store.set_tier(org, Tier::Free).await.unwrap();
    test.member(org, "admin@globex.example", Role::Admin).await;
    let stores = [test.store.clone(), test.connect_again().await];
    let tasks: Vec<_> = (0..12)
        .map(|index| {
            let store = stores[index % 2].clone();
            let email = format!("user-{index}@b.example");
            tokio::spawn(async move {
                store
                    .create_invitation(org, made.user_id, &email, Role::Member)
                    .await
            })
        })
        .collect();
    let mut num_invited = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => num_invited += 1,
            Err(error) => assert!(matches!(error, ControlError::LimitExceeded(_)), "{error:?}"),
        }
    }
    assert_eq!(num_invited, 1);
}

async fn only_pending_invitations_of_the_organization_are_revoked(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let other = test.bootstrap("Initech", "owner@initech.example").await.org_id;
    let invited = test
        .store
        .create_invitation(made.org_id, made.user_id, "ada@b.example", Role::Member);
    let (invitation, token) = invited.await.unwrap();
    for (org, id) in [(other, invitation.id), (made.org_id, Uuid::new_v4())] {
        let missing = test.store.revoke_invitation(org, id).await;
        assert!(matches!(missing, Err(ControlError::NotFound("invitation"))));
    }
    test.store
        .revoke_invitation(made.org_id, invitation.id)
        .await
        .unwrap();
    let again = test.store.revoke_invitation(made.org_id, invitation.id).await;
    assert!(matches!(again, Err(ControlError::Conflict(_))));
    let ada = test.user("ada@b.example").await;
    let accepted = test.store.accept_invitation(token.expose(), ada).await;
    assert!(matches!(accepted, Err(ControlError::Conflict(_))));
    for status in ["declined", "accepted", "expired"] {
        test.sql(&format!("UPDATE invitations SET status = '{status}'"))
            .await;
        let refused = test.store.revoke_invitation(made.org_id, invitation.id).await;
        assert!(matches!(refused, Err(ControlError::Conflict(_))), "{status}");
    }
}
