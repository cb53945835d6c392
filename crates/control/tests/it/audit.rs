//! The audit log.

use std::collections::BTreeSet;

use marginstream_control::{AuditDraft, AuditEvent, ControlError};
use schemas::id::{OrgId, UserId};
use schemas::time::TimestampMs;
use serde_json::json;
use uuid::Uuid;

use crate::support::{TestStore, store_tests};

store_tests! {
    an_event_is_listed_as_it_was_recorded
    events_of_one_action_are_listed_apart
    pages_walk_over_equal_times_once_each
    events_belong_to_one_organization_and_outlive_it
    broken_events_are_refused
}

fn draft(action: &str) -> AuditDraft {
    AuditDraft {
        actor_id: UserId(Uuid::from_u128(1)),
        action: action.into(),
        resource_type: "membership".into(),
        resource_id: None,
        metadata: None,
    }
}

async fn an_event_is_listed_as_it_was_recorded(test: TestStore) {
    let org = test.new_org().await;
    let full = AuditDraft {
        resource_id: Some("ns_usr_é".into()),
        metadata: Some(json!({"newRole": "viewer", "name": "a\0é", "n": 1.5, "__proto__": null})),
        ..draft("member.role_changed")
    };
    let before = TimestampMs::now();
    test.store.append_audit_event(org, full.clone()).await.unwrap();
    let listed = test.store.list_audit_events(org, None, None, 10).await.unwrap();
    let [event] = listed.as_slice() else {
        panic!("{listed:?}");
    };
    let expected = AuditEvent {
        id: event.id,
        actor_id: full.actor_id,
        action: full.action,
        resource_type: full.resource_type,
        resource_id: full.resource_id,
        metadata: full.metadata,
        created_at: event.created_at,
    };
    assert_eq!(event, &expected);
    assert!(before <= event.created_at && event.created_at <= TimestampMs::now());

    test.store
        .append_audit_event(org, draft("member.left"))
        .await
        .unwrap();
    let left = test.store.list_audit_events(org, Some("member.left"), None, 10);
    let left = left.await.unwrap().remove(0);
    assert_eq!((left.resource_id, left.metadata), (None, None));
}

async fn events_of_one_action_are_listed_apart(test: TestStore) {
    let org = test.new_org().await;
    for action in ["member.left", "member.removed", "member.left"] {
        test.store.append_audit_event(org, draft(action)).await.unwrap();
    }
    let count = async |action| {
        let events = test.store.list_audit_events(org, action, None, 10).await;
        events.unwrap().len()
    };
    assert_eq!(count(None).await, 3);
    assert_eq!(count(Some("member.left")).await, 2);
    for unknown in ["", "member", "Member.left", "member.%", "member.left\0"] {
        assert_eq!(count(Some(unknown)).await, 0, "{unknown:?}");
    }
}

async fn pages_walk_over_equal_times_once_each(test: TestStore) {
    let org = test.new_org().await;
    for index in 0..22 {
        let action = ["a", "bb", "ccc"][index % 3];
        test.store.append_audit_event(org, draft(action)).await.unwrap();
    }
    test.sql("UPDATE audit_log SET created_at = LENGTH(action)").await;
    for (action, expected) in [(None, 22), (Some("a"), 8)] {
        let mut walked = Vec::new();
        let mut after = None;
        loop {
            let page = test.store.list_audit_events(org, action, after, 3).await.unwrap();
            assert!(page.len() <= 3);
            let Some(last) = page.last() else { break };
            after = Some((last.created_at, last.id));
            walked.extend(page.iter().map(|event| (event.created_at, event.id.to_string())));
        }
        assert_eq!(walked.len(), expected);
        assert!(walked.is_sorted_by(|left, right| left > right), "{walked:?}");
        assert_eq!(walked.iter().collect::<BTreeSet<_>>().len(), expected);
    }
}

async fn events_belong_to_one_organization_and_outlive_it(test: TestStore) {
    let made = test.bootstrap("Globex", "owner@globex.example").await;
    let other = test.bootstrap("Initech", "owner@initech.example").await.org_id;
    for org in [made.org_id, other] {
        test.store
            .append_audit_event(org, draft("org.created"))
            .await
            .unwrap();
    }
    test.store.delete_org(made.org_id).await.unwrap();
    // The deed that deletes an organization is recorded after it.
    test.store
        .append_audit_event(made.org_id, draft("org.deleted"))
        .await
        .unwrap();
    for (org, num_events) in [(made.org_id, 2), (other, 1), (OrgId::random(), 0)] {
        let events = test.store.list_audit_events(org, None, None, 10).await.unwrap();
        assert_eq!(events.len(), num_events);
    }
}

async fn broken_events_are_refused(test: TestStore) {
    let org = test.new_org().await;
    let broken = [
        draft("a\0"),
        AuditDraft {
            resource_type: "\0".into(),
            ..draft("a")
        },
        AuditDraft {
            resource_id: Some("a\0b".into()),
            ..draft("a")
        },
    ];
    for draft in broken {
        let refused = test.store.append_audit_event(org, draft).await;
        assert!(matches!(refused, Err(ControlError::Invalid(_))));
    }
    test.store.append_audit_event(org, draft("a")).await.unwrap();
    test.sql("UPDATE audit_log SET metadata = '{'").await;
    let corrupt = test.store.list_audit_events(org, None, None, 10).await;
    assert!(matches!(
        corrupt,
        Err(ControlError::Corrupt { column: "metadata" })
    ));
}
