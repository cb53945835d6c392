//! What authentication costs, on a warm cache: the whole call, through the edge, less a call that
//! authenticates nobody.

use std::time::{Duration, Instant};

use marginstream_http::HttpConfig;

use crate::support::{Service, service};

const NUM_CALLS: usize = 2_000;
/// Ten times what it takes on a quiet machine: tests share theirs with others.
const BOUND: Duration = Duration::from_millis(2);

async fn median(service: &Service, path: &str, headers: &[(&str, &str)]) -> Duration {
    let mut times = Vec::with_capacity(NUM_CALLS);
    for _ in 0..NUM_CALLS {
        let started = Instant::now();
        let answer = service.get(path, headers).await;
        times.push(started.elapsed());
        assert_eq!(answer.status, 200);
    }
    times.sort_unstable();
    times[NUM_CALLS / 2]
}

#[tokio::test]
async fn authentication_costs_little() {
    let service = service(HttpConfig::for_test()).await;
    let cookie = service.sign_in().await.cookie();
    let nobody = median(&service, "/api/health", &[]).await;
    let key = median(
        &service,
        "/api/auth/introspect",
        &[("x-nullspend-key", service.key())],
    )
    .await;
    let session = median(&service, "/api/auth/session", &[("cookie", &cookie)]).await;
    let cost = |median: Duration| median.saturating_sub(nobody);
    println!(
        "key {:?}, session {:?}, call {nobody:?}",
        cost(key),
        cost(session)
    );
    assert!(cost(key) < BOUND && cost(session) < BOUND);
}
