//! A store in a temporary directory, and a way to its rows behind its back.

use std::path::PathBuf;

use marginstream_control::{BootstrapRequest, Bootstrapped, ControlStore};
use schemas::access::Tier;
use schemas::id::OrgId;
use sqlx::{AnyPool, Row};
use tempfile::TempDir;

pub(crate) struct TestStore {
    pub(crate) store: ControlStore,
    directory: TempDir,
}

impl TestStore {
    pub(crate) async fn open() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = ControlStore::connect(&url(&directory)).await.unwrap();
        Self { store, directory }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.directory.path().join("control.db")
    }

    pub(crate) fn url(&self) -> String {
        url(&self.directory)
    }

    /// A second set of connections to the same file.
    pub(crate) async fn connect_again(&self) -> ControlStore {
        ControlStore::connect(&self.url()).await.unwrap()
    }

    pub(crate) async fn bootstrap(&self, org_name: &str, email: &str) -> Bootstrapped {
        let request = BootstrapRequest {
            org_name: org_name.into(),
            email: email.into(),
            tier: Tier::Pro,
        };
        self.store.bootstrap(request).await.unwrap()
    }

    pub(crate) async fn new_org(&self) -> OrgId {
        self.bootstrap("Globex", "owner@globex.example").await.org_id
    }

    /// Runs statements that the store has no method for.
    pub(crate) async fn sql(&self, sql: &str) {
        let pool = self.raw().await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))
            .execute(&pool)
            .await
            .unwrap();
        pool.close().await;
    }

    /// The one number that a query gives.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let pool = self.raw().await;
        let row = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()))
            .fetch_one(&pool)
            .await
            .unwrap();
        pool.close().await;
        row.try_get(0).unwrap()
    }

    async fn raw(&self) -> AnyPool {
        sqlx::any::install_default_drivers();
        AnyPool::connect(&format!("sqlite://{}", self.path().display()))
            .await
            .unwrap()
    }
}

fn url(directory: &TempDir) -> String {
    format!("sqlite:{}", directory.path().join("control.db").display())
}
