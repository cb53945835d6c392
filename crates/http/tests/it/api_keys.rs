use marginstream_http::HttpConfig;
use marginstream_http::config::TierQuota;
use schemas::access::Tier;
use serde_json::{Value, json};

use crate::support::{service, service_of_tier};

const KEY: &str = "x-nullspend-key";

#[tokio::test]
async fn all_unusable_keys_look_the_same() {
    let service = service(HttpConfig::for_test()).await;
    let unknown = format!("ns_live_sk_{}", "0".repeat(32));
    let upper_case = service.key().to_uppercase();
    for headers in [
        &[][..],
        &[(KEY, "")],
        &[(KEY, "x")],
        &[(KEY, unknown.as_str())],
        &[(KEY, upper_case.as_str())],
    ] {
        let answer = service.get("/api/auth/introspect", headers).await;
        let error = json!({
            "code": "authentication_required", "message": "Invalid or missing API key.", "details": null,
        });
        assert_eq!(
            (answer.status, answer.json()),
            (401, json!({ "error": error })),
            "{headers:?}"
        );
        assert_eq!(answer.header("x-ratelimit-limit"), "");
    }
}

#[tokio::test]
async fn a_key_says_whose_it_is() {
    let service = service(HttpConfig::for_test()).await;
    let answer = service
        .get("/api/auth/introspect", &[("X-NullSpend-Key", service.key())])
        .await;
    let expected = json!({ "userId": service.owner.user_id, "keyId": service.owner.api_key_id });
    assert_eq!((answer.status, answer.json()), (200, expected));
}

#[tokio::test]
async fn a_revoked_key_is_remembered_until_the_organization_is_forgotten() {
    let service = service(HttpConfig::for_test()).await;
    let introspect = async || {
        service
            .get("/api/auth/introspect", &[(KEY, service.key())])
            .await
            .status
    };
    assert_eq!(introspect().await, 200);
    service.execute("UPDATE api_keys SET revoked_at = 1").await;
    assert_eq!(introspect().await, 200, "cached, for 30 s at most");
    service.http.forget_keys(service.owner.org_id);
    assert_eq!(introspect().await, 401);
}

#[tokio::test]
async fn a_key_whose_owner_has_left_is_forbidden_and_shows_its_quota() {
    let service = service(HttpConfig {
        requests_per_key_per_min: TierQuota::of(600),
        ..HttpConfig::for_test()
    })
    .await;
    service.execute("DELETE FROM memberships").await;
    let answer = service.get("/api/auth/introspect", &[(KEY, service.key())]).await;
    assert_eq!((answer.status, answer.code().as_str()), (403, "forbidden"));
    assert_eq!(
        (
            answer.number("x-ratelimit-limit"),
            answer.number("x-ratelimit-remaining")
        ),
        (600, 599)
    );
}

#[tokio::test]
async fn a_store_that_does_not_answer_is_unavailable() {
    let service = service(HttpConfig::for_test()).await;
    service.http.control().close().await;
    let answer = service.get("/api/auth/introspect", &[(KEY, service.key())]).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (503, "service_unavailable")
    );
    assert_eq!(answer.header("retry-after"), "30");
    let answer = service
        .get("/api/auth/session", &[("cookie", "ns-session=x")])
        .await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (503, "service_unavailable")
    );
}

#[tokio::test]
async fn each_key_has_a_quota_of_requests() {
    let service = service(HttpConfig {
        requests_per_key_per_min: TierQuota::of(2),
        ..HttpConfig::for_test()
    })
    .await;
    let first = service
        .post("/api/cost-events", &[(KEY, service.key())], "{}")
        .await;
    assert_eq!((first.status, first.number("x-ratelimit-remaining")), (201, 1));
    let invalid = service
        .post("/api/cost-events", &[(KEY, service.key())], "[]")
        .await;
    assert_eq!(
        (invalid.status, invalid.number("x-ratelimit-remaining")),
        (400, 0)
    );
    let refused = service
        .post("/api/cost-events", &[(KEY, service.key())], "{}")
        .await;
    assert_eq!(
        (refused.status, refused.code().as_str()),
        (429, "rate_limit_exceeded")
    );
    assert!((29..=30).contains(&refused.number("retry-after")));
    assert_eq!(refused.number("x-ratelimit-remaining"), 0);
}

#[tokio::test]
async fn tiers_may_have_quotas_of_their_own() {
    let quota = TierQuota {
        default_per_min: 1,
        overrides: [(Tier::Enterprise, 0), (Tier::Pro, 3)].into(),
    };
    let config = || HttpConfig {
        requests_per_key_per_min: quota.clone(),
        ..HttpConfig::for_test()
    };
    for (tier, limit) in [(Tier::Free, "1"), (Tier::Pro, "3"), (Tier::Enterprise, "")] {
        let service = service_of_tier(config(), tier).await;
        let answer = service.get("/api/auth/introspect", &[(KEY, service.key())]).await;
        assert_eq!(answer.header("x-ratelimit-limit"), limit, "{tier:?}");
    }
}

fn batch_of(count: usize) -> String {
    json!({ "events": vec![Value::Null; count] }).to_string()
}

#[tokio::test]
async fn batches_take_from_the_quota_of_events() {
    let service = service(HttpConfig {
        events_per_key_per_min: TierQuota::of(50),
        ..HttpConfig::for_test()
    })
    .await;
    let headers = [(KEY, service.key())];
    assert_eq!(
        service
            .post("/api/cost-events/batch", &headers, batch_of(40))
            .await
            .status,
        201
    );
    let refused = service
        .post("/api/cost-events/batch", &headers, batch_of(20))
        .await;
    assert_eq!((refused.status, refused.number("x-ratelimit-limit")), (429, 50));
    assert_eq!(
        service
            .post("/api/cost-events/batch", &headers, batch_of(10))
            .await
            .status,
        201
    );
}

#[tokio::test]
async fn a_stream_longer_than_the_quota_is_slowed_down_not_refused() {
    let per_min = 6_000;
    let service = service(HttpConfig {
        events_per_key_per_min: TierQuota::of(per_min),
        ..HttpConfig::for_test()
    })
    .await;
    let started = std::time::Instant::now();
    let lines = "\n".repeat(per_min as usize + 49);
    let answer = service
        .post("/api/cost-events/stream", &[(KEY, service.key())], lines)
        .await;
    assert_eq!(answer.status, 200);
    // 50 lines over the quota, at 100 a second, in slices of 100.
    let millis = started.elapsed().as_millis();
    assert!((350..3_000).contains(&millis), "{millis}");
}

#[tokio::test]
async fn a_repeated_call_replays_its_answer_after_authentication() {
    let service = service(HttpConfig::for_test()).await;
    let headers = [(KEY, service.key()), ("idempotency-key", "job-1")];
    let first = service
        .post("/api/cost-events/batch", &headers, batch_of(1))
        .await;
    assert_eq!((first.status, first.header("x-idempotent-replayed")), (201, ""));
    let again = service
        .post("/api/cost-events/batch", &headers, batch_of(2))
        .await;
    assert_eq!(
        (again.status, again.header("x-idempotent-replayed")),
        (200, "true")
    );
    assert_eq!(again.text, first.text);
    let stranger = service
        .post(
            "/api/cost-events/batch",
            &[("idempotency-key", "job-1")],
            batch_of(1),
        )
        .await;
    assert_eq!(stranger.status, 401);
    let other = service
        .post(
            "/api/cost-events/batch",
            &[headers[0], ("idempotency-key", "job-2")],
            batch_of(1),
        )
        .await;
    assert_eq!(other.status, 201);
    let long = "k".repeat(201);
    let refused = service
        .post(
            "/api/cost-events/batch",
            &[headers[0], ("idempotency-key", &long)],
            batch_of(1),
        )
        .await;
    assert_eq!(
        refused.json()["error"]["details"]["issues"][0]["path"],
        json!(["Idempotency-Key"])
    );
}

#[tokio::test]
async fn keys_read_only_where_the_organization_allows_it() {
    let service = service(HttpConfig::for_test()).await;
    let session = service.sign_in().await.cookie();
    let read = async |headers: &[(&str, &str)]| service.get("/api/cost-events", headers).await.status;
    assert_eq!(read(&[("cookie", &session)]).await, 200);
    assert_eq!(read(&[(KEY, service.key())]).await, 401);
    assert_eq!(
        read(&[(KEY, service.key()), ("cookie", &session)]).await,
        401,
        "the key's path is final"
    );
    service
        .http
        .control()
        .set_setting(service.owner.org_id, "allowApiKeyReads", "true")
        .await
        .unwrap();
    assert_eq!(read(&[(KEY, service.key())]).await, 200);
    assert_eq!(read(&[(KEY, "wrong"), ("cookie", &session)]).await, 401);
    assert_eq!(read(&[]).await, 401);
}

#[tokio::test]
async fn the_last_use_is_written_off_the_hot_path() {
    let service = service(HttpConfig::for_test()).await;
    for _ in 0..3 {
        service.get("/api/auth/introspect", &[(KEY, service.key())]).await;
    }
    let key = service.owner.api_key_id;
    let now = schemas::time::TimestampMs::now();
    // Uses are gathered for a second before they are written.
    tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
    let written = service.http.control().touch_api_keys(&[key], now).await.unwrap();
    assert_eq!(written, 0, "touched within the minute already");
}
