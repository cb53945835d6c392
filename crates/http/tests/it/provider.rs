//! A real OpenID Connect provider in a process of its own, and a browser that signs in with it.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use axum::body::Bytes;
use axum::http::{Request, Uri, header};
use http_body_util::Empty;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use marginstream_http::HttpConfig;
use marginstream_http::oidc::{OidcConfig, OidcSecret, ProviderLimits};
use url::Url;

use crate::support::{Answer, Service};

pub(crate) const CLIENT_SECRET: &str = "a-secret-between-client-and-provider";
pub(crate) const REDIRECT_URL: &str = "http://127.0.0.1:8080/api/auth/oidc/callback";

/// The process; it ends with the test.
pub(crate) struct Provider {
    child: Child,
    pub(crate) issuer: String,
}

impl Provider {
    /// Starts it on a free port. None where it was not installed, which only CI does not forgive.
    pub(crate) fn started(test: &str) -> Option<Self> {
        is_installed(test).then(|| Self::started_on(0, &[]))
    }

    pub(crate) fn started_on(port: u16, options: &[&str]) -> Self {
        let mut child = Command::new("node")
            .arg(directory().join("provider.mjs"))
            .args(["--port", &port.to_string()])
            .args(["--redirect-url", REDIRECT_URL, "--secret", CLIENT_SECRET])
            .args(options)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut issuer = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut issuer)
            .unwrap();
        assert!(issuer.starts_with("http://"), "the provider did not start");
        Self {
            child,
            issuer: issuer.trim().to_owned(),
        }
    }

    pub(crate) fn port(&self) -> u16 {
        Url::parse(&self.issuer).unwrap().port().unwrap()
    }

    pub(crate) fn stop(mut self) {
        self.kill();
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    pub(crate) fn config(&self) -> HttpConfig {
        self.config_of("marginstream")
    }

    pub(crate) fn config_of(&self, client_id: &str) -> HttpConfig {
        http_config(oidc_config(&self.issuer, client_id))
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        // It may have been stopped already.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn directory() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/oidc")
}

/// Says that the test was passed over where it was not installed; with `CI` set that is a failure.
pub(crate) fn is_installed(test: &str) -> bool {
    let is_installed = directory().join("node_modules/oidc-provider").is_dir();
    if !is_installed {
        let is_ci = std::env::var_os("CI").is_some();
        assert!(!is_ci, "deploy/oidc is not installed: run `make test`");
        // Not by a macro: the harness would keep the output of a test that passes to itself.
        let skipped = format!("SKIPPED {test}: run `make test`, which installs what it needs\n");
        std::io::stderr().write_all(skipped.as_bytes()).unwrap();
    }
    is_installed
}

pub(crate) fn oidc_config(issuer: &str, client_id: &str) -> OidcConfig {
    OidcConfig::new(
        issuer.parse().unwrap(),
        client_id.to_owned(),
        OidcSecret::of(CLIENT_SECRET).unwrap(),
        REDIRECT_URL.parse().unwrap(),
    )
}

pub(crate) fn http_config(oidc: OidcConfig) -> HttpConfig {
    HttpConfig {
        oidc: Some(oidc),
        ..HttpConfig::for_test()
    }
}

pub(crate) fn with_limits(mut config: HttpConfig, limits: ProviderLimits) -> HttpConfig {
    config.oidc.as_mut().unwrap().limits = limits;
    config
}

/// A sign-in that the provider has sent back: the callback's path, and the cookie that goes with it.
#[derive(Clone)]
pub(crate) struct Returned {
    pub(crate) path: String,
    pub(crate) cookie: String,
}

impl Returned {
    pub(crate) async fn call(&self, service: &Service) -> Answer {
        service.get(&self.path, &[("cookie", &self.cookie)]).await
    }

    pub(crate) fn parameter(&self, name: &str) -> String {
        let url = Url::parse(REDIRECT_URL).unwrap().join(&self.path).unwrap();
        let value = url.query_pairs().find(|(key, _)| key == name);
        value.unwrap().1.into_owned()
    }

    pub(crate) fn with_parameter(&self, name: &str, value: &str) -> Self {
        let old = format!("{name}={}", encoded(&self.parameter(name)));
        assert!(self.path.contains(&old), "{} has no {old}", self.path);
        Self {
            path: self.path.replace(&old, &format!("{name}={}", encoded(value))),
            cookie: self.cookie.clone(),
        }
    }
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// Signs `account` in at the provider, up to the callback.
pub(crate) async fn returned(service: &Service, account: &str, query: &str) -> Returned {
    let started = service.get(&format!("/api/auth/oidc/login{query}"), &[]).await;
    assert_eq!(started.status, 302, "{}", started.text);
    let url = format!("{}&login_hint={account}", started.header("location"));
    Returned {
        path: visit(&url).await,
        cookie: started.cookie(),
    }
}

/// The whole sign-in.
pub(crate) async fn sign_in(service: &Service, account: &str, query: &str) -> Answer {
    returned(service, account, query).await.call(service).await
}

/// Follows the provider's redirects, with its cookies, until it sends the browser back.
async fn visit(url: &str) -> String {
    let browser = Client::builder(TokioExecutor::new()).build::<_, Empty<Bytes>>(HttpConnector::new());
    let mut cookies: Vec<(String, String)> = Vec::new();
    let mut url = Url::parse(url).unwrap();
    for _ in 0..10 {
        if url.as_str().starts_with(REDIRECT_URL) {
            return url[url::Position::BeforePath..].to_owned();
        }
        let line: Vec<_> = cookies
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let request = Request::get(url.as_str().parse::<Uri>().unwrap())
            .header(header::COOKIE, line.join("; "))
            .body(Empty::new())
            .unwrap();
        let response = browser.request(request).await.unwrap();
        for cookie in response.headers().get_all(header::SET_COOKIE) {
            let pair = cookie.to_str().unwrap().split(';').next().unwrap();
            let (name, value) = pair.split_once('=').unwrap();
            cookies.retain(|(known, _)| known != name);
            cookies.push((name.to_owned(), value.to_owned()));
        }
        let status = response.status();
        let location = response.headers().get(header::LOCATION);
        let location = location.unwrap_or_else(|| panic!("{url} answers {status}"));
        url = url.join(location.to_str().unwrap()).unwrap();
    }
    panic!("the provider redirects for ever");
}
