//! The service over a control store in a temporary directory and a database of its own.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request};
use control::{BootstrapRequest, ControlStore};
use marginstream_http::{HealthCheck, HttpConfig, HttpState, apply};
use marginstream_query_api::{QueryState, api};
use schemas::access::Tier;
use schemas::clickhouse::MIGRATIONS;
use schemas::id::{ApiKeyId, OrgId, UserId};
use serde_json::Value;
use sqlx::AnyPool;
use tempfile::TempDir;
use tower::ServiceExt;
use warehouse::{Migration, Warehouse};

pub(crate) struct App {
    router: Router,
    pub(crate) control: ControlStore,
    pub(crate) warehouse: Warehouse,
    control_url: String,
    _dir: TempDir,
}

/// An organization with its owner's session.
pub(crate) struct Tenant {
    pub(crate) org: OrgId,
    pub(crate) user: UserId,
    pub(crate) key: String,
    pub(crate) key_id: ApiKeyId,
    cookie: String,
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

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// `data` of a 200.
    pub(crate) fn data(&self) -> Value {
        assert_eq!(self.status, 200, "{}", self.text);
        self.json()["data"].clone()
    }

    /// Status, code and message of an error.
    pub(crate) fn error(&self) -> (u16, String, String) {
        let error = &self.json()["error"];
        assert!(error.get("details").is_some(), "{}", self.text);
        let text = |name: &str| error[name].as_str().unwrap().to_owned();
        (self.status, text("code"), text("message"))
    }
}

impl App {
    /// None, after saying so, where there is no embedded engine.
    pub(crate) async fn start(test: &str) -> Option<Self> {
        Self::start_with(test, Vec::new()).await
    }

    pub(crate) async fn start_with(test: &str, checks: Vec<HealthCheck>) -> Option<Self> {
        let warehouse = warehouse::testing::warehouse(test).await?;
        let migrations = MIGRATIONS.map(|step| Migration {
            version: step.version,
            name: step.name,
            sql: step.sql,
        });
        warehouse.migrate(&migrations).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let control_url = format!("sqlite:{}", dir.path().join("control.db").display());
        let control = ControlStore::connect(&control_url).await.unwrap();
        let http = HttpState::new(control.clone(), HttpConfig::for_test());
        let state = QueryState::new(http.clone(), warehouse.clone(), checks);
        Some(Self {
            router: apply(api(state), &http),
            control,
            warehouse,
            control_url,
            _dir: dir,
        })
    }

    pub(crate) async fn tenant(&self, name: &str, tier: Tier) -> Tenant {
        let email = format!("owner@{}.example", name.to_lowercase());
        let made = self
            .control
            .bootstrap(BootstrapRequest {
                org_name: name.into(),
                email,
                tier,
            })
            .await
            .unwrap();
        let token = self
            .control
            .create_session(made.user_id, made.org_id)
            .await
            .unwrap();
        Tenant {
            org: made.org_id,
            user: made.user_id,
            key: made.api_key.expose().to_owned(),
            key_id: made.api_key_id,
            cookie: format!("ns-session={}", token.expose()),
        }
    }

    pub(crate) async fn set_role(&self, tenant: &Tenant, role: &str) {
        let user = tenant.user.0;
        self.control_sql(&format!(
            "UPDATE memberships SET role = '{role}' WHERE user_id = '{user}'"
        ))
        .await;
    }

    pub(crate) async fn set_tier(&self, tenant: &Tenant, tier: &str) {
        let org = tenant.org.0;
        self.control_sql(&format!(
            "UPDATE subscriptions SET tier = '{tier}' WHERE org_id = '{org}'"
        ))
        .await;
    }

    /// Adds a key that nobody knows the secret of.
    pub(crate) async fn add_key(&self, tenant: &Tenant, name: &str) -> ApiKeyId {
        let id = ApiKeyId::random();
        let (org, user) = (tenant.org.0, tenant.user.0);
        self.control_sql(&format!(
            "INSERT INTO api_keys (id, org_id, user_id, name, key_hash, key_prefix, default_tags, api_version, environment, created_at)
             VALUES ('{0}', '{org}', '{user}', '{name}', '{0}', 'x', '{{}}', '2026-04-01', 'live', 0)",
            id.0
        ))
        .await;
        id
    }

    async fn control_sql(&self, sql: &str) {
        sqlx::any::install_default_drivers();
        let pool = AnyPool::connect(&self.control_url).await.unwrap();
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))
            .execute(&pool)
            .await
            .unwrap();
        pool.close().await;
    }

    /// Runs a statement in the warehouse.
    pub(crate) async fn sql(&self, sql: &str) {
        self.warehouse.client().query_raw(sql).execute().await.unwrap();
    }

    /// Adds to table `cost_by_customer_month`; months as `2026-04`.
    pub(crate) async fn add_cost(&self, tenant: &Tenant, rows: &[(&str, &str, &str, i64, i64)]) {
        let values: Vec<_> = rows
            .iter()
            .map(|(month, customer, model, cost, requests)| {
                format!(
                    "('{}', '{month}-01 00:00:00', '{customer}', '{model}', {cost}, {requests})",
                    tenant.org.0
                )
            })
            .collect();
        self.sql(&format!(
            "INSERT INTO cost_by_customer_month VALUES {}",
            values.join(", ")
        ))
        .await;
    }

    /// Adds to table `revenue_by_month`.
    pub(crate) async fn add_revenue(&self, tenant: &Tenant, rows: &[(&str, &str, i64)]) {
        let values: Vec<_> = rows
            .iter()
            .map(|(month, customer, revenue)| {
                format!(
                    "('{}', '{customer}', '{month}-01 00:00:00', {revenue}, 1)",
                    tenant.org.0
                )
            })
            .collect();
        self.sql(&format!(
            "INSERT INTO revenue_by_month VALUES {}",
            values.join(", ")
        ))
        .await;
    }

    pub(crate) async fn map(&self, tenant: &Tenant, stripe_id: &str, tag_value: &str) {
        let manual = schemas::mapping::MatchType::Manual;
        self.control
            .upsert_mapping(tenant.org, stripe_id, "customer", tag_value, manual)
            .await
            .unwrap();
    }

    pub(crate) async fn get(&self, tenant: &Tenant, path: &str) -> Answer {
        self.send(Method::GET, path, &[("cookie", &tenant.cookie)], "")
            .await
    }

    pub(crate) async fn delete(&self, tenant: &Tenant, path: &str) -> Answer {
        self.send(Method::DELETE, path, &[("cookie", &tenant.cookie)], "")
            .await
    }

    pub(crate) async fn post(&self, tenant: &Tenant, path: &str, body: &str) -> Answer {
        let headers = [
            ("cookie", tenant.cookie.as_str()),
            ("content-type", "application/json"),
        ];
        self.send(Method::POST, path, &headers, body).await
    }

    pub(crate) async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.to_owned())).unwrap();
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let text = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
        Answer {
            status: parts.status.as_u16(),
            headers: parts.headers,
            text,
        }
    }
}

/// Escapes every byte, so that no text needs care in a URL.
pub(crate) fn escape(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
