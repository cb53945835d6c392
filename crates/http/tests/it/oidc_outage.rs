//! A provider that is down, slow or broken.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use marginstream_http::HttpConfig;
use marginstream_http::oidc::ProviderLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::provider::{Provider, http_config, is_installed, oidc_config, returned, sign_in, with_limits};
use crate::support::{Answer, Service, service};

const LOGIN: &str = "/api/auth/oidc/login";

fn assert_unavailable(answer: &Answer) {
    assert_eq!(
        (
            answer.status,
            answer.code().as_str(),
            answer.header("retry-after")
        ),
        (503, "service_unavailable", "30")
    );
    assert_eq!(answer.header("set-cookie"), "", "the sign-in may be repeated");
}

/// A listener in the provider's place that gives every connection `answer`; it counts them.
struct Broken {
    address: SocketAddr,
    num_calls: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Broken {
    /// Without an answer it keeps connections open and says nothing.
    async fn answering(answer: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let num_calls = Arc::<AtomicUsize>::default();
        let counter = Arc::clone(&num_calls);
        let task = tokio::spawn(async move {
            let mut open = Vec::new();
            loop {
                let (mut connection, _) = listener.accept().await.unwrap();
                counter.fetch_add(1, Ordering::SeqCst);
                if let Some(answer) = answer {
                    // A connection that is closed with unread bytes is reset.
                    if connection.read(&mut [0; 4096]).await.is_ok_and(|count| count > 0) {
                        connection.write_all(answer.as_bytes()).await.ok();
                    }
                } else {
                    open.push(connection);
                }
            }
        });
        Self {
            address,
            num_calls,
            task,
        }
    }

    fn num_calls(&self) -> usize {
        self.num_calls.load(Ordering::SeqCst)
    }

    fn config(&self, limits: ProviderLimits) -> HttpConfig {
        let issuer = format!("http://{}", self.address);
        with_limits(http_config(oidc_config(&issuer, "marginstream")), limits)
    }

    async fn stop(self) {
        self.task.abort();
        self.task.await.ok();
    }
}

async fn login(service: &Service) -> Answer {
    service.get(LOGIN, &[]).await
}

#[tokio::test]
async fn a_provider_that_is_stopped_meanwhile_is_a_503_and_the_sign_in_may_be_repeated() {
    let Some(provider) =
        Provider::started("a_provider_that_is_stopped_meanwhile_is_a_503_and_the_sign_in_may_be_repeated")
    else {
        return;
    };
    let service = service(provider.config()).await;
    let returned = returned(&service, "ada", "").await;
    provider.stop();
    assert_unavailable(&returned.call(&service).await);
}

#[tokio::test]
async fn the_breaker_opens_after_five_failures_and_recovers() {
    const NAME: &str = "the_breaker_opens_after_five_failures_and_recovers";
    if !is_installed(NAME) {
        return;
    }
    let broken = Broken::answering(Some("HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n")).await;
    let limits = ProviderLimits {
        open_for: Duration::from_secs(2),
        ..ProviderLimits::default()
    };
    let service = service(broken.config(limits)).await;
    for _ in 0..8 {
        assert_unavailable(&login(&service).await);
    }
    assert_eq!(broken.num_calls(), 5, "an open breaker asks nobody");

    let port = broken.address.port();
    broken.stop().await;
    let provider = Provider::started_on(port, &[]);
    let deadline = Instant::now() + Duration::from_secs(30);
    while login(&service).await.status != 302 {
        assert!(Instant::now() < deadline, "the breaker does not close");
        tokio::task::yield_now().await;
    }
    assert_eq!(sign_in(&service, "ada", "").await.status, 302);
    drop(provider);
}

#[tokio::test]
async fn a_provider_that_says_nothing_is_waited_for_no_longer_than_the_limit() {
    let silent = Broken::answering(None).await;
    let limits = ProviderLimits {
        call_timeout: Duration::from_millis(50),
        ..ProviderLimits::default()
    };
    let service = service(silent.config(limits)).await;
    assert_unavailable(&login(&service).await);
    assert_eq!(silent.num_calls(), 1);
}

#[tokio::test]
async fn answers_that_are_no_providers_are_an_outage() {
    for answer in [
        "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 2\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
        "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 429 Slow down\r\ncontent-length: 0\r\n\r\n",
        "nonsense\r\n\r\n",
    ] {
        let broken = Broken::answering(Some(answer)).await;
        let service = service(broken.config(ProviderLimits::default())).await;
        assert_unavailable(&login(&service).await);
    }
}

#[tokio::test]
async fn refusals_of_the_provider_do_not_open_the_breaker() {
    let Some(provider) = Provider::started("refusals_of_the_provider_do_not_open_the_breaker") else {
        return;
    };
    let service = service(provider.config()).await;
    let good = returned(&service, "ada", "").await;
    for _ in 0..6 {
        let forged = good.with_parameter("code", "never-issued");
        assert_eq!(forged.call(&service).await.status, 401);
    }
    assert_eq!(good.call(&service).await.status, 302);
}
