//! Calls to the provider.

use std::pin::Pin;
use std::sync::OnceLock;
use std::time::Duration;

use axum::http::{Request, StatusCode};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper_tls::HttpsConnector;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use openidconnect::{AsyncHttpClient, HttpRequest, HttpResponse};
use tokio::time::timeout;
use url::Url;

use super::config::is_protected;

/// Largest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 1 << 20;

type Connections = Client<HttpsConnector<HttpConnector>, Full<Bytes>>;

/// Why a call has no answer that could be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    #[error("cannot set TLS up")]
    Tls(#[source] native_tls::Error),
    #[error("the provider names a URL that is not protected by TLS")]
    Unprotected,
    #[error("cannot send the request")]
    Send(#[source] hyper_util::client::legacy::Error),
    #[error("cannot read the answer")]
    Read(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer within {0:?}")]
    TimedOut(Duration),
    #[error("the provider answered with status {0}")]
    Status(StatusCode),
}

/// A client that follows no redirects and keeps no connection: sign-ins are rare, and what was kept may
/// be dead. Certificates are checked against the system's authorities.
#[derive(Debug)]
pub(super) struct ProviderHttp {
    call_timeout: Duration,
    connections: OnceLock<Connections>,
}

impl ProviderHttp {
    pub(super) const fn new(call_timeout: Duration) -> Self {
        Self {
            call_timeout,
            connections: OnceLock::new(),
        }
    }

    fn connections(&self) -> Result<&Connections, CallError> {
        if let Some(connections) = self.connections.get() {
            return Ok(connections);
        }
        let tls = native_tls::TlsConnector::new().map_err(CallError::Tls)?;
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(HttpsConnector::from((tcp, tls.into())));
        Ok(self.connections.get_or_init(|| client))
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, CallError> {
        let is_protected = Url::parse(&request.uri().to_string()).is_ok_and(|url| is_protected(&url));
        if !is_protected {
            return Err(CallError::Unprotected);
        }
        let answer = timeout(self.call_timeout, exchange(self.connections()?, request)).await;
        answer.map_err(|_| CallError::TimedOut(self.call_timeout))?
    }
}

async fn exchange(connections: &Connections, request: HttpRequest) -> Result<HttpResponse, CallError> {
    let (head, body) = request.into_parts();
    let request = Request::from_parts(head, Full::new(Bytes::from(body)));
    let (head, body) = connections
        .request(request)
        .await
        .map_err(CallError::Send)?
        .into_parts();
    if head.status.is_server_error() || head.status == StatusCode::TOO_MANY_REQUESTS {
        return Err(CallError::Status(head.status));
    }
    let body = Limited::new(body, MAX_ANSWER_BYTES);
    let body = body.collect().await.map_err(CallError::Read)?.to_bytes();
    Ok(HttpResponse::from_parts(head, body.into()))
}

impl<'c> AsyncHttpClient<'c> for ProviderHttp {
    type Error = CallError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, CallError>> + Send + 'c>>;

    fn call(&'c self, request: HttpRequest) -> Self::Future {
        Box::pin(self.send(request))
    }
}
