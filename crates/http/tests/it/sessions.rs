use axum::body::Body;
use axum::http::Method;
use marginstream_http::HttpConfig;
use schemas::access::Tier;
use serde_json::json;

use crate::support::{from_peer, request, service, service_of_tier};

fn credentials(email: &str, password: &str) -> String {
    json!({ "email": email, "password": password }).to_string()
}

#[tokio::test]
async fn signing_in_starts_a_session_and_signing_out_ends_it() {
    let service = service(HttpConfig::for_test()).await;
    let signed_in = service.sign_in().await;
    let whoami = json!({ "userId": service.owner.user_id, "orgId": service.owner.org_id, "role": "owner" });
    assert_eq!((signed_in.status, signed_in.json()), (200, whoami.clone()));
    let cookie = signed_in.cookie();
    let attributes = signed_in
        .header("set-cookie")
        .strip_prefix(&cookie)
        .unwrap()
        .to_owned();
    assert_eq!(attributes, "; HttpOnly; SameSite=Lax; Path=/; Max-Age=2592000");

    let session = service.get("/api/auth/session", &[("cookie", &cookie)]).await;
    assert_eq!((session.status, session.json()), (200, whoami));
    let signed_out = service.post("/api/auth/logout", &[("cookie", &cookie)], "").await;
    assert_eq!(
        (signed_out.status, signed_out.text.as_str()),
        (200, r#"{"success":true}"#)
    );
    assert_eq!(
        signed_out.header("set-cookie"),
        "ns-session=; HttpOnly; SameSite=Lax; Path=/; Max-Age=0"
    );
    let session = service.get("/api/auth/session", &[("cookie", &cookie)]).await;
    assert_eq!(
        (session.status, session.code().as_str()),
        (401, "authentication_required")
    );
}

#[tokio::test]
async fn cookies_are_secure_behind_tls() {
    let service = service(HttpConfig {
        behind_tls: true,
        ..HttpConfig::for_test()
    })
    .await;
    assert!(service.sign_in().await.header("set-cookie").ends_with("; Secure"));
}

#[tokio::test]
async fn wrong_passwords_and_unknown_accounts_look_the_same() {
    let service = service(HttpConfig::for_test()).await;
    let wrong = service
        .post(
            "/api/auth/login",
            &[],
            credentials("ada@example.com", "not the password"),
        )
        .await;
    let unknown = service
        .post(
            "/api/auth/login",
            &[],
            credentials("bob@example.com", "not the password"),
        )
        .await;
    assert_eq!((wrong.status, wrong.header("set-cookie")), (401, ""));
    assert_eq!((unknown.status, &unknown.text), (wrong.status, &wrong.text));
    assert_eq!(wrong.code(), "authentication_required");
}

#[tokio::test]
async fn bad_credentials_name_each_member() {
    let service = service(HttpConfig::for_test()).await;
    let answer = service.post("/api/auth/login", &[], r#"{"email":5}"#).await;
    let issues = answer.json()["error"]["details"]["issues"].clone();
    assert_eq!(
        (&issues[0]["path"], &issues[1]["path"]),
        (&json!(["email"]), &json!(["password"]))
    );
    assert_eq!(service.post("/api/auth/login", &[], "[]").await.status, 400);
    assert_eq!(
        service
            .post("/api/auth/login", &[("content-type", "text/plain")], "{}")
            .await
            .status,
        415
    );
}

#[tokio::test]
async fn attempts_are_limited_per_account_and_per_address() {
    let config = HttpConfig {
        sign_in_per_account_per_min: 2,
        sign_in_per_ip_per_min: 4,
        ..HttpConfig::for_test()
    };
    let service = service(config).await;
    let attempt = async |email: &str, peer: &str| {
        let headers = [("content-type", "application/json")];
        let body = Body::from(credentials(email, "not the password"));
        service
            .send(from_peer(
                request(Method::POST, "/api/auth/login", &headers, body),
                peer,
            ))
            .await
    };
    assert_eq!(attempt("ada@example.com", "203.0.113.1:1").await.status, 401);
    assert_eq!(attempt(" ADA@example.com", "203.0.113.2:1").await.status, 401);
    let refused = attempt("ada@example.com", "203.0.113.3:1").await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (429, "rate_limit_exceeded")
    );
    assert!(refused.number("retry-after") >= 1);
    for email in ["a@x", "b@x", "c@x", "d@x"] {
        assert_eq!(attempt(email, "203.0.113.9:1").await.status, 401);
    }
    assert_eq!(attempt("e@x", "203.0.113.9:1").await.status, 429);
}

#[tokio::test]
async fn a_session_route_takes_no_key() {
    let service = service(HttpConfig::for_test()).await;
    let session = service.sign_in().await.cookie();
    let key = ("x-nullspend-key", service.key());
    assert_eq!(service.get("/api/auth/session", &[key]).await.status, 401);
    assert_eq!(
        service
            .get("/api/auth/session", &[key, ("cookie", &session)])
            .await
            .status,
        401
    );
    assert_eq!(
        service
            .get("/api/auth/session", &[("cookie", "ns-session=forged")])
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn role_comes_before_tier_and_tier_before_the_body() {
    let service = service_of_tier(HttpConfig::for_test(), Tier::Free).await;
    let session = service.sign_in().await.cookie();
    let cookie = [("cookie", session.as_str()), ("content-type", "text/plain")];
    let tier = service.post("/api/customer-mappings", &cookie, "").await;
    let error = json!({
        "code": "forbidden",
        "message": "Customer mappings require the Pro plan or higher. Upgrade at /app/billing.",
        "details": {"currentTier": "free", "requiredTier": "pro", "upgradeUrl": "/app/billing"},
    });
    assert_eq!((tier.status, tier.json()), (403, json!({ "error": error })));

    service.execute("UPDATE memberships SET role = 'member'").await;
    let role = service.post("/api/customer-mappings", &cookie, "").await;
    assert_eq!(
        role.json()["error"]["message"],
        "This action requires the admin role or higher."
    );
    assert_eq!(
        service
            .post("/api/customer-mappings", &cookie[1..], "")
            .await
            .status,
        401
    );

    service.execute("UPDATE memberships SET role = 'admin'").await;
    service.execute("UPDATE subscriptions SET tier = 'pro'").await;
    assert_eq!(
        service.post("/api/customer-mappings", &cookie, "").await.status,
        415
    );
}

#[tokio::test]
async fn unknown_roles_and_no_membership_fail_closed() {
    let service = service(HttpConfig::for_test()).await;
    let session = service.sign_in().await.cookie();
    let whoami = async || service.get("/api/auth/session", &[("cookie", &session)]).await;
    service.execute("UPDATE memberships SET role = 'Owner'").await;
    let answer = whoami().await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"));
    assert_eq!(
        answer.json()["error"]["message"],
        "You are not a member of this organization."
    );
    service.execute("DELETE FROM memberships").await;
    let personal = whoami().await;
    assert_eq!(personal.status, 200, "{}", personal.text);
    assert_ne!(personal.json()["orgId"], json!(service.owner.org_id));
    assert_eq!(personal.json()["role"], "owner");
}
