use std::io::Write;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::Method;
use marginstream_http::HttpConfig;
use serde_json::json;

use crate::support::{from_peer, request, service};

#[tokio::test]
async fn every_answer_carries_the_fixed_headers() {
    let service = service(HttpConfig::for_test()).await;
    let session = service.sign_in().await.cookie();
    let answers = [
        service.get("/api/health", &[]).await,
        service.get("/api/auth/session", &[]).await,
        service.get("/api/nothing", &[]).await,
        service.get("/nothing", &[]).await,
        service.post("/api/health", &[], "{}").await,
        service.get("/api/report", &[("cookie", &session)]).await,
        service.get("/api/down", &[]).await,
    ];
    assert_eq!(
        answers.each_ref().map(|answer| answer.status),
        [200, 401, 404, 404, 405, 200, 503]
    );
    for answer in answers {
        assert_eq!(answer.header("nullspend-version"), "2026-04-01");
        assert_eq!(answer.header("cache-control"), "private, no-store");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert_eq!(
            answer.header("referrer-policy"),
            "strict-origin-when-cross-origin"
        );
        assert_eq!(answer.header("strict-transport-security"), "");
        assert_eq!(answer.header("x-request-id").len(), 36);
        assert!(
            answer
                .headers
                .keys()
                .all(|name| !name.as_str().starts_with("access-control-"))
        );
    }
}

#[tokio::test]
async fn only_session_routes_vary_by_cookie() {
    let service = service(HttpConfig::for_test()).await;
    assert_eq!(
        service.get("/api/auth/session", &[]).await.header("vary"),
        "Cookie"
    );
    assert_eq!(
        service.post("/api/cost-events", &[], "{}").await.header("vary"),
        ""
    );
}

#[tokio::test]
async fn tls_adds_hsts_and_files_keep_their_cache_rule() {
    let service = service(HttpConfig {
        behind_tls: true,
        ..HttpConfig::for_test()
    })
    .await;
    assert_eq!(
        service
            .get("/api/health", &[])
            .await
            .header("strict-transport-security"),
        "max-age=31536000"
    );
    assert_eq!(
        service.get("/style.css", &[]).await.header("cache-control"),
        "public, max-age=60"
    );
}

#[tokio::test]
async fn sane_request_ids_are_echoed() {
    let service = service(HttpConfig::for_test()).await;
    let echoed = async |id: &str| {
        service
            .get("/api/health", &[("x-request-id", id)])
            .await
            .header("x-request-id")
            == id
    };
    assert!(echoed("req-1/a:b").await);
    assert!(echoed(&"x".repeat(128)).await);
    assert!(!echoed(&"x".repeat(129)).await);
    assert!(!echoed("two words").await);
    assert!(!echoed("").await);
}

#[tokio::test]
async fn unknown_paths_and_methods_answer_in_the_envelope() {
    let service = service(HttpConfig::for_test()).await;
    let missing = service.get("/api/nothing", &[]).await;
    assert_eq!(
        missing.json(),
        json!({"error": {"code": "not_found", "message": "Not found.", "details": null}})
    );
    assert_eq!(missing.header("content-type"), "application/json");
    let method = service.get("/api/customer-mappings", &[]).await;
    assert_eq!(
        (method.status, method.code().as_str()),
        (405, "method_not_allowed")
    );
    assert_eq!(method.header("allow"), "POST");
}

#[tokio::test]
async fn a_handler_cannot_see_a_caller_that_was_not_declared() {
    let service = service(HttpConfig::for_test()).await;
    let session = service.sign_in().await.cookie();
    let answer = service.get("/api/undeclared", &[("cookie", &session)]).await;
    assert_eq!((answer.status, answer.code().as_str()), (500, "internal_error"));
}

#[tokio::test]
async fn failures_never_show_their_cause() {
    let service = service(HttpConfig::for_test()).await;
    let broken = service.get("/api/broken", &[]).await;
    assert_eq!(
        (
            broken.status,
            broken.code().as_str(),
            broken.header("retry-after")
        ),
        (500, "internal_error", "")
    );
    let down = service.get("/api/down", &[]).await;
    assert_eq!(
        (down.status, down.code().as_str(), down.header("retry-after")),
        (503, "service_unavailable", "30")
    );
    let panicked = service.get("/api/panic", &[]).await;
    assert_eq!(
        (panicked.status, panicked.code().as_str()),
        (500, "internal_error")
    );
    for answer in [broken, down, panicked] {
        assert!(
            !answer.text.contains("10.0.0.9") && !answer.text.contains("secret state"),
            "{}",
            answer.text
        );
    }
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_cause_is_logged_once_beside_the_request_id_and_nobody_is_named() {
    let service = service(HttpConfig::for_test()).await;
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    service.get("/api/broken", &[("x-request-id", "req-7")]).await;
    let peer = request(
        Method::GET,
        "/api/cost-events/bob@example.com",
        &[("cookie", "ns-session=tok")],
        Body::empty(),
    );
    service.send(from_peer(peer, "203.0.113.7:9")).await;
    drop(guard);

    let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let own: Vec<&str> = text
        .lines()
        .filter(|line| line.contains("marginstream_http"))
        .collect();
    let causes: Vec<&&str> = own.iter().filter(|line| line.contains("refused")).collect();
    assert_eq!(causes.len(), 1, "{text}");
    assert!(
        causes[0].contains("ERROR") && causes[0].contains("req-7"),
        "{text}"
    );
    let requests: Vec<&&str> = own.iter().filter(|line| line.contains("DEBUG")).collect();
    assert_eq!(requests.len(), 2, "{text}");
    assert!(
        requests[0].contains("status=500") && requests[0].contains("duration_ms="),
        "{text}"
    );
    assert!(requests[1].contains("path=\"/api/cost-events/{id}\""), "{text}");
    assert!(
        !own.iter()
            .any(|line| line.contains("bob@") || line.contains("203.0.113") || line.contains("=tok"))
    );
}

#[tokio::test]
async fn foreign_origins_may_not_change_state() {
    let service = service(HttpConfig::for_test()).await;
    let foreign = [
        ("host", "app.example.com"),
        ("origin", "https://evil.example.com"),
    ];
    let refused = service.post("/api/auth/logout", &foreign, "").await;
    assert_eq!((refused.status, refused.code().as_str()), (403, "csrf_rejected"));
    let deleted = service
        .send(request(Method::DELETE, "/api/keys/x", &foreign, Body::empty()))
        .await;
    assert_eq!(deleted.status, 403);
    let null = service
        .post(
            "/api/auth/logout",
            &[("host", "app.example.com"), ("origin", "null")],
            "",
        )
        .await;
    assert_eq!((null.status, null.code().as_str()), (400, "invalid_origin"));
    assert_eq!(service.get("/api/health", &foreign).await.status, 200);
    assert_eq!(service.post("/api/auth/logout", &[], "").await.status, 200);
}

#[tokio::test]
async fn each_address_has_its_quota_before_authentication() {
    let config = HttpConfig {
        api_per_ip_per_min: 2,
        ingest_per_ip_per_min: 3,
        ..HttpConfig::for_test()
    };
    let service = service(config).await;
    let session = |peer| {
        from_peer(
            request(Method::GET, "/api/auth/session", &[], Body::empty()),
            peer,
        )
    };
    let statuses = [
        service.send(session("203.0.113.7:1")).await.status,
        service.send(session("203.0.113.7:2")).await.status,
        service.send(session("203.0.113.7:3")).await.status,
        service.send(session("203.0.113.8:1")).await.status,
    ];
    assert_eq!(statuses, [401, 401, 429, 401]);
    let ingest = |_| {
        from_peer(
            request(Method::POST, "/api/cost-events", &[], Body::empty()),
            "203.0.113.7:4",
        )
    };
    let mut statuses = Vec::new();
    for number in 0..4 {
        statuses.push(service.send(ingest(number)).await.status);
    }
    assert_eq!(statuses, [401, 401, 401, 429], "ingest has a quota of its own");
    let style = from_peer(
        request(Method::GET, "/style.css", &[], Body::empty()),
        "203.0.113.7:5",
    );
    assert_eq!(service.send(style).await.status, 200, "declared without a quota");
}

#[tokio::test]
async fn a_429_says_when_to_come_back() {
    let service = service(HttpConfig {
        api_per_ip_per_min: 1,
        ..HttpConfig::for_test()
    })
    .await;
    service.get("/api/health", &[]).await;
    let refused = service.get("/api/health", &[("x-request-id", "req-9")]).await;
    assert_eq!(refused.json()["error"]["code"], "rate_limit_exceeded");
    assert_eq!(
        (
            refused.number("x-ratelimit-limit"),
            refused.number("x-ratelimit-remaining")
        ),
        (1, 0)
    );
    let now_ms = schemas::time::TimestampMs::now().0;
    let wait_ms = refused.number("x-ratelimit-reset") - now_ms;
    assert!((58_000..=60_000).contains(&wait_ms), "{wait_ms}");
    assert!((59..=60).contains(&refused.number("retry-after")));
    assert_eq!(
        (refused.header("cache-control"), refused.header("x-request-id")),
        ("private, no-store", "req-9")
    );
}

#[tokio::test]
async fn forwarded_addresses_count_only_from_trusted_proxies() {
    let trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    let service = service(HttpConfig {
        api_per_ip_per_min: 1,
        trusted_proxies,
        ..HttpConfig::for_test()
    })
    .await;
    let call = async |peer: &str, client: &str| {
        let headers = [("x-forwarded-for", client)];
        service
            .send(from_peer(
                request(Method::GET, "/api/health", &headers, Body::empty()),
                peer,
            ))
            .await
            .status
    };
    assert_eq!(call("10.0.0.1:1", "203.0.113.1").await, 200);
    assert_eq!(call("10.0.0.1:1", "203.0.113.2").await, 200);
    assert_eq!(call("10.0.0.1:1", "203.0.113.1").await, 429);
    assert_eq!(call("198.51.100.1:1", "203.0.113.3").await, 200);
    assert_eq!(call("198.51.100.1:1", "203.0.113.4").await, 429);
}
