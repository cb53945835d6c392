//! The account API over the wire: shapes, statuses, codes, and what changes at once.

use axum::body::Body;
use axum::http::Method;
use marginstream_http::HttpConfig;
use schemas::access::{Role, Tier};
use serde_json::{Value, json};

use crate::support::{Answer, Service, request, service, service_of_tier};

const KEY: &str = "x-nullspend-key";

/// Someone who has signed in.
struct Person {
    cookie: String,
    user: String,
}

impl Service {
    async fn call(&self, person: &Person, method: Method, path: &str, body: Value) -> Answer {
        let headers = [
            ("cookie", person.cookie.as_str()),
            ("content-type", "application/json"),
        ];
        let body = if body.is_null() {
            Body::empty()
        } else {
            body.to_string().into()
        };
        self.send(request(method, path, &headers, body)).await
    }

    async fn owner(&self) -> Person {
        person(&self.sign_in().await)
    }

    /// Makes a user who is in no organization but their own.
    async fn person(&self, email: &str) -> Person {
        let (_, password) = self.http.control().create_user(email).await.unwrap();
        let credentials = json!({ "email": email, "password": password.expose() });
        person(&self.post("/api/auth/login", &[], credentials.to_string()).await)
    }

    /// Makes a user who is a member of the owner's organization, and has it active.
    async fn member(&self, email: &str, role: Role) -> Person {
        let person = self.person(email).await;
        let user = person.user.parse().unwrap();
        let control = self.http.control();
        control.add_member(self.owner.org_id, user, role).await.unwrap();
        let org = json!({ "orgId": self.owner.org_id });
        let switched = self
            .call(&person, Method::POST, "/api/auth/switch-org", org)
            .await;
        assert_eq!(switched.status, 200, "{}", switched.text);
        person
    }

    fn org_path(&self, rest: &str) -> String {
        format!("/api/orgs/{}{rest}", self.owner.org_id)
    }
}

fn person(signed_in: &Answer) -> Person {
    assert_eq!(signed_in.status, 200, "{}", signed_in.text);
    Person {
        cookie: signed_in.cookie(),
        user: signed_in.json()["userId"].as_str().unwrap().to_owned(),
    }
}

fn keys_of(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_new_key_works_and_shows_its_secret_once() {
    let service = service(HttpConfig::for_test()).await;
    let owner = service.owner().await;
    let body = json!({ "name": "  etl-nightly ", "defaultTags": { "team": "data" }, "unknown": 1 });
    let created = service.call(&owner, Method::POST, "/api/keys", body).await;
    assert_eq!(created.status, 201, "{}", created.text);
    let key = &created.json()["data"];
    assert_eq!(
        keys_of(key),
        [
            "allowedModels",
            "allowedProviders",
            "createdAt",
            "defaultTags",
            "id",
            "keyPrefix",
            "name",
            "rawKey"
        ]
    );
    let secret = key["rawKey"].as_str().unwrap();
    assert_eq!((&key["name"], secret.len()), (&json!("etl-nightly"), 43));
    assert_eq!(key["keyPrefix"], secret[..19]);
    let answer = service.get("/api/auth/introspect", &[(KEY, secret)]).await;
    assert_eq!(answer.json(), json!({ "userId": owner.user, "keyId": key["id"] }));

    let listed = service.call(&owner, Method::GET, "/api/keys", Value::Null).await;
    let listed = listed.json();
    assert_eq!(listed["data"][0]["id"], key["id"], "the newest first");
    assert!(listed["cursor"].is_null() && !listed.to_string().contains(secret));
    assert_eq!(
        keys_of(&listed["data"][0]),
        [
            "allowedModels",
            "allowedProviders",
            "createdAt",
            "defaultTags",
            "id",
            "keyPrefix",
            "lastUsedAt",
            "name"
        ]
    );
}

#[tokio::test]
async fn a_revoked_key_stops_at_once_on_the_server_that_revoked_it() {
    let service = service(HttpConfig::for_test()).await;
    let owner = service.owner().await;
    let created = service
        .call(&owner, Method::POST, "/api/keys", json!({ "name": "k" }))
        .await
        .json();
    let secret = created["data"]["rawKey"].as_str().unwrap();
    let introspect = async || service.get("/api/auth/introspect", &[(KEY, secret)]).await.status;
    assert_eq!(introspect().await, 200);
    let path = format!("/api/keys/{}", created["data"]["id"].as_str().unwrap());
    let revoked = service.call(&owner, Method::DELETE, &path, Value::Null).await;
    assert_eq!(revoked.status, 200, "{}", revoked.text);
    assert_eq!(keys_of(&revoked.json()["data"]), ["id", "revokedAt"]);
    assert_eq!(introspect().await, 401);
    for method in [Method::DELETE, Method::PATCH] {
        let again = service.call(&owner, method, &path, json!({ "name": "x" })).await;
        assert_eq!((again.status, again.code().as_str()), (404, "not_found"));
    }
}

#[tokio::test]
async fn default_tags_of_a_key_are_replaced_and_reach_its_events() {
    let service = service(HttpConfig::for_test()).await;
    let owner = service.owner().await;
    let body =
        json!({ "name": "k", "defaultTags": { "team": "a", "env": "prod" }, "allowedModels": ["gpt-4o"] });
    let created = service.call(&owner, Method::POST, "/api/keys", body).await.json();
    let path = format!("/api/keys/{}", created["data"]["id"].as_str().unwrap());
    let patch = json!({ "defaultTags": { "team": "b" }, "allowedModels": null });
    let patched = service.call(&owner, Method::PATCH, &path, patch).await;
    assert_eq!(patched.status, 200, "{}", patched.text);
    let patched = patched.json();
    assert_eq!(patched["data"]["defaultTags"], json!({ "team": "b" }));
    assert_eq!(
        (&patched["data"]["allowedModels"], &patched["data"]["name"]),
        (&Value::Null, &json!("k"))
    );
    let nothing = service
        .call(&owner, Method::PATCH, &path, json!({ "unknown": 1 }))
        .await;
    assert_eq!(
        (nothing.status, nothing.code().as_str()),
        (400, "validation_error")
    );
}

#[tokio::test]
async fn the_free_plan_has_ten_keys_and_a_revoked_one_frees_its_place() {
    let service = service_of_tier(HttpConfig::for_test(), Tier::Free).await;
    let owner = service.owner().await;
    let create = async || {
        service
            .call(&owner, Method::POST, "/api/keys", json!({ "name": "k" }))
            .await
    };
    for _ in 0..9 {
        assert_eq!(create().await.status, 201);
    }
    let refused = create().await;
    assert_eq!((refused.status, refused.code().as_str()), (409, "limit_exceeded"));
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("10") && message.contains("Free"), "{message}");
    let path = format!("/api/keys/{}", service.owner.api_key_id);
    assert_eq!(
        service
            .call(&owner, Method::DELETE, &path, Value::Null)
            .await
            .status,
        200
    );
    assert_eq!(create().await.status, 201);
}

#[tokio::test]
async fn a_walk_of_the_keys_shows_each_once() {
    let service = service(HttpConfig::for_test()).await;
    let owner = service.owner().await;
    for number in 0..7 {
        let body = json!({ "name": format!("k{number}") });
        assert_eq!(
            service.call(&owner, Method::POST, "/api/keys", body).await.status,
            201
        );
    }
    let (mut seen, mut path) = (Vec::new(), "/api/keys?limit=3".to_owned());
    loop {
        let page = service.call(&owner, Method::GET, &path, Value::Null).await.json();
        let ids = page["data"].as_array().unwrap().iter();
        seen.extend(ids.map(|key| key["id"].as_str().unwrap().to_owned()));
        if page["cursor"].is_null() {
            break;
        }
        let cursor: String = page["cursor"]
            .to_string()
            .bytes()
            .map(|byte| format!("%{byte:02X}"))
            .collect();
        path = format!("/api/keys?limit=3&cursor={cursor}");
    }
    let num_seen = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((num_seen, seen.len()), (8, 8), "seven and the first one");
    for bad in [
        "limit=0",
        "limit=101",
        "limit=",
        "cursor=%7B",
        "cursor=%7B%22id%22%3A1%7D",
    ] {
        let answer = service
            .call(&owner, Method::GET, &format!("/api/keys?{bad}"), Value::Null)
            .await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "validation_error"),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn bad_bodies_name_every_fault() {
    let service = service(HttpConfig::for_test()).await;
    let owner = service.owner().await;
    let body = json!({ "name": "", "defaultTags": { "_ns_x": "1" }, "allowedProviders": ["openai", "acme"] });
    let refused = service.call(&owner, Method::POST, "/api/keys", body).await;
    assert_eq!(refused.status, 400);
    let error = refused.json()["error"].clone();
    assert_eq!(error["message"], "Request validation failed.");
    let issues = error["details"]["issues"].as_array().unwrap();
    let paths: Vec<_> = issues.iter().map(|issue| issue["path"].clone()).collect();
    assert_eq!(
        json!(paths),
        json!([["name"], ["defaultTags", "_ns_x"], ["allowedProviders", 1]])
    );
    for path in [
        "/api/keys/ns_key_x",
        "/api/keys/5f0c2b1e-8a44-4d0e-9b7b-2f6a1c9d3e10",
    ] {
        let answer = service.call(&owner, Method::DELETE, path, Value::Null).await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (400, "validation_error"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn organizations_are_made_renamed_switched_to_and_deleted() {
    let service = service(HttpConfig::for_test()).await;
    let owner = service.owner().await;
    let made = service
        .call(
            &owner,
            Method::POST,
            "/api/orgs",
            json!({ "name": "Beta", "slug": "beta-1" }),
        )
        .await;
    assert_eq!(made.status, 201, "{}", made.text);
    let beta = made.json()["data"].clone();
    assert_eq!(
        keys_of(&beta),
        ["createdAt", "id", "isPersonal", "name", "slug", "updatedAt"]
    );
    let taken = service
        .call(
            &owner,
            Method::POST,
            "/api/orgs",
            json!({ "name": "Other", "slug": "beta-1" }),
        )
        .await;
    assert_eq!((taken.status, taken.code().as_str()), (409, "conflict"));
    let session = service
        .call(&owner, Method::GET, "/api/auth/session", Value::Null)
        .await
        .json();
    assert_eq!(
        session["orgId"],
        json!(service.owner.org_id),
        "the active one stays"
    );

    let path = format!("/api/orgs/{}", beta["id"].as_str().unwrap());
    let renamed = service
        .call(&owner, Method::PATCH, &path, json!({ "name": "Beta Two" }))
        .await;
    assert_eq!(renamed.json()["data"]["name"], "Beta Two");
    let nothing = service.call(&owner, Method::PATCH, &path, json!({})).await;
    assert_eq!(nothing.status, 400);
    assert!(nothing.json()["error"]["details"].is_null());

    let bare = json!({ "orgId": beta["id"].as_str().unwrap().strip_prefix("ns_org_").unwrap() });
    let switched = service
        .call(&owner, Method::POST, "/api/auth/switch-org", bare)
        .await;
    assert_eq!((switched.status, &switched.json()["orgId"]), (200, &beta["id"]));
    let listed = service
        .call(&owner, Method::GET, "/api/orgs", Value::Null)
        .await
        .json();
    let names: Vec<_> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|org| org["name"].clone())
        .collect();
    assert_eq!(json!(names), json!(["Acme", "Beta Two"]), "oldest first");
    assert_eq!(listed["data"][1]["role"], "owner");

    assert_eq!(
        service
            .call(&owner, Method::DELETE, &path, Value::Null)
            .await
            .status,
        200
    );
    let gone = service.call(&owner, Method::GET, &path, Value::Null).await;
    assert_eq!((gone.status, gone.code().as_str()), (403, "forbidden"));
    let session = service
        .call(&owner, Method::GET, "/api/auth/session", Value::Null)
        .await;
    assert_eq!(session.status, 200, "{}", session.text);
    assert_ne!(session.json()["orgId"], beta["id"]);
}

#[tokio::test]
async fn who_was_invited_joins_and_others_do_not() {
    let service = service(HttpConfig::for_test()).await;
    let owner = service.owner().await;
    let (guest, other) = (
        service.person("guest@example.com").await,
        service.person("other@example.com").await,
    );
    let path = service.org_path("/invitations");
    let body = json!({ "email": "Guest@Example.com", "role": "member" });
    let made = service.call(&owner, Method::POST, &path, body.clone()).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let invitation = made.json()["data"].clone();
    let token = json!({ "token": invitation["token"] });
    assert_eq!(invitation["email"], "guest@example.com");
    assert_eq!(invitation["token"].as_str().unwrap().len(), 55);
    let again = service.call(&owner, Method::POST, &path, body).await;
    assert_eq!((again.status, again.code().as_str()), (409, "conflict"));
    let own = json!({ "email": "ADA@example.com", "role": "viewer" });
    assert_eq!(service.call(&owner, Method::POST, &path, own).await.status, 400);
    let listed = service.call(&owner, Method::GET, &path, Value::Null).await.json();
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    assert!(!listed.to_string().contains(token["token"].as_str().unwrap()));

    let accept = async |person: &Person, token: Value| {
        service
            .call(person, Method::POST, "/api/invite/accept", token)
            .await
    };
    let unknown = accept(&guest, json!({ "token": "ns_inv_0" })).await;
    assert_eq!((unknown.status, unknown.code().as_str()), (404, "not_found"));
    let foreign = accept(&other, token.clone()).await;
    assert_eq!((foreign.status, foreign.code().as_str()), (403, "forbidden"));
    let accepted = accept(&guest, token.clone()).await;
    let expected = json!({ "orgId": service.owner.org_id, "role": "member", "redirectUrl": "/app" });
    assert_eq!((accepted.status, accepted.json()), (200, expected));
    let session = service
        .call(&guest, Method::GET, "/api/auth/session", Value::Null)
        .await
        .json();
    assert_eq!(
        session["orgId"],
        json!(service.owner.org_id),
        "it is the active one now"
    );
    let twice = accept(&guest, token).await;
    assert_eq!((twice.status, twice.code().as_str()), (409, "conflict"));
}

#[tokio::test]
async fn an_expired_invitation_is_gone_and_makes_room() {
    let service = service(HttpConfig::for_test()).await;
    let owner = service.owner().await;
    let guest = service.person("guest@example.com").await;
    let path = service.org_path("/invitations");
    let body = json!({ "email": "guest@example.com", "role": "viewer" });
    let made = service
        .call(&owner, Method::POST, &path, body.clone())
        .await
        .json();
    service.execute("UPDATE invitations SET expires_at = 1").await;
    let token = json!({ "token": made["data"]["token"] });
    let expired = service
        .call(&guest, Method::POST, "/api/invite/accept", token)
        .await;
    assert_eq!((expired.status, expired.code().as_str()), (410, "expired"));
    assert_eq!(service.call(&owner, Method::POST, &path, body).await.status, 201);
}

#[tokio::test]
async fn members_change_by_the_rules_of_their_roles() {
    let service = service(HttpConfig::for_test()).await;
    let owner = service.owner().await;
    let admin = service.member("admin@example.com", Role::Admin).await;
    let second = service.member("second@example.com", Role::Admin).await;
    let viewer = service.member("viewer@example.com", Role::Viewer).await;
    let of = |person: &Person| service.org_path(&format!("/members/{}", person.user));
    let patch = async |by: &Person, of: String, role: &str| {
        service
            .call(by, Method::PATCH, &of, json!({ "role": role }))
            .await
            .status
    };
    assert_eq!(patch(&admin, of(&admin), "viewer").await, 403, "oneself");
    assert_eq!(
        patch(&admin, of(&viewer), "owner").await,
        400,
        "owner is transferred"
    );
    assert_eq!(patch(&admin, of(&owner), "member").await, 403, "the owner");
    assert_eq!(patch(&admin, of(&second), "member").await, 403, "another admin");
    let nobody = format!("ns_usr_{}", uuid::Uuid::new_v4());
    let nobody = service.org_path(&format!("/members/{nobody}"));
    assert_eq!(patch(&admin, nobody, "member").await, 404);
    assert_eq!(patch(&admin, of(&viewer), "member").await, 200);
    assert_eq!(patch(&owner, of(&second), "member").await, 200);
    let listed = service
        .call(&viewer, Method::GET, &service.org_path("/members"), Value::Null)
        .await
        .json();
    let roles: Vec<_> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|member| member["role"].clone())
        .collect();
    assert_eq!(json!(roles), json!(["owner", "admin", "member", "member"]));
    assert_eq!(listed["data"][0]["email"], "ada@example.com");
}

#[tokio::test]
async fn who_is_removed_or_leaves_loses_keys_and_access() {
    let service = service(HttpConfig::for_test()).await;
    let owner = service.owner().await;
    let member = service.member("member@example.com", Role::Member).await;
    let created = service
        .call(&member, Method::POST, "/api/keys", json!({ "name": "theirs" }))
        .await
        .json();
    let secret = created["data"]["rawKey"].as_str().unwrap().to_owned();
    let introspect = async || {
        service
            .get("/api/auth/introspect", &[(KEY, &secret)])
            .await
            .status
    };
    assert_eq!(introspect().await, 200);
    let path = service.org_path(&format!("/members/{}", member.user));
    assert_eq!(
        service
            .call(&owner, Method::DELETE, &path, Value::Null)
            .await
            .status,
        200
    );
    assert_eq!(introspect().await, 401);
    let session = service
        .call(&member, Method::GET, "/api/auth/session", Value::Null)
        .await
        .json();
    assert_ne!(
        session["orgId"],
        json!(service.owner.org_id),
        "the personal organization"
    );

    let leave = service.org_path("/leave");
    assert_eq!(
        service
            .call(&owner, Method::POST, &leave, Value::Null)
            .await
            .status,
        403,
        "owners transfer first"
    );
    let second = service.member("second@example.com", Role::Viewer).await;
    assert_eq!(
        service
            .call(&second, Method::POST, &leave, Value::Null)
            .await
            .status,
        200
    );
    assert_eq!(
        service
            .call(&second, Method::POST, &leave, Value::Null)
            .await
            .status,
        403
    );
}

#[tokio::test]
async fn an_organization_is_handed_to_another_member() {
    let service = service(HttpConfig::for_test()).await;
    let owner = service.owner().await;
    let member = service.member("member@example.com", Role::Member).await;
    let viewer = service.member("viewer@example.com", Role::Viewer).await;
    let path = service.org_path("/transfer");
    let transfer = async |by: &Person, to: &Person| {
        let body = json!({ "newOwnerUserId": to.user });
        service.call(by, Method::POST, &path, body).await
    };
    assert_eq!(transfer(&owner, &owner).await.status, 400);
    assert_eq!(transfer(&owner, &viewer).await.status, 400);
    assert_eq!(transfer(&member, &member).await.status, 403);
    let done = transfer(&owner, &member).await;
    let expected = json!({ "success": true, "newOwnerUserId": member.user });
    assert_eq!((done.status, done.json()), (200, expected));
    assert_eq!(transfer(&owner, &member).await.status, 403, "an admin by now");
}

#[tokio::test]
async fn the_audit_log_tells_what_was_done_and_no_secret() {
    let service = service(HttpConfig::for_test()).await;
    let owner = service.owner().await;
    let created = service
        .call(&owner, Method::POST, "/api/keys", json!({ "name": "etl" }))
        .await
        .json();
    let id = created["data"]["id"].as_str().unwrap().to_owned();
    let refused = service.call(&owner, Method::POST, "/api/keys", json!({})).await;
    assert_eq!(refused.status, 400);
    service
        .call(&owner, Method::DELETE, &format!("/api/keys/{id}"), Value::Null)
        .await;
    let log = async |query: &str| {
        service
            .call(
                &owner,
                Method::GET,
                &format!("/api/audit-log{query}"),
                Value::Null,
            )
            .await
    };
    let all = log("").await;
    assert_eq!(all.status, 200, "{}", all.text);
    let events = all.json()["data"].clone();
    let actions: Vec<_> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["action"].clone())
        .collect();
    assert_eq!(json!(actions), json!(["api_key.revoked", "api_key.created"]));
    let first = json!({
        "id": events[1]["id"], "actorId": owner.user, "action": "api_key.created", "resourceType": "api_key",
        "resourceId": id, "metadata": { "name": "etl" }, "createdAt": events[1]["createdAt"],
    });
    assert_eq!(events[1], first);
    assert!(!all.text.contains(created["data"]["rawKey"].as_str().unwrap()));
    let some = log("?action=api_key.created&limit=1&cursor=").await.json();
    assert_eq!(some["data"].as_array().unwrap().len(), 1);
    assert_eq!(
        log("?action=x").await.json(),
        json!({ "data": [], "cursor": null })
    );
    let page = log("?limit=1").await.json();
    let cursor: String = page["cursor"]
        .to_string()
        .bytes()
        .map(|byte| format!("%{byte:02X}"))
        .collect();
    let next = log(&format!("?limit=1&cursor={cursor}")).await.json();
    assert_eq!(next["data"][0], first);
    assert!(next["cursor"].is_null());
}

#[tokio::test]
async fn guesses_of_invitations_are_few_from_one_address() {
    let service = service(HttpConfig {
        attempts_per_ip_per_min: 3,
        ..HttpConfig::for_test()
    })
    .await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let answer = service.post("/api/invite/accept", &[], "{}").await;
        statuses.push((answer.status, answer.code()));
    }
    let unauthenticated = (401, "authentication_required".to_owned());
    assert_eq!(statuses[..3], vec![unauthenticated; 3]);
    assert_eq!(
        statuses[3],
        (429, "rate_limited".to_owned()),
        "before authentication"
    );
}

#[tokio::test]
async fn the_document_describes_what_is_served() {
    let service = service(HttpConfig::for_test()).await;
    let document = service.get("/api/openapi.json", &[]).await;
    assert_eq!(
        (document.status, document.header("content-type")),
        (200, "application/json")
    );
    let document = document.json();
    assert_eq!(document["openapi"], "3.1.0");
    for path in [
        "/api/keys/{id}",
        "/api/orgs/{org}/members/{user}",
        "/api/openapi.json",
    ] {
        assert!(document["paths"][path].is_object(), "{path}");
    }
    let text = document.to_string();
    let referred = text.split("#/components/schemas/").skip(1);
    for name in referred.map(|rest| rest.split('"').next().unwrap()) {
        assert!(document["components"]["schemas"][name].is_object(), "{name}");
    }
    let page = service.get("/api/docs", &[]).await;
    assert_eq!(
        (page.status, page.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    assert!(page.text.contains("/api/keys/{id}"));
}
