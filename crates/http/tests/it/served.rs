//! Over a real connection, where hyper has a say.

use marginstream_http::HttpConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::service;

/// Sends bytes and returns all that comes back until the server hangs up.
async fn exchange(address: std::net::SocketAddr, sent: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(sent.as_bytes()).await.unwrap();
    let mut received = String::new();
    stream.read_to_string(&mut received).await.unwrap();
    received
}

#[tokio::test]
async fn the_peer_is_the_client() {
    let service = service(HttpConfig {
        api_per_ip_per_min: 1,
        ..HttpConfig::for_test()
    })
    .await;
    let address = service.listen().await;
    let call =
        "GET /api/health HTTP/1.1\r\nhost: x\r\nx-forwarded-for: 203.0.113.1\r\nconnection: close\r\n\r\n";
    assert!(exchange(address, call).await.starts_with("HTTP/1.1 200 "));
    let refused = exchange(address, &call.replace("113.1", "113.2")).await;
    assert!(
        refused.starts_with("HTTP/1.1 429 ") && refused.contains("\r\nretry-after: "),
        "{refused}"
    );
}

#[tokio::test]
async fn a_declared_length_is_refused_before_the_body_is_sent() {
    let service = service(HttpConfig::for_test()).await;
    let address = service.listen().await;
    let head = "POST /api/cost-events HTTP/1.1\r\nhost: x\r\ncontent-length: 1048577\r\n\r\n";
    assert!(exchange(address, head).await.starts_with("HTTP/1.1 413 "));
}

#[tokio::test]
async fn a_connection_outlives_a_panic() {
    let service = service(HttpConfig::for_test()).await;
    let address = service.listen().await;
    let panics = "GET /api/panic HTTP/1.1\r\nhost: x\r\n\r\n";
    let healthy = "GET /api/health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    let received = exchange(address, &format!("{panics}{healthy}")).await;
    assert!(
        received.starts_with("HTTP/1.1 500 ") && received.contains("HTTP/1.1 200 "),
        "{received}"
    );
}
