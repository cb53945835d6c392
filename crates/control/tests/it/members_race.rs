//! Many change one organization's members at the same time: what must hold whatever comes first.

use marginstream_control::{ControlError, ControlStore};
use schemas::access::Role;
use schemas::id::{OrgId, UserId};

use crate::api_keys::draft;
use crate::support::{TestStore, store_tests};

store_tests! {
    of_many_transfers_by_one_owner_one_succeeds
    a_transfer_and_a_removal_of_the_same_member_never_both_happen
    whatever_members_do_there_is_one_owner_and_no_key_of_a_stranger
    a_leaving_member_leaves_no_key_behind
}

async fn of_many_transfers_by_one_owner_one_succeeds(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let mut tasks = Vec::new();
    let stores = [test.store.clone(), test.connect_again().await];
    for index in 0..8 {
        let email = format!("user-{index}@globex.example");
        let heir = test.member(made.org_id, &email, Role::Member).await;
        let store = stores[index % 2].clone();
        tasks.push(tokio::spawn(async move {
            store.transfer_org(made.org_id, made.user_id, heir).await
        }));
    }
    let mut num_transferred = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(()) => num_transferred += 1,
            Err(error) => assert!(matches!(error, ControlError::Forbidden(_)), "{error:?}"),
        }
    }
    assert_eq!(num_transferred, 1);
    let owners = test.number("SELECT COUNT(*) FROM memberships WHERE role = 'owner'");
    assert_eq!(owners.await, 1);
    let former = test.store.membership(made.org_id, made.user_id).await.unwrap();
    assert_eq!(former, Some(Role::Admin));
}

/// Roles are read in the transaction: the change that came first counts.
async fn a_transfer_and_a_removal_of_the_same_member_never_both_happen(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let org = made.org_id;
    let heir = test.member(org, "heir@globex.example", Role::Admin).await;
    for _ in 0..10 {
        let (transferred, removed) = tokio::join!(
            test.store.transfer_org(org, made.user_id, heir),
            test.store.remove_member(org, made.user_id, heir)
        );
        assert!(
            transferred.is_ok() != removed.is_ok(),
            "{transferred:?} {removed:?}"
        );
        if transferred.is_ok() {
            test.store.transfer_org(org, heir, made.user_id).await.unwrap();
        } else {
            test.store.add_member(org, heir, Role::Admin).await.unwrap();
        }
    }
}

async fn a_leaving_member_leaves_no_key_behind(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let org = made.org_id;
    let user = test.user("ada@globex.example").await;
    for _ in 0..20 {
        test.store.add_member(org, user, Role::Member).await.unwrap();
        let (created, left) = tokio::join!(
            test.store.create_api_key(org, user, draft("key")),
            test.store.leave_org(org, user)
        );
        left.unwrap();
        assert!(matches!(created, Ok(_) | Err(ControlError::Forbidden(_))));
    }
    assert_eq!(test.number(KEYS_OF_STRANGERS).await, 0);
}

const KEYS_OF_STRANGERS: &str = "
    SELECT COUNT(*) FROM api_keys k
    LEFT JOIN memberships m ON m.org_id = k.org_id AND m.user_id = k.user_id
    WHERE k.revoked_at IS NULL AND m.user_id IS NULL";
const ORGS_WITHOUT_ONE_OWNER: &str = "
    SELECT COUNT(*) FROM orgs o
    WHERE (SELECT COUNT(*) FROM memberships m WHERE m.org_id = o.id AND m.role = 'owner') <> 1";

const NUM_ACTORS: u64 = 8;
const NUM_USERS: usize = 6;
const NUM_STEPS: usize = 40;

/// Random users act on random users in two organizations, through two sets of connections.
async fn whatever_members_do_there_is_one_owner_and_no_key_of_a_stranger(test: TestStore) {
    let first = test.bootstrap("Globex", "user-0@globex.example").await;
    let second = test.bootstrap("Initech", "user-0@globex.example").await;
    let orgs = [first.org_id, second.org_id];
    let mut users = vec![first.user_id];
    for index in 1..NUM_USERS {
        let email = format!("user-{index}@globex.example");
        let role = if index % 2 == 0 { Role::Admin } else { Role::Member };
        users.push(test.member(orgs[0], &email, role).await);
    }
    let stores = [test.store.clone(), test.connect_again().await];
    let seed = uuid::Uuid::new_v4().as_u64_pair().0;
    println!("seed {seed}");
    let actors: Vec<_> = (0..NUM_ACTORS)
        .map(|index| {
            let store = stores[usize::try_from(index % 2).unwrap()].clone();
            let actor = Actor {
                store,
                orgs,
                users: users.clone(),
                random: Random(seed.wrapping_add(index)),
            };
            tokio::spawn(actor.run())
        })
        .collect();
    let mut num_done = 0;
    for actor in actors {
        num_done += actor.await.unwrap();
        assert_eq!(test.number(ORGS_WITHOUT_ONE_OWNER).await, 0, "seed {seed}");
        assert_eq!(test.number(KEYS_OF_STRANGERS).await, 0, "seed {seed}");
    }
    assert!(num_done > 20, "{num_done} steps were allowed, seed {seed}");
}

struct Actor {
    store: ControlStore,
    orgs: [OrgId; 2],
    users: Vec<UserId>,
    random: Random,
}

impl Actor {
    /// Returns how many steps were allowed.
    async fn run(mut self) -> usize {
        let mut num_done = 0;
        for _ in 0..NUM_STEPS {
            match self.step().await {
                Ok(()) => num_done += 1,
                Err(
                    ControlError::Invalid(_)
                    | ControlError::Forbidden(_)
                    | ControlError::NotFound(_)
                    | ControlError::Conflict(_),
                ) => {}
                Err(error) => panic!("{error:?}"),
            }
        }
        num_done
    }

    async fn step(&mut self) -> Result<(), ControlError> {
        let org = self.orgs[self.random.below(2)];
        let actor = self.users[self.random.below(self.users.len())];
        let target = self.users[self.random.below(self.users.len())];
        let role = [Role::Viewer, Role::Member, Role::Admin, Role::Owner][self.random.below(4)];
        match self.random.below(7) {
            0 => self.store.remove_member(org, actor, target).await,
            1 => self.store.leave_org(org, actor).await,
            2 => self.store.transfer_org(org, actor, target).await,
            3 | 4 => self.store.add_member(org, target, role).await,
            5 => self
                .store
                .create_api_key(org, actor, draft("key"))
                .await
                .map(drop),
            _ => self
                .store
                .set_member_role(org, actor, target, role)
                .await
                .map(drop),
        }
    }
}

/// SplitMix64, so that a seed tells what was tried.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((bits ^ (bits >> 31)) % bound as u64).unwrap()
    }
}
