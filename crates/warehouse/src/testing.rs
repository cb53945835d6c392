//! An embedded engine behind HTTP, once per process, for tests.
//!
//! Without the engine's library, tests that need it fail if `CI` is set, and say so and pass otherwise.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use tokio::net::TcpListener;

use crate::{
    Credentials, Engine, EngineConfig, EngineError, ServerConfig, Users, Warehouse, WarehouseConfig, serve,
};

/// User and password of the test server's service user.
pub const SERVICE_USER: (&str, &str) = ("service", "service-password");
/// User and password of the test server's analyst, who may read databases whose names begin with `test_`.
pub const ANALYST_USER: (&str, &str) = ("analyst", "analyst-password");

const DIRECTORY_PREFIX: &str = "marginstream-warehouse-test-";

static SERVER: OnceLock<Option<u16>> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

/// Returns a warehouse on the embedded engine, in a database of its own that is created empty.
///
/// `None` when the engine's library is missing, after printing which test is passed over.
///
/// # Panics
/// If the library is missing and `CI` is set, or the engine does not start.
pub async fn warehouse(test: &str) -> Option<Warehouse> {
    let port = server_port(test)?;
    let number = DATABASES.fetch_add(1, Ordering::Relaxed);
    let name: String = test
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    let warehouse = Warehouse::new(WarehouseConfig::new(url(
        port,
        SERVICE_USER,
        &format!("test_{name}_{number}"),
    )));
    let warehouse = warehouse.unwrap_or_else(|error| panic!("warehouse: {error}"));
    let migrated = warehouse.migrate(&[]).await;
    assert!(
        migrated.is_ok(),
        "creating the test database failed: {migrated:?}"
    );
    Some(warehouse)
}

/// URL of the test server for `user` (name and password) and `database`.
pub fn url(port: u16, user: (&str, &str), database: &str) -> String {
    format!("http://{}:{}@127.0.0.1:{port}/{database}", user.0, user.1)
}

/// Port of this process's test server, which is started if need be; `None` as for [`warehouse`].
///
/// # Panics
/// As [`warehouse`].
pub fn server_port(test: &str) -> Option<u16> {
    let port = *SERVER.get_or_init(start);
    if port.is_none() {
        skip(test);
    }
    port
}

/// Says that `test` is passed over for want of the engine's library.
///
/// # Panics
/// If `CI` is set.
pub fn skip(test: &str) {
    assert!(
        env::var_os("CI").is_none(),
        "{test} needs the embedded engine: run `make libchdb`"
    );
    eprintln!("\n*** SKIPPED {test}: no embedded engine; run `make libchdb` or set CHDB_LIB ***\n");
}

/// Users of the test server.
pub fn users() -> Users {
    Users {
        service: Credentials::new(SERVICE_USER.0, SERVICE_USER.1),
        analyst: Some(Credentials::new(ANALYST_USER.0, ANALYST_USER.1)),
    }
}

fn start() -> Option<u16> {
    remove_stale_directories();
    let data_dir = env::temp_dir().join(format!("{DIRECTORY_PREFIX}{}", process::id()));
    let config = EngineConfig {
        analyst_tables: vec!["test_*.*".to_owned()],
        ..EngineConfig::new(data_dir)
    };
    let engine = match Engine::open(config) {
        Ok(engine) => engine,
        Err(EngineError::LibraryNotFound { .. }) => return None,
        Err(error) => panic!("engine: {error}"),
    };
    warm_up(&engine);
    let (sender, receiver) = std::sync::mpsc::channel();
    // Each test has a runtime of its own; the server's must outlive them all.
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build();
        let runtime = runtime.unwrap_or_else(|error| panic!("runtime: {error}"));
        runtime.block_on(async move {
            let listener = TcpListener::bind("127.0.0.1:0").await;
            let listener = listener.unwrap_or_else(|error| panic!("listener: {error}"));
            let port = listener.local_addr().map(|address| address.port());
            drop(sender.send(port));
            let served = serve(
                engine,
                listener,
                ServerConfig::new(users()),
                std::future::pending(),
            )
            .await;
            panic!("test server ended: {served:?}");
        });
    });
    let port = receiver
        .recv()
        .unwrap_or_else(|error| panic!("test server: {error}"));
    Some(port.unwrap_or_else(|error| panic!("test server: {error}")))
}

/// Has the engine merge parts once, so that all it needs for that exists before the process's exit
/// hook is set: tests end with the engine open.
fn warm_up(engine: &Engine) {
    let statements = [
        "CREATE DATABASE test_warm_up",
        "CREATE TABLE test_warm_up.t (n Int64, s LowCardinality(String)) ENGINE = MergeTree ORDER BY n",
        "INSERT INTO test_warm_up.t SELECT number, 'a' FROM numbers(10)",
        "INSERT INTO test_warm_up.t SELECT number, 'b' FROM numbers(10)",
        "OPTIMIZE TABLE test_warm_up.t FINAL",
        "DROP DATABASE test_warm_up SYNC",
    ];
    for statement in statements {
        let done = engine
            .connect()
            .and_then(|mut connection| connection.query(statement.as_bytes(), "Null", &[]));
        assert!(done.is_ok(), "{statement}: {done:?}");
    }
}

/// Removes what earlier test processes left behind: they end without a chance to.
fn remove_stale_directories() {
    for entry in env::temp_dir().read_dir().into_iter().flatten().flatten() {
        let name = entry.file_name();
        let process = name.to_str().and_then(|name| name.strip_prefix(DIRECTORY_PREFIX));
        let is_stale = process.is_some_and(|id| !PathBuf::from("/proc").join(id).exists());
        if is_stale {
            // Another test process may be removing it too.
            drop(fs::remove_dir_all(entry.path()));
        }
    }
}
