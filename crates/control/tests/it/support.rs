//! A store of each kind in a place of its own, and a way to its rows behind its back.

use std::io::Write;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Once;

use marginstream_control::{BootstrapRequest, Bootstrapped, ControlStore};
use schemas::access::{Role, Tier};
use schemas::id::{OrgId, UserId};
use schemas::mapping::MatchType;
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, AnyPool, Connection, Row};
use tempfile::TempDir;
use uuid::Uuid;

/// Names the server of the tests over Postgres: the URL of a superuser's maintenance database.
const SERVER: &str = "MARGINSTREAM_TEST_POSTGRES";

/// Runs each rule twice, over SQLite and over Postgres. A rule takes a store that is open and empty.
macro_rules! store_tests {
    ($($rule:ident)*) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $rule() {
                    super::$rule(crate::support::TestStore::sqlite().await).await;
                }
            )*
        }
        mod postgres {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $rule() {
                    if let Some(test) = crate::support::TestStore::postgres().await {
                        super::$rule(test).await;
                    }
                }
            )*
        }
    };
}
pub(crate) use store_tests;

pub(crate) struct TestStore {
    pub(crate) store: ControlStore,
    place: Place,
}

impl TestStore {
    pub(crate) async fn sqlite() -> Self {
        Self::open(Place::directory()).await
    }

    /// None where the tests have no server.
    pub(crate) async fn postgres() -> Option<Self> {
        Some(Self::open(Place::database(&test_server()?).await).await)
    }

    pub(crate) async fn open(place: Place) -> Self {
        let store = ControlStore::connect(&place.url()).await.unwrap();
        Self { store, place }
    }

    pub(crate) fn url(&self) -> String {
        self.place.url()
    }

    /// An empty place of the same kind, which no store has opened yet.
    pub(crate) async fn another_place(&self) -> Place {
        match &self.place {
            Place::Directory(_) => Place::directory(),
            Place::Database(database) => Place::database(&database.server).await,
        }
    }

    /// A second set of connections to the same place.
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

    /// Makes a user who is a member with this role.
    pub(crate) async fn member(&self, org: OrgId, email: &str, role: Role) -> UserId {
        let user = self.user(email).await;
        self.store.add_member(org, user, role).await.unwrap();
        user
    }

    /// Makes a user who is in no organization, without a password, since hashing one takes long.
    pub(crate) async fn user(&self, email: &str) -> UserId {
        let user = UserId::random();
        self.sql(&format!(
            "INSERT INTO users (id, email, created_at) VALUES ('{}', '{email}', 1)",
            user.0
        ))
        .await;
        user
    }

    /// Lets the time of all invitations be over.
    pub(crate) async fn expire_invitations(&self) {
        self.sql("UPDATE invitations SET expires_at = 1").await;
    }

    /// Gives the organization a row in each table that has rows of organizations.
    pub(crate) async fn fill(&self, org: OrgId, user: UserId) {
        self.store.create_session(user, org).await.unwrap();
        self.store.set_setting(org, "name", "value").await.unwrap();
        self.store
            .upsert_mapping(org, "cus_1", "customer", "globex", MatchType::Auto)
            .await
            .unwrap();
        let (org, user) = (org.0, user.0);
        let id = Uuid::new_v4();
        self.sql(&format!(
            "INSERT INTO org_secrets (org_id, name, sealed) VALUES ('{org}', 'stripe', 'v1:');
             INSERT INTO invitations (id, org_id, email, role, status, token_hash, token_prefix, invited_by,
                                      expires_at, created_at)
             VALUES ('{id}', '{org}', 'a@b.example', 'member', 'pending', '{id}', 'ns_inv_', '{user}', 1, 1);
             INSERT INTO audit_log (id, org_id, actor_id, action, resource_type, created_at)
             VALUES ('{id}', '{org}', '{user}', 'org.created', 'org', 1)"
        ))
        .await;
    }

    /// Runs statements that the store has no method for.
    pub(crate) async fn sql(&self, sql: &str) {
        self.try_sql(sql).await.unwrap();
    }

    pub(crate) async fn try_sql(&self, sql: &str) -> Result<(), sqlx::Error> {
        self.place.try_sql(sql).await
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

    /// All that is stored: the bytes of the file, or every row of every table. Closes the store.
    pub(crate) async fn stored(&self) -> Vec<u8> {
        self.store.close().await;
        match &self.place {
            Place::Directory(directory) => std::fs::read(file(directory)).unwrap(),
            Place::Database(_) => self.rows_of_all_tables().await.into_bytes(),
        }
    }

    async fn rows_of_all_tables(&self) -> String {
        let pool = self.raw().await;
        let tables = "SELECT tablename::text AS name FROM pg_tables WHERE schemaname = 'public'";
        let mut rows = String::new();
        for table in sqlx::query(tables).fetch_all(&pool).await.unwrap() {
            let table: String = table.try_get("name").unwrap();
            let all = format!("SELECT COALESCE(string_agg(t::text, ' '), '') FROM {table} t");
            let row = sqlx::query(sqlx::AssertSqlSafe(all))
                .fetch_one(&pool)
                .await
                .unwrap();
            rows.push_str(&row.try_get::<String, _>(0).unwrap());
        }
        pool.close().await;
        rows
    }

    async fn raw(&self) -> AnyPool {
        self.place.raw().await
    }
}

/// Where a store lives, with nothing else in it. It is removed when dropped.
pub(crate) enum Place {
    Directory(TempDir),
    Database(Database),
}

impl Place {
    fn directory() -> Self {
        Self::Directory(tempfile::tempdir().unwrap())
    }

    pub(crate) async fn database(server: &str) -> Self {
        Self::Database(Database::create(server).await)
    }

    pub(crate) fn url(&self) -> String {
        match self {
            Self::Directory(directory) => format!("sqlite:{}", file(directory).display()),
            Self::Database(database) => database.url(),
        }
    }

    /// Runs statements, before a store is opened here too.
    pub(crate) async fn sql(&self, sql: &str) {
        self.try_sql(sql).await.unwrap();
    }

    async fn try_sql(&self, sql: &str) -> Result<(), sqlx::Error> {
        let pool = self.raw().await;
        let statements = sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned()));
        let done = statements.execute(&pool).await;
        pool.close().await;
        done.map(drop)
    }

    async fn raw(&self) -> AnyPool {
        sqlx::any::install_default_drivers();
        let url = match self {
            Self::Directory(directory) => format!("sqlite://{}?mode=rwc", file(directory).display()),
            Self::Database(database) => database.url(),
        };
        AnyPool::connect(&url).await.unwrap()
    }
}

pub(crate) fn file(directory: &TempDir) -> PathBuf {
    directory.path().join("control.db")
}

/// A Postgres database of one test.
pub(crate) struct Database {
    server: String,
    name: String,
}

impl Database {
    async fn create(server: &str) -> Self {
        let name = format!("control_test_{}", Uuid::new_v4().simple());
        execute(server, format!("CREATE DATABASE {name}")).await.unwrap();
        let server = server.to_owned();
        Self { server, name }
    }

    fn url(&self) -> String {
        sqlx::any::install_default_drivers();
        let mut options = AnyConnectOptions::from_str(&self.server).unwrap();
        options.database_url.set_path(&self.name);
        options.database_url.into()
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let server = self.server.clone();
        let drop = format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name);
        // The runtime of the test must not wait within itself.
        let dropping = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(execute(&server, drop))
        });
        // A server that the test itself has stopped takes its databases with it.
        drop_result(dropping.join().unwrap());
    }
}

fn drop_result(result: Result<(), sqlx::Error>) {
    if let Err(error) = result {
        println!("a test's database was left behind: {error}");
    }
}

async fn execute(server: &str, sql: String) -> Result<(), sqlx::Error> {
    sqlx::any::install_default_drivers();
    let mut connection = AnyConnection::connect(server).await?;
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql))
        .execute(&mut connection)
        .await?;
    connection.close().await
}

/// The server of the tests over Postgres. Without one they pass and say so, except in CI.
pub(crate) fn test_server() -> Option<String> {
    static SAY: Once = Once::new();
    let server = std::env::var(SERVER).ok().filter(|url| !url.is_empty());
    if server.is_none() {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI needs {SERVER}, the URL of a Postgres server"
        );
        // Not by `println!`, which shows nothing of a test that passes.
        SAY.call_once(|| {
            let skipped = format!("SKIPPED the control store over Postgres: {SERVER} is not set\n");
            std::io::stderr().write_all(skipped.as_bytes()).unwrap();
        });
    }
    server
}
