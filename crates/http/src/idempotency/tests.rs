use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::oneshot;

use super::*;

fn store() -> ReplayStore {
    ReplayStore::new(&ReplayConfig::default())
}

fn scope(key: &str) -> Option<ReplayScope> {
    Some(ReplayScope::new(
        ApiKeyId(uuid::Uuid::from_u128(1)),
        "/api/cost-events/batch",
        key,
    ))
}

async fn respond(status: StatusCode, body: &'static str) -> Result<Response, ApiError> {
    Ok((status, [(header::CONTENT_TYPE, "application/json")], body).into_response())
}

async fn text(response: Response) -> (u16, bool, String) {
    let replayed = response
        .headers()
        .get("x-idempotent-replayed")
        .is_some_and(|value| value == "true");
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
    (status, replayed, String::from_utf8(body.to_vec()).unwrap())
}

#[tokio::test]
async fn replays_the_first_body_with_status_200() {
    let store = store();
    let first = store
        .run(scope("k"), respond(StatusCode::CREATED, "first"))
        .await
        .unwrap();
    assert_eq!(text(first).await, (201, false, "first".into()));
    let second = store
        .run(scope("k"), respond(StatusCode::CREATED, "second"))
        .await
        .unwrap();
    assert_eq!(second.headers()[header::CONTENT_TYPE], "application/json");
    assert_eq!(text(second).await, (200, true, "first".into()));
}

#[tokio::test]
async fn calls_of_other_keys_and_paths_are_others() {
    let id = |number| ApiKeyId(uuid::Uuid::from_u128(number));
    let scopes = [
        ReplayScope::new(id(1), "/a", "k"),
        ReplayScope::new(id(2), "/a", "k"),
        ReplayScope::new(id(1), "/b", "k"),
        ReplayScope::new(id(1), "/a", "l"),
        ReplayScope::new(id(1), "/", "ak"),
    ];
    let store = store();
    for scope in scopes {
        let response = store
            .run(Some(scope), respond(StatusCode::OK, "own"))
            .await
            .unwrap();
        assert_eq!(text(response).await, (200, false, "own".into()));
    }
}

#[tokio::test]
async fn failures_are_not_kept() {
    let store = store();
    let failed = store
        .run(scope("k"), async { Err(ApiError::invalid_json("no")) })
        .await;
    assert!(failed.is_err());
    let refused = store
        .run(scope("k"), respond(StatusCode::BAD_REQUEST, "bad"))
        .await
        .unwrap();
    assert_eq!(text(refused).await, (400, false, "bad".into()));
    let corrected = store
        .run(scope("k"), respond(StatusCode::CREATED, "good"))
        .await
        .unwrap();
    assert_eq!(text(corrected).await, (201, false, "good".into()));
}

#[tokio::test]
async fn answers_are_forgotten_when_their_time_is_over() {
    let store = ReplayStore::new(&ReplayConfig {
        ttl: Duration::ZERO,
        ..ReplayConfig::default()
    });
    store
        .run(scope("k"), respond(StatusCode::OK, "first"))
        .await
        .unwrap();
    let later = store
        .run(scope("k"), respond(StatusCode::OK, "second"))
        .await
        .unwrap();
    assert_eq!(text(later).await, (200, false, "second".into()));
}

#[tokio::test]
async fn a_concurrent_call_gets_the_answer_of_the_first() {
    let store = store();
    let (release, released) = oneshot::channel::<()>();
    let runs = AtomicUsize::new(0);
    let first = store.run(scope("k"), async {
        runs.fetch_add(1, Ordering::SeqCst);
        released.await.unwrap();
        respond(StatusCode::CREATED, "first").await
    });
    let second = store.run(scope("k"), async {
        runs.fetch_add(1, Ordering::SeqCst);
        respond(StatusCode::CREATED, "second").await
    });
    // Polled last: by then the second call waits.
    let release = async { release.send(()).unwrap() };
    let (first, second, ()) = tokio::join!(first, second, release);
    assert_eq!(text(first.unwrap()).await, (201, false, "first".into()));
    assert_eq!(text(second.unwrap()).await, (200, true, "first".into()));
    assert_eq!(runs.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_concurrent_call_gives_up_in_the_end() {
    let max_wait = Duration::from_millis(5);
    let store = ReplayStore::new(&ReplayConfig {
        max_wait,
        ..ReplayConfig::default()
    });
    let first = store.run(scope("k"), std::future::pending());
    tokio::pin!(first);
    tokio::select! {
        biased;
        _ = &mut first => panic!("never ends"),
        second = store.run(scope("k"), respond(StatusCode::OK, "second")) => {
            let response = second.unwrap_err().into_response();
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        }
    }
}

#[tokio::test]
async fn a_call_whose_client_hung_up_lets_the_next_one_run() {
    let store = store();
    {
        let first = store.run(scope("k"), std::future::pending());
        tokio::pin!(first);
        assert!(futures_poll_once(first.as_mut()).await);
    }
    let second = store
        .run(scope("k"), respond(StatusCode::OK, "second"))
        .await
        .unwrap();
    assert_eq!(text(second).await, (200, false, "second".into()));
}

/// Polls once and tells whether the future is pending.
async fn futures_poll_once<F: Future + Unpin>(mut future: F) -> bool {
    std::future::poll_fn(|cx| std::task::Poll::Ready(std::pin::Pin::new(&mut future).poll(cx).is_pending()))
        .await
}

#[tokio::test]
async fn memory_is_bounded_by_bytes_and_by_entries() {
    let by_bytes = ReplayStore::new(&ReplayConfig {
        max_bytes: 1 << 20,
        ..ReplayConfig::default()
    });
    let by_entries = ReplayStore::new(&ReplayConfig {
        max_entries: 100,
        ..ReplayConfig::default()
    });
    let body: &'static str = Box::leak("x".repeat(10_000).into_boxed_str());
    for index in 0..1_000 {
        by_bytes
            .run(scope(&index.to_string()), respond(StatusCode::OK, body))
            .await
            .unwrap();
        by_entries
            .run(scope(&index.to_string()), respond(StatusCode::OK, "x"))
            .await
            .unwrap();
    }
    assert!(by_bytes.stored.weight() <= 1 << 20);
    assert!(
        (1..=100).contains(&by_entries.stored.len()),
        "{}",
        by_entries.stored.len()
    );
}

#[test]
fn keys_are_checked() {
    let key = |value: &[u8]| {
        let mut headers = HeaderMap::new();
        headers.insert("Idempotency-Key", HeaderValue::from_bytes(value).unwrap());
        idempotency_key(&headers).map(|key| key.map(str::to_owned))
    };
    assert_eq!(idempotency_key(&HeaderMap::new()).unwrap(), None);
    assert_eq!(key(b"").unwrap(), None);
    assert_eq!(key(b"job-1").unwrap().as_deref(), Some("job-1"));
    assert!(key("é".repeat(200).as_bytes()).is_ok());
    assert!(key("x".repeat(201).as_bytes()).is_err());
    assert!(key(b"\xff").is_err());
}
