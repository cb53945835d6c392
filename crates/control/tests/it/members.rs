//! Members: roles, removal, leaving, transfer, and the order of the rules.

use marginstream_control::{ControlError, SecretHash};
use schemas::access::{Role, Tier};
use schemas::id::{OrgId, UserId};

use crate::api_keys::draft;
use crate::support::{TestStore, store_tests};

store_tests! {
    members_are_listed_in_the_order_of_joining
    unknown_roles_count_as_no_membership
    an_admin_changes_who_is_below_and_the_owner_changes_admins
    the_first_broken_rule_is_told
    a_removed_member_loses_the_keys_of_this_organization_alone
    demotion_leaves_keys_alone
    anyone_but_the_owner_may_leave
    a_transfer_swaps_owner_and_admin
    a_transfer_needs_the_owner_and_a_member_who_is_no_viewer
    operators_add_members_within_the_seats
}

/// An organization with one of each role.
struct Team {
    org: OrgId,
    owner: UserId,
    admin: UserId,
    member: UserId,
    viewer: UserId,
    stranger: UserId,
}

async fn team(test: &TestStore) -> Team {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let org = made.org_id;
    Team {
        org,
        owner: made.user_id,
        admin: test.member(org, "admin@globex.example", Role::Admin).await,
        member: test.member(org, "member@globex.example", Role::Member).await,
        viewer: test.member(org, "viewer@globex.example", Role::Viewer).await,
        stranger: test.user("stranger@globex.example").await,
    }
}

fn kind<T: std::fmt::Debug>(result: Result<T, ControlError>) -> u16 {
    match result {
        Ok(_) => 200,
        Err(ControlError::Invalid(_)) => 400,
        Err(ControlError::Forbidden(_)) => 403,
        Err(ControlError::NotFound(_)) => 404,
        Err(ControlError::Conflict(_) | ControlError::LimitExceeded(_)) => 409,
        Err(error) => panic!("{error:?}"),
    }
}

async fn members_are_listed_in_the_order_of_joining(test: TestStore) {
    let team = team(&test).await;
    for (joined, user) in [team.viewer, team.owner, team.member, team.admin]
        .iter()
        .enumerate()
    {
        test.sql(&format!(
            "UPDATE memberships SET created_at = {joined} WHERE user_id = '{}'",
            user.0
        ))
        .await;
    }
    let members = test.store.list_members(team.org).await.unwrap();
    let listed: Vec<_> = members
        .iter()
        .map(|member| {
            (
                member.user_id,
                member.email.as_deref(),
                member.role,
                member.created_at.0,
            )
        })
        .collect();
    let expected = [
        (team.viewer, Some("viewer@globex.example"), Role::Viewer, 0),
        (team.owner, Some("owner@globex.example"), Role::Owner, 1),
        (team.member, Some("member@globex.example"), Role::Member, 2),
        (team.admin, Some("admin@globex.example"), Role::Admin, 3),
    ];
    assert_eq!(listed, expected);
    assert!(test.store.list_members(OrgId::random()).await.unwrap().is_empty());
}

async fn unknown_roles_count_as_no_membership(test: TestStore) {
    let team = team(&test).await;
    let store = &test.store;
    for role in ["__proto__", "constructor", "Admin", ""] {
        test.sql(&format!(
            "UPDATE memberships SET role = '{role}' WHERE user_id = '{}'",
            team.admin.0
        ))
        .await;
        assert_eq!(store.membership(team.org, team.admin).await.unwrap(), None);
        assert_eq!(store.list_members(team.org).await.unwrap().len(), 3);
        let acting = store.remove_member(team.org, team.admin, team.viewer).await;
        assert_eq!(kind(acting), 403, "{role}");
        let target = store.set_member_role(team.org, team.owner, team.admin, Role::Member);
        assert_eq!(kind(target.await), 404, "{role}");
        assert_eq!(kind(store.leave_org(team.org, team.admin).await), 403);
        let again = store.add_member(team.org, team.admin, Role::Viewer).await;
        assert_eq!(kind(again), 409, "its row is still there");
    }
    assert_eq!(store.membership(team.org, team.stranger).await.unwrap(), None);
    assert_eq!(store.membership(OrgId::random(), team.owner).await.unwrap(), None);
}

async fn an_admin_changes_who_is_below_and_the_owner_changes_admins(test: TestStore) {
    let team = team(&test).await;
    let set = async |actor, target, role| {
        let changed = test.store.set_member_role(team.org, actor, target, role).await;
        let member = changed.unwrap();
        assert_eq!((member.user_id, member.role), (target, role));
        assert_eq!(test.store.membership(team.org, target).await.unwrap(), Some(role));
        assert!(test.store.list_members(team.org).await.unwrap().contains(&member));
    };
    set(team.admin, team.viewer, Role::Member).await;
    set(team.admin, team.member, Role::Viewer).await;
    set(team.admin, team.member, Role::Viewer).await;
    set(team.admin, team.member, Role::Admin).await;
    set(team.owner, team.admin, Role::Viewer).await;
    set(team.member, team.admin, Role::Admin).await;
    test.store
        .remove_member(team.org, team.owner, team.admin)
        .await
        .unwrap();
    assert_eq!(test.store.membership(team.org, team.admin).await.unwrap(), None);
}

async fn the_first_broken_rule_is_told(test: TestStore) {
    let team = team(&test).await;
    let other_admin = test.member(team.org, "other@globex.example", Role::Admin).await;
    let (owner, admin, stranger) = (team.owner, team.admin, team.stranger);
    let before = test.store.list_members(team.org).await.unwrap();
    for (actor, target, role, expected) in [
        (stranger, team.viewer, Role::Member, 403),
        (team.viewer, team.member, Role::Viewer, 403),
        (team.member, team.viewer, Role::Member, 403),
        // The own role comes before the role's name, and that before the target.
        (admin, admin, Role::Owner, 403),
        (owner, owner, Role::Admin, 403),
        (admin, stranger, Role::Owner, 400),
        (admin, owner, Role::Owner, 400),
        (admin, stranger, Role::Viewer, 404),
        (admin, owner, Role::Viewer, 403),
        (admin, other_admin, Role::Viewer, 403),
        (admin, other_admin, Role::Admin, 403),
    ] {
        let set = test.store.set_member_role(team.org, actor, target, role).await;
        assert_eq!(kind(set), expected, "{actor} {target} {role:?}");
    }
    for (actor, target, expected) in [
        (stranger, team.viewer, 403),
        (team.member, team.viewer, 403),
        (admin, admin, 403),
        (owner, owner, 403),
        (admin, stranger, 404),
        (admin, owner, 403),
        (admin, other_admin, 403),
    ] {
        let removed = test.store.remove_member(team.org, actor, target).await;
        assert_eq!(kind(removed), expected, "{actor} {target}");
    }
    assert_eq!(test.store.list_members(team.org).await.unwrap(), before);
    // Roles hold in one organization.
    let elsewhere = test.bootstrap("Initech", "admin@globex.example").await;
    let removed = test.store.remove_member(team.org, elsewhere.user_id, owner).await;
    assert_eq!(kind(removed), 403);
}

async fn a_removed_member_loses_the_keys_of_this_organization_alone(test: TestStore) {
    let team = team(&test).await;
    let elsewhere = test.bootstrap("Initech", "owner@initech.example").await;
    test.store
        .add_member(elsewhere.org_id, team.member, Role::Member)
        .await
        .unwrap();
    let mut secrets = Vec::new();
    for (org, user) in [
        (team.org, team.member),
        (team.org, team.member),
        (team.org, team.admin),
        (elsewhere.org_id, team.member),
    ] {
        let (_, secret) = test.store.create_api_key(org, user, draft("key")).await.unwrap();
        secrets.push(secret);
    }
    test.store
        .remove_member(team.org, team.admin, team.member)
        .await
        .unwrap();
    let mut works = Vec::new();
    for secret in &secrets {
        let resolved = test.store.resolve_api_key(SecretHash::of(secret.expose())).await;
        works.push(resolved.unwrap().is_some_and(|key| key.owner_is_member));
    }
    assert_eq!(works, [false, false, true, true]);

    // Who is back has no keys: revoking cannot be undone.
    test.store
        .add_member(team.org, team.member, Role::Member)
        .await
        .unwrap();
    let resolved = test
        .store
        .resolve_api_key(SecretHash::of(secrets[0].expose()))
        .await;
    assert_eq!(resolved.unwrap(), None);
}

async fn demotion_leaves_keys_alone(test: TestStore) {
    let team = team(&test).await;
    let key = test.store.create_api_key(team.org, team.member, draft("key"));
    let (_, secret) = key.await.unwrap();
    let demoted = test
        .store
        .set_member_role(team.org, team.admin, team.member, Role::Viewer);
    demoted.await.unwrap();
    let resolved = test.store.resolve_api_key(SecretHash::of(secret.expose())).await;
    assert!(resolved.unwrap().unwrap().owner_is_member);
}

async fn anyone_but_the_owner_may_leave(test: TestStore) {
    let team = team(&test).await;
    let key = test.store.create_api_key(team.org, team.admin, draft("key"));
    let (_, secret) = key.await.unwrap();
    for user in [team.viewer, team.member, team.admin] {
        test.store.leave_org(team.org, user).await.unwrap();
        assert_eq!(kind(test.store.leave_org(team.org, user).await), 403);
    }
    let resolved = test.store.resolve_api_key(SecretHash::of(secret.expose())).await;
    assert_eq!(resolved.unwrap(), None);
    assert_eq!(kind(test.store.leave_org(team.org, team.owner).await), 403);
    assert_eq!(kind(test.store.leave_org(OrgId::random(), team.owner).await), 403);
    assert_eq!(test.store.list_members(team.org).await.unwrap().len(), 1);
}

async fn a_transfer_swaps_owner_and_admin(test: TestStore) {
    let team = team(&test).await;
    test.store
        .transfer_org(team.org, team.owner, team.member)
        .await
        .unwrap();
    let role = async |user| test.store.membership(team.org, user).await.unwrap();
    assert_eq!(role(team.owner).await, Some(Role::Admin));
    assert_eq!(role(team.member).await, Some(Role::Owner));
    assert_eq!(role(team.admin).await, Some(Role::Admin));
    test.store
        .transfer_org(team.org, team.member, team.owner)
        .await
        .unwrap();
    assert_eq!(role(team.owner).await, Some(Role::Owner));
    // The database itself holds two owners to be impossible.
    let second = format!(
        "UPDATE memberships SET role = 'owner' WHERE user_id = '{}'",
        team.admin.0
    );
    let refused = test.try_sql(&second).await;
    assert!(refused.is_err());
}

async fn a_transfer_needs_the_owner_and_a_member_who_is_no_viewer(test: TestStore) {
    let team = team(&test).await;
    let before = test.store.list_members(team.org).await.unwrap();
    for (owner, new_owner, expected) in [
        (team.admin, team.member, 403),
        (team.stranger, team.member, 403),
        (team.admin, team.admin, 403),
        (team.owner, team.owner, 400),
        (team.owner, team.stranger, 404),
        (team.owner, UserId::random(), 404),
        (team.owner, team.viewer, 400),
    ] {
        let transferred = test.store.transfer_org(team.org, owner, new_owner).await;
        assert_eq!(kind(transferred), expected, "{owner} {new_owner}");
    }
    assert_eq!(test.store.list_members(team.org).await.unwrap(), before);
}

async fn operators_add_members_within_the_seats(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    test.store.set_tier(made.org_id, Tier::Free).await.unwrap();
    let mut users = Vec::new();
    for index in 0..5 {
        users.push(test.user(&format!("user-{index}@globex.example")).await);
    }
    let add = async |user, role| kind(test.store.add_member(made.org_id, user, role).await);
    assert_eq!(add(users[0], Role::Owner).await, 400);
    assert_eq!(add(users[0], Role::Admin).await, 200);
    assert_eq!(add(users[1], Role::Viewer).await, 200, "viewers take no seat");
    assert_eq!(add(users[2], Role::Member).await, 200);
    let full = test.store.add_member(made.org_id, users[3], Role::Member).await;
    let Err(ControlError::LimitExceeded(message)) = full else {
        panic!("a fourth seat: {full:?}");
    };
    assert_eq!(message, "the Free plan allows at most 3 seats");
    assert_eq!(add(users[3], Role::Viewer).await, 200);
    assert_eq!(add(users[3], Role::Member).await, 409);
    assert_eq!(add(UserId::random(), Role::Viewer).await, 404);
    let unknown = test
        .store
        .add_member(OrgId::random(), users[4], Role::Viewer)
        .await;
    assert_eq!(kind(unknown), 404);
    test.store.set_tier(made.org_id, Tier::Pro).await.unwrap();
    assert_eq!(add(users[4], Role::Member).await, 200);
}
