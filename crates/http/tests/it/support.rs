//! A small service over the layer under test.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::body::{Body, to_bytes};
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::Response;
use axum::{Router, http};
use control::{BootstrapRequest, Bootstrapped, ControlStore};
use marginstream_http::idempotency::{ReplayScope, idempotency_key};
use marginstream_http::{
    Access, Api, ApiError, ApiKeyCaller, Endpoint, HttpConfig, HttpState, IpQuota, Issue, PathParams,
    QueryParams, Reader, SessionCaller, account_api, apply, body, csv, reply,
};
use schemas::access::{Role, Tier};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

pub(crate) struct Service {
    router: Router,
    pub(crate) http: HttpState,
    pub(crate) owner: Bootstrapped,
    url: String,
    _dir: TempDir,
}

pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn number(&self, name: &str) -> i64 {
        self.header(name)
            .parse()
            .unwrap_or_else(|_| panic!("{name}: {:?}", self.header(name)))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub(crate) fn code(&self) -> String {
        let json = self.json();
        assert!(
            json["error"].as_object().unwrap().contains_key("details"),
            "{json}"
        );
        json["error"]["code"].as_str().unwrap().to_owned()
    }

    /// The session cookie, as a browser sends it back.
    pub(crate) fn cookie(&self) -> String {
        self.header("set-cookie").split(';').next().unwrap().to_owned()
    }
}

pub(crate) async fn service(config: HttpConfig) -> Service {
    service_of_tier(config, Tier::Pro).await
}

pub(crate) async fn service_of_tier(config: HttpConfig, tier: Tier) -> Service {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("control.db").display());
    let control = ControlStore::connect(&url).await.unwrap();
    let request = BootstrapRequest {
        org_name: "Acme".into(),
        email: "ada@example.com".into(),
        tier,
    };
    let owner = control.bootstrap(request).await.unwrap();
    let http = HttpState::new(control, config);
    let api = endpoints().merge(account_api()).with_state(http.clone());
    let router = apply(api, &http);
    Service {
        router,
        http,
        owner,
        url,
        _dir: dir,
    }
}

impl Service {
    pub(crate) async fn send(&self, request: Request) -> Answer {
        let response: Result<Response, Infallible> = self.router.clone().oneshot(request).await;
        let (parts, body) = response.unwrap().into_parts();
        let text = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text,
        }
    }

    pub(crate) async fn get(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(request(Method::GET, path, headers, Body::empty()))
            .await
    }

    /// Sends JSON, unless the headers name another content type.
    pub(crate) async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Answer {
        let mut headers = headers.to_vec();
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            headers.push(("content-type", "application/json"));
        }
        self.send(request(Method::POST, path, &headers, body.into()))
            .await
    }

    /// Serves on a free port of the loopback until the test's runtime ends.
    pub(crate) async fn listen(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let make_service = self
            .router
            .clone()
            .into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, make_service).await });
        address
    }

    pub(crate) fn key(&self) -> &str {
        self.owner.api_key.expose()
    }

    pub(crate) fn password(&self) -> String {
        self.owner.password.as_ref().unwrap().expose().to_owned()
    }

    pub(crate) async fn sign_in(&self) -> Answer {
        let body = json!({ "email": "Ada@Example.com", "password": self.password() });
        self.post("/api/auth/login", &[], body.to_string()).await
    }

    /// Changes the store behind its back, where it has no call for it yet.
    pub(crate) async fn execute(&self, sql: &'static str) {
        let pool = sqlx::SqlitePool::connect(&self.url).await.unwrap();
        let done = sqlx::query(sql).execute(&pool).await.unwrap();
        assert!(done.rows_affected() > 0, "{sql}");
        pool.close().await;
    }
}

pub(crate) fn request(method: Method, path: &str, headers: &[(&str, &str)], body: Body) -> Request {
    let mut request = http::Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body).unwrap()
}

pub(crate) fn from_peer(mut request: Request, peer: &str) -> Request {
    request
        .extensions_mut()
        .insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
    request
}

/// Endpoints as a service has them, each as short as can be.
fn endpoints() -> Api<HttpState> {
    let viewer = Access::Session(Role::Viewer);
    let get = |path, access| Endpoint::get(path, access, "Reads.");
    let ingest = |path| Endpoint::post(path, Access::ApiKey, "Writes.").ip_quota(IpQuota::Ingest);
    let stream = ingest("/api/cost-events/stream").stream("application/x-ndjson", "Lines.");
    let mappings = Endpoint::post("/api/customer-mappings", Access::Session(Role::Admin), "Writes.");
    let style = get("/style.css", Access::Public).ip_quota(IpQuota::Exempt);
    Api::new()
        .endpoint(get("/api/health", Access::Public), || async { "ok" })
        .endpoint(ingest("/api/cost-events"), create_event)
        .endpoint(get("/api/cost-events", Access::Reader), read_events)
        .endpoint(ingest("/api/cost-events/batch"), create_batch)
        .endpoint(stream, stream_events)
        .endpoint(get("/api/cost-events/{id}", viewer), get_event)
        .endpoint(mappings.tier(Tier::Pro, "Customer mappings"), create_mapping)
        .endpoint(get("/api/report", viewer), get_report)
        .endpoint(get("/api/panic", Access::Public), panic_on_purpose)
        .endpoint(get("/api/broken", Access::Public), || async {
            ApiError::dependency(Driver, false)
        })
        .endpoint(get("/api/down", Access::Public), || async {
            ApiError::dependency(Driver, true)
        })
        .endpoint(get("/api/undeclared", Access::Public), get_report)
        .endpoint(style, || async {
            ([("cache-control", "public, max-age=60")], "")
        })
}

#[derive(Debug)]
struct Driver;

impl std::fmt::Display for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("connection to 10.0.0.9 refused")
    }
}

impl std::error::Error for Driver {}

async fn create_event(_caller: ApiKeyCaller, request: Request) -> Result<Response, ApiError> {
    let body = body::read_json(request).await?;
    if !body.is_object() {
        return Err(ApiError::validation(&[
            Issue::new(Vec::new(), "Expected object"),
            Issue::new(
                vec!["events".into(), 3.into(), "inputTokens".into()],
                "Expected number, received string",
            ),
        ]));
    }
    reply::data(StatusCode::CREATED, &body)
}

async fn create_batch(
    State(http): State<HttpState>,
    caller: ApiKeyCaller,
    request: Request,
) -> Result<Response, ApiError> {
    let key = idempotency_key(request.headers())?;
    let scope = key.map(|key| ReplayScope::new(caller.key_id(), request.uri().path(), key));
    let call = async {
        let body = body::read_json(request).await?;
        caller.charge_events(body["events"].as_array().map_or(0, Vec::len))?;
        reply::json(
            StatusCode::CREATED,
            &json!({ "inserted": 1, "ids": [uuid::Uuid::new_v4()] }),
        )
    };
    http.replays().run(scope, call).await
}

async fn stream_events(caller: ApiKeyCaller, request: Request) -> Result<Response, ApiError> {
    let bytes = to_bytes(request.into_body(), usize::MAX)
        .await
        .map_err(ApiError::internal)?;
    caller
        .pace_events(bytes.split(|byte| *byte == b'\n').count())
        .await;
    reply::data(StatusCode::OK, &bytes.len())
}

async fn read_events(reader: Reader, mut query: QueryParams) -> Result<Response, ApiError> {
    let limit = query.integer("limit", 1..=100, 25);
    query.cursor::<schemas::id::EventId>();
    query.finish()?;
    reply::data(StatusCode::OK, &json!({ "org": reader.org_id(), "limit": limit }))
}

async fn get_event(
    _caller: SessionCaller,
    PathParams(id): PathParams<schemas::id::EventId>,
) -> Result<Response, ApiError> {
    reply::data(StatusCode::OK, &id)
}

async fn create_mapping(_caller: SessionCaller, request: Request) -> Result<Response, ApiError> {
    reply::data(StatusCode::CREATED, &body::read_json(request).await?)
}

async fn get_report(_caller: SessionCaller) -> Result<Response, ApiError> {
    let mut report = csv::CsvText::with_header("name,cost");
    report.start_row();
    report.text("=1+1");
    report.number(-5);
    csv::csv_response("report-2026-03.csv", "text/csv; charset=utf-8", report.finish())
}

async fn panic_on_purpose() -> Response {
    panic!("secret state")
}
