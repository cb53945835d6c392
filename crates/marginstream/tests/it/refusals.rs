//! What ingest refuses, and how: the contract's statuses, codes and paths.

use serde_json::{Value, json};

use crate::deployment::Deployment;
use crate::events::event;
use crate::http::{self, Answer};
use crate::server::Site;

fn code(answer: &Answer) -> String {
    answer.json()["error"]["code"].as_str().unwrap().to_owned()
}

fn first_path(answer: &Answer) -> Value {
    answer.json()["error"]["details"]["issues"][0]["path"].clone()
}

#[test]
fn refusals_follow_the_contract() {
    let site = Site::started();
    let good = event("refusals", 1).to_string();
    let post = |path: &str, content_type: &str, body: &[u8]| site.with_key(path, content_type, body).unwrap();
    let json_type = "application/json; charset=utf-8";

    for headers in [
        vec![],
        vec![("X-NullSpend-Key", "ns_live_sk_00000000000000000000000000000000")],
    ] {
        let answer = http::send(site.listen, "POST", "/api/cost-events", &headers, good.as_bytes())
            .unwrap()
            .expect(401);
        assert_eq!(code(&answer), "authentication_required");
        assert!(answer.header("x-request-id").is_some() && answer.header("nullspend-version").is_some());
    }
    for path in [
        "/api/cost-events",
        "/api/cost-events/batch",
        "/api/cost-events/stream",
    ] {
        assert_eq!(
            code(&post(path, "text/plain", good.as_bytes()).expect(415)),
            "unsupported_media_type"
        );
    }
    assert_eq!(
        code(&post("/api/cost-events", json_type, b"  ").expect(400)),
        "invalid_json"
    );
    assert_eq!(
        code(&post("/api/cost-events", json_type, b"{").expect(400)),
        "invalid_json"
    );
    let padded = |size: usize| [good.as_bytes(), &vec![b' '; size - good.len()]].concat();
    post("/api/cost-events", json_type, &padded(1_048_576)).expect(201);
    // Refused by its declared length, before any of it is read.
    let headers = [
        ("X-NullSpend-Key", &*site.owner().api_key),
        ("Content-Type", json_type),
        ("Content-Length", "1048577"),
    ];
    let answer = http::send_head(site.listen, "POST", "/api/cost-events", &headers)
        .unwrap()
        .expect(413);
    assert_eq!(code(&answer), "payload_too_large");

    let mut negative = event("refusals", 2);
    negative["costMicrodollars"] = json!(-1);
    let answer = post("/api/cost-events", json_type, negative.to_string().as_bytes()).expect(400);
    assert_eq!(
        (code(&answer).as_str(), first_path(&answer)),
        ("validation_error", json!(["costMicrodollars"]))
    );

    for (events, path) in [
        (json!({}), json!(["events"])),
        (json!({"events": []}), json!(["events"])),
        (
            json!({"events": vec![event("refusals", 3); 101]}),
            json!(["events"]),
        ),
        (
            json!({"events": [event("refusals", 4), negative]}),
            json!(["events", 1, "costMicrodollars"]),
        ),
    ] {
        let answer = post("/api/cost-events/batch", json_type, events.to_string().as_bytes()).expect(400);
        assert_eq!(first_path(&answer), path);
    }
    // All or nothing: the valid neighbour of a refused event is not there.
    site.wait_for_rows(1);
    assert_eq!(
        site.sql("SELECT toUInt64(count()) AS n FROM cost_events"),
        vec![json!({"n": 1})]
    );
}

#[test]
fn a_header_key_replays_and_a_key_may_not_read() {
    let site = Site::started();
    let mut bare = event("header", 1);
    bare.as_object_mut().unwrap().remove("idempotencyKey");
    let body = bare.to_string();
    let headers = [
        ("X-NullSpend-Key", &*site.owner().api_key),
        ("Content-Type", "application/json"),
        ("Idempotency-Key", "retry-1"),
    ];
    let send =
        |path: &str, body: &str| http::send(site.listen, "POST", path, &headers, body.as_bytes()).unwrap();
    let first = send("/api/cost-events", &body).expect(201);
    let again = send("/api/cost-events", &body).expect(200);
    assert_eq!(
        (again.header("x-idempotent-replayed"), again.json()),
        (Some("true"), first.json())
    );
    let batch = json!({"events": [bare, event("header", 2)]}).to_string();
    let first = send("/api/cost-events/batch", &batch).expect(201);
    assert_eq!(first.json()["inserted"], 2);
    assert_eq!(
        send("/api/cost-events/batch", &batch).expect(200).json(),
        first.json()
    );
    site.wait_for_rows(3);

    for path in ["/api/cost-events", "/api/margins", "/api/customer-mappings"] {
        http::send(site.listen, "GET", path, &headers[..1], b"")
            .unwrap()
            .expect(401);
        http::send(site.listen, "GET", path, &[], b"")
            .unwrap()
            .expect(401);
    }
}
