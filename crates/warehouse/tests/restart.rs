//! What survives the end of the process, orderly or not.
//!
//! The engine runs in a child: this test program itself, told by an environment variable.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::{env, thread};

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field, Schema};
use marginstream_warehouse::testing::{SERVICE_USER, skip, url, users};
use marginstream_warehouse::{
    Engine, EngineConfig, EngineError, Migration, ServerConfig, Warehouse, WarehouseConfig, serve,
};

const CHILD_DIRECTORY: &str = "MARGINSTREAM_TEST_CHILD_DIRECTORY";
const NO_LIBRARY: &str = "no library";
const TABLE: Migration<'_> = Migration {
    version: 1,
    name: "t",
    sql: "CREATE TABLE IF NOT EXISTS t (n Int64) ENGINE = MergeTree ORDER BY n \
          SETTINGS non_replicated_deduplication_window = 100",
};

/// The child's part: serves until it is killed.
#[test]
fn child_serves_until_killed() {
    let Some(directory) = env::var_os(CHILD_DIRECTORY) else {
        return;
    };
    let engine = match Engine::open(EngineConfig::new(directory)) {
        Ok(engine) => engine,
        Err(EngineError::LibraryNotFound { .. }) => return println!("\nport {NO_LIBRARY}"),
        Err(error) => panic!("{error}"),
    };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        println!("\nport {}", listener.local_addr().unwrap().port());
        std::io::stdout().flush().unwrap();
        serve(
            engine,
            listener,
            ServerConfig::new(users()),
            std::future::pending(),
        )
        .await
        .unwrap();
    });
}

struct Server {
    child: Child,
    warehouse: Warehouse,
}

impl Server {
    fn start(directory: &std::path::Path) -> Option<Self> {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "child_serves_until_killed", "--nocapture"])
            .env(CHILD_DIRECTORY, directory)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port = lines
            .map_while(Result::ok)
            .find_map(|line| line.strip_prefix("port ").map(str::to_owned));
        let port = port.expect("the child names its port");
        if port == NO_LIBRARY {
            child.wait().unwrap();
            return None;
        }
        let url = url(port.parse().unwrap(), SERVICE_USER, "db");
        Some(Self {
            child,
            warehouse: Warehouse::new(WarehouseConfig::new(url)).unwrap(),
        })
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn batch() -> RecordBatch {
    let schema = Schema::new(vec![Field::new("n", DataType::Int64, false)]);
    RecordBatch::try_new(
        Arc::new(schema),
        vec![Arc::new(Int64Array::from_iter_values(0..1000))],
    )
    .unwrap()
}

async fn count(warehouse: &Warehouse) -> u64 {
    warehouse
        .client()
        .query("SELECT count() FROM t")
        .fetch_one()
        .await
        .unwrap()
}

#[tokio::test]
async fn a_token_is_remembered_after_a_kill() {
    let directory = tempfile::tempdir().unwrap();
    let Some(server) = Server::start(directory.path()) else {
        return skip("a_token_is_remembered_after_a_kill");
    };
    server.warehouse.migrate(&[TABLE]).await.unwrap();
    server
        .warehouse
        .insert_arrow("t", &[batch()], "topic:0:0-1000:t")
        .await
        .unwrap();
    server.kill();

    let server = Server::start(directory.path()).unwrap();
    assert_eq!(server.warehouse.migrate(&[TABLE]).await.unwrap(), []);
    assert_eq!(count(&server.warehouse).await, 1000);
    server
        .warehouse
        .insert_arrow("t", &[batch()], "topic:0:0-1000:t")
        .await
        .unwrap();
    assert_eq!(count(&server.warehouse).await, 1000);
    server
        .warehouse
        .insert_arrow("t", &[batch()], "topic:0:1000-2000:t")
        .await
        .unwrap();
    assert_eq!(count(&server.warehouse).await, 2000);
    server.kill();
}

#[tokio::test]
async fn inserts_cut_off_by_kills_count_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut next = 0;
    // Each round is killed while an insert may be running; the next repeats that insert.
    for round in 0..8_u64 {
        let Some(server) = Server::start(directory.path()) else {
            return skip("inserts_cut_off_by_kills_count_once");
        };
        server.warehouse.migrate(&[TABLE]).await.unwrap();
        let killer = thread::spawn({
            let pid = server.child.id();
            move || {
                thread::sleep(std::time::Duration::from_millis(20 + round * 17));
                Command::new("kill")
                    .args(["-9", &pid.to_string()])
                    .status()
                    .unwrap();
            }
        });
        while server
            .warehouse
            .insert_arrow("t", &[batch()], &format!("t:0:{next}:t"))
            .await
            .is_ok()
        {
            next += 1;
        }
        killer.join().unwrap();
        server.kill();
    }
    let server = Server::start(directory.path()).unwrap();
    server
        .warehouse
        .insert_arrow("t", &[batch()], &format!("t:0:{next}:t"))
        .await
        .unwrap();
    assert_eq!(count(&server.warehouse).await, (next + 1) * 1000);
    server.kill();
}

/// Between the line of the token and the name of the part lie microseconds; here the part is taken away
/// after a kill, which leaves the same on disk.
#[tokio::test]
async fn an_insert_killed_between_its_token_and_its_rows_is_done_by_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let Some(server) = Server::start(directory.path()) else {
        return skip("an_insert_killed_between_its_token_and_its_rows_is_done_by_the_next");
    };
    server.warehouse.migrate(&[TABLE]).await.unwrap();
    let stop = server.warehouse.client().query("SYSTEM STOP MERGES t");
    stop.execute().await.unwrap();
    let insert = async |server: &Server, number: u32| {
        let token = format!("t:0:{number}:t");
        server
            .warehouse
            .insert_arrow("t", &[batch()], &token)
            .await
            .unwrap();
    };
    for number in 0..3 {
        insert(&server, number).await;
    }
    let part: String = server
        .warehouse
        .client()
        .query(
            "SELECT path FROM system.parts WHERE table = 't' AND database = 'db' AND active \
             ORDER BY max_block_number DESC LIMIT 1",
        )
        .fetch_one()
        .await
        .unwrap();
    server.kill();
    assert!(part.contains("_3_3_0"), "{part}");
    std::fs::remove_dir_all(&part).unwrap();

    let server = Server::start(directory.path()).unwrap();
    assert_eq!(count(&server.warehouse).await, 2000);
    for number in 0..3 {
        insert(&server, number).await;
    }
    assert_eq!(count(&server.warehouse).await, 3000);
    server.kill();
}

#[tokio::test]
async fn a_second_process_is_refused_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let Some(server) = Server::start(directory.path()) else {
        return skip("a_second_process_is_refused_with_a_reason");
    };
    let output = Command::new(env::current_exe().unwrap())
        .args(["--exact", "child_serves_until_killed", "--nocapture"])
        .env(CHILD_DIRECTORY, directory.path())
        .output()
        .unwrap();
    let printed = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(printed.contains("another process may be using it"), "{printed}");
    server.kill();
}

/// Runs `child` of this program to its end and checks that it ended well, several times over.
fn assert_exits_cleanly(child: &str) {
    for _ in 0..5 {
        let directory = tempfile::tempdir().unwrap();
        let status = Command::new(env::current_exe().unwrap())
            .args(["--exact", child, "--nocapture"])
            .env(CHILD_DIRECTORY, directory.path())
            .stdout(Stdio::null())
            .status()
            .unwrap();
        assert!(status.success(), "{status}");
    }
}

#[test]
fn a_process_that_closes_its_engine_exits_cleanly() {
    assert_exits_cleanly("child_closes_its_engine");
}

#[test]
fn a_process_with_an_open_test_engine_exits_cleanly() {
    assert_exits_cleanly("child_leaves_the_test_engine_open");
}

/// Makes parts to merge, and leaves a statement running.
async fn make_work(warehouse: Warehouse) {
    warehouse.migrate(&[TABLE]).await.unwrap();
    for round in 0..40 {
        warehouse
            .insert_arrow("t", &[batch()], &format!("t:0:{round}:t"))
            .await
            .unwrap();
    }
    tokio::spawn(async move {
        let slow = "SELECT count() FROM numbers(100000000000) WHERE NOT ignore(number)";
        drop(warehouse.client().query(slow).fetch_one::<u64>().await);
    });
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
}

/// The child's part: closes its engine while parts are merged and a statement runs.
#[test]
fn child_closes_its_engine() {
    let Some(directory) = env::var_os(CHILD_DIRECTORY) else {
        return;
    };
    let engine = match Engine::open(EngineConfig::new(directory)) {
        Ok(engine) => engine,
        Err(EngineError::LibraryNotFound { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = url(listener.local_addr().unwrap().port(), SERVICE_USER, "db");
        tokio::spawn(serve(
            Arc::clone(&engine),
            listener,
            ServerConfig::new(users()),
            std::future::pending(),
        ));
        make_work(Warehouse::new(WarehouseConfig::new(url)).unwrap()).await;
        assert!(engine.close());
    });
}

/// The child's part: exits while parts are merged and a statement runs.
#[test]
fn child_leaves_the_test_engine_open() {
    if env::var_os(CHILD_DIRECTORY).is_none() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        if let Some(warehouse) = marginstream_warehouse::testing::warehouse("left_open").await {
            make_work(warehouse).await;
        }
    });
    // Keeps the statement running until the process is gone.
    std::mem::forget(runtime);
}
