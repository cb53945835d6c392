//! A small HTTP client: one connection for each request, over TCP or a Unix socket.

mod error;

use std::path::PathBuf;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use crate::operator::socket::ShortPath;

pub use error::ClientError;

#[derive(Debug, Clone)]
enum Place {
    Tcp(String),
    Unix(PathBuf),
}

/// Sends requests to one server.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    place: Place,
    headers: HeaderMap,
}

/// What the server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    place: String,
    request: String,
}

impl Client {
    /// Makes a client of `http://host:port`.
    pub(crate) fn of_url(url: &str) -> Result<Self, ClientError> {
        let rest = url
            .strip_prefix("http://")
            .ok_or(ClientError::Unsendable("a URL that does not start with http://"))?;
        let authority = rest.trim_end_matches('/');
        if authority.contains('/') || authority.is_empty() {
            return Err(ClientError::Unsendable("a URL with a path or without a host"));
        }
        let has_port = authority
            .rsplit_once(':')
            .is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let authority = if has_port {
            authority.to_owned()
        } else {
            format!("{authority}:80")
        };
        Ok(Self {
            place: Place::Tcp(authority),
            headers: HeaderMap::new(),
        })
    }

    /// Makes a client of the Unix socket at `path`.
    pub(crate) fn of_socket(path: PathBuf) -> Self {
        Self {
            place: Place::Unix(path),
            headers: HeaderMap::new(),
        }
    }

    /// Returns a client that sends this header with each request. Its value is not shown by `Debug`.
    pub(crate) fn with_header(mut self, name: &'static str, value: &str) -> Result<Self, ClientError> {
        let mut value =
            HeaderValue::try_from(value).map_err(|_| ClientError::Unsendable("a header's value"))?;
        value.set_sensitive(true);
        self.headers.insert(HeaderName::from_static(name), value);
        Ok(self)
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer, ClientError> {
        self.send(Method::GET, path, "", Bytes::new()).await
    }

    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> Result<Answer, ClientError> {
        self.send(
            Method::POST,
            path,
            "application/json",
            Bytes::from(body.to_string()),
        )
        .await
    }

    /// Sends one request and reads the whole answer. `path` starts with a slash and is encoded.
    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> Result<Answer, ClientError> {
        let request_line = format!("{method} {path}");
        let mut request = Request::builder().method(method).uri(path);
        request = request.header(
            HOST,
            if let Place::Tcp(authority) = &self.place {
                authority
            } else {
                "localhost"
            },
        );
        if !content_type.is_empty() {
            request = request.header("content-type", content_type);
        }
        let mut request = request
            .body(Full::new(body))
            .map_err(|_| ClientError::Unsendable("this path"))?;
        request.headers_mut().extend(self.headers.clone());
        let refused = |source| ClientError::Connect {
            place: self.place(),
            source,
        };
        match &self.place {
            Place::Tcp(authority) => {
                let stream = TcpStream::connect(authority).await.map_err(refused)?;
                self.exchange(stream, request, request_line).await
            }
            Place::Unix(path) => {
                let short = ShortPath::of(path).map_err(refused)?;
                let stream = UnixStream::connect(short.path()).await.map_err(refused)?;
                self.exchange(stream, request, request_line).await
            }
        }
    }

    async fn exchange<S>(
        &self,
        stream: S,
        request: Request<Full<Bytes>>,
        line: String,
    ) -> Result<Answer, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let broken = |source| ClientError::Broken {
            place: self.place(),
            source,
        };
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(broken)?;
        let connection = tokio::spawn(connection);
        let answer = sender.send_request(request).await.map_err(broken)?;
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(broken)?.to_bytes();
        // The answer is complete; how the connection ends tells nothing more.
        connection.abort();
        Ok(Answer {
            status: parts.status,
            headers: parts.headers,
            body,
            place: self.place(),
            request: line,
        })
    }

    fn place(&self) -> String {
        match &self.place {
            Place::Tcp(authority) => format!("http://{authority}"),
            Place::Unix(path) => path.display().to_string(),
        }
    }
}

impl Answer {
    /// Returns the body of a good answer.
    ///
    /// # Errors
    /// [`ClientError::Refused`] for any other status, [`ClientError::Unreadable`] for another body.
    pub(crate) fn json<T: DeserializeOwned>(self) -> Result<T, ClientError> {
        if !self.status.is_success() {
            let message = self.message();
            let Self {
                place,
                request,
                status,
                ..
            } = self;
            return Err(ClientError::Refused {
                place,
                request,
                status,
                message,
            });
        }
        serde_json::from_slice(&self.body).map_err(|source| ClientError::Unreadable {
            place: self.place,
            request: self.request,
            source,
        })
    }

    /// Returns the message of the error envelope, or the start of the body.
    fn message(&self) -> String {
        let value: Option<Value> = serde_json::from_slice(&self.body).ok();
        let message = value
            .as_ref()
            .and_then(|value| value.pointer("/error/message")?.as_str());
        message.map_or_else(
            || String::from_utf8_lossy(&self.body).chars().take(200).collect(),
            str::to_owned,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_plain_http_urls_only() {
        assert_eq!(
            Client::of_url("http://127.0.0.1:8080/").unwrap().place(),
            "http://127.0.0.1:8080"
        );
        assert_eq!(
            Client::of_url("http://[::1]:80").unwrap().place(),
            "http://[::1]:80"
        );
        assert_eq!(Client::of_url("http://host").unwrap().place(), "http://host:80");
        for bad in ["https://host", "host:80", "http://", "http://host/path"] {
            assert!(Client::of_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn debug_prints_no_header_value() {
        let client = Client::of_url("http://host")
            .unwrap()
            .with_header("cookie", "ns-session=secret")
            .unwrap();
        assert!(!format!("{client:?}").contains("secret"));
    }
}
