use axum::body::Body;
use axum::http::Method;
use bytes::Bytes;
use futures::StreamExt;
use marginstream_http::HttpConfig;
use serde_json::json;

use crate::support::{Service, request, service};

async fn outcome(service: &Service, content_type: &str, body: impl Into<Body>) -> (u16, String) {
    let headers = [("x-nullspend-key", service.key()), ("content-type", content_type)];
    let answer = service.post("/api/cost-events", &headers, body).await;
    let code = if answer.status < 300 {
        String::new()
    } else {
        answer.code()
    };
    (answer.status, code)
}

fn failed(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[tokio::test]
async fn the_media_type_is_json_in_any_case_with_any_parameters() {
    let service = service(HttpConfig::for_test()).await;
    for good in [
        "application/json",
        "Application/JSON",
        "application/json; charset=utf-8",
        "application/json ;x=1",
    ] {
        assert_eq!(outcome(&service, good, "{}").await.0, 201, "{good}");
    }
    for bad in [
        "text/plain",
        "application/jsonp",
        "text/plain; application/json",
        "",
        "application/x-ndjson",
    ] {
        assert_eq!(
            outcome(&service, bad, "{}").await,
            failed(415, "unsupported_media_type"),
            "{bad}"
        );
    }
}

#[tokio::test]
async fn blank_and_broken_bodies_are_no_json() {
    let service = service(HttpConfig::for_test()).await;
    for bad in ["", " \n\t", "{", "{}x", "\u{feff}{}", "nope"] {
        assert_eq!(
            outcome(&service, "application/json", bad).await,
            failed(400, "invalid_json"),
            "{bad:?}"
        );
    }
    let not_utf8 = Bytes::from_static(b"{\"a\":\"\xff\"}");
    assert_eq!(
        outcome(&service, "application/json", not_utf8).await,
        failed(400, "invalid_json")
    );
    let nested = "[".repeat(200_000);
    assert_eq!(
        outcome(&service, "application/json", nested).await,
        failed(400, "invalid_json")
    );
}

#[tokio::test]
async fn exactly_one_mebibyte_is_allowed() {
    let service = service(HttpConfig::for_test()).await;
    let body = |bytes: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8));
    assert_eq!(body(1_048_576).len(), 1_048_576);
    assert_eq!(
        outcome(&service, "application/json", body(1_048_576)).await.0,
        201
    );
    assert_eq!(
        outcome(&service, "application/json", body(1_048_577)).await,
        failed(413, "payload_too_large")
    );
}

#[tokio::test]
async fn a_declared_length_is_refused_before_authentication_and_an_actual_one_after() {
    let service = service(HttpConfig::for_test()).await;
    let declared = [("content-length", "1048577")];
    assert_eq!(service.post("/api/cost-events", &declared, "").await.status, 413);
    assert_eq!(
        service
            .post("/api/cost-events", &[("content-length", "1048576")], "")
            .await
            .status,
        401
    );
    assert_eq!(
        service
            .post("/api/cost-events/stream", &declared, "")
            .await
            .status,
        401,
        "streams have no limit"
    );
    assert_eq!(
        service
            .post("/api/cost-events", &[], "x".repeat(2 << 20))
            .await
            .status,
        401
    );
}

#[tokio::test]
async fn a_body_that_never_states_its_length_is_cut_off_at_the_limit() {
    let service = service(HttpConfig::for_test()).await;
    let spaces = futures::stream::repeat(Bytes::from(vec![b' '; 64 << 10]));
    let endless = Body::from_stream(spaces.map(Ok::<_, std::convert::Infallible>));
    let headers = [
        ("x-nullspend-key", service.key()),
        ("content-type", "application/json"),
    ];
    let answer = service
        .send(request(Method::POST, "/api/cost-events", &headers, endless))
        .await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (413, "payload_too_large")
    );
}

#[tokio::test]
async fn all_issues_are_listed_with_their_paths() {
    let service = service(HttpConfig::for_test()).await;
    let answer = service
        .post("/api/cost-events", &[("x-nullspend-key", service.key())], "[]")
        .await;
    let issues = json!([
        {"path": [], "message": "Expected object"},
        {"path": ["events", 3, "inputTokens"], "message": "Expected number, received string"},
    ]);
    let error = json!({
        "code": "validation_error", "message": "Request validation failed.", "details": {"issues": issues},
    });
    assert_eq!((answer.status, answer.json()), (400, json!({ "error": error })));
}

#[tokio::test]
async fn csv_is_a_guarded_attachment() {
    let service = service(HttpConfig::for_test()).await;
    let session = service.sign_in().await.cookie();
    let report = service.get("/api/report", &[("cookie", &session)]).await;
    assert_eq!(report.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(
        report.header("content-disposition"),
        "attachment; filename=\"report-2026-03.csv\""
    );
    assert_eq!(report.text, "name,cost\n'=1+1,-5");
}

#[tokio::test]
async fn bad_queries_and_path_ids_are_400_after_authentication() {
    let service = service(HttpConfig::for_test()).await;
    assert_eq!(service.get("/api/cost-events?limit=0", &[]).await.status, 401);
    let session = service.sign_in().await.cookie();
    let cookie = [("cookie", session.as_str())];
    let answer = service.get("/api/cost-events?limit=0&cursor=%7B", &cookie).await;
    assert_eq!(answer.status, 400);
    let issues = answer.json()["error"]["details"]["issues"].clone();
    assert_eq!(
        (&issues[0]["path"], &issues[1]["path"]),
        (&json!(["limit"]), &json!(["cursor"]))
    );
    let answer = service
        .get("/api/cost-events?limit=3&limit=x&foo=1", &cookie)
        .await;
    assert_eq!(answer.json()["data"]["limit"], 3);
    let answer = service.get("/api/cost-events/ns_key_x", &cookie).await;
    assert_eq!((answer.status, answer.code().as_str()), (400, "validation_error"));
    assert_eq!(service.get("/api/cost-events/%FF", &cookie).await.status, 400);
}
