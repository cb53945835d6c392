//! What is Postgres's own: a server that goes away, falls silent, or refuses.

use std::path::PathBuf;
use std::process::Command;
use std::str::FromStr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use marginstream_control::{ControlError, ControlStore};
use schemas::id::OrgId;
use schemas::mapping::MatchType;
use sqlx::any::AnyConnectOptions;
use sqlx::{AnyConnection, Connection};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::{Place, TestStore, test_server};

/// Longer than any call of the store may take.
const LONGEST_CALL: Duration = Duration::from_secs(20);
/// The number of the write lock, which versions of the program must agree on.
const WRITE_LOCK: i64 = 0x6d61_7267_696e_6373;

#[tokio::test]
async fn a_server_that_is_not_there_is_worth_a_retry_and_its_password_is_not_told() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let error = ControlStore::connect(&format!("postgres://user:hunter2@{address}/control"))
        .await
        .unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_refused_for_good_and_a_right_one_is_not_told() {
    let Some(server) = OwnServer::start().await else {
        return;
    };
    let mut options = AnyConnectOptions::from_str(&server.url()).unwrap();
    let password = options.database_url.password().unwrap().to_owned();
    let store = ControlStore::connect(&server.url()).await.unwrap();
    assert!(!format!("{store:?}").contains(&password));

    options.database_url.set_password(Some("hunter2")).unwrap();
    let error = ControlStore::connect(options.database_url.as_str())
        .await
        .unwrap_err();
    assert!(!error.is_retryable(), "{error:?}");
    assert!(!format!("{error:?} {error}").contains("hunter2"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_loses_nothing_and_the_store_finds_it_again() {
    let Some(server) = OwnServer::start().await else {
        return;
    };
    let test = TestStore::open(Place::database(&server.url()).await).await;
    let org = test.new_org().await;
    let writer = tokio::spawn(write_until_it_fails(test.store.clone(), org));
    while test.store.next_outbox(20).await.unwrap().len() < 20 {}
    server.kill();
    let (num_acknowledged, error) = writer.await.unwrap();
    assert!(error.is_retryable(), "{error:?}");
    let refused = test.store.org(org).await.unwrap_err();
    assert!(refused.is_retryable(), "{refused:?}");

    server.run("start").await;
    until_it_works(&test.store, org).await;
    let mappings = test.store.list_mappings(org).await.unwrap();
    // The last write may have been made, though nobody was told.
    assert!([num_acknowledged, num_acknowledged + 1].contains(&mappings.len()));
    let entries = test.store.next_outbox(100_000).await.unwrap();
    let sequences: Vec<u64> = entries.iter().map(|entry| entry.sequence).collect();
    assert_eq!(sequences, (1..=mappings.len() as u64).collect::<Vec<_>>());
}

/// Returns how many writes were acknowledged, and why the next one was not.
async fn write_until_it_fails(store: ControlStore, org: OrgId) -> (usize, ControlError) {
    for index in 0.. {
        let name = format!("customer-{index}");
        let write = store.upsert_mapping(org, &name, "customer", &name, MatchType::Auto);
        if let Err(error) = write.await {
            return (index, error);
        }
    }
    unreachable!("writes end with an error")
}

async fn until_it_works(store: &ControlStore, org: OrgId) {
    let started = Instant::now();
    while let Err(error) = store.set_setting(org, "is_back", "true").await {
        assert!(error.is_retryable(), "{error:?}");
        assert!(started.elapsed() < LONGEST_CALL * 2, "{error:?}");
    }
    assert_eq!(
        store.setting(org, "is_back").await.unwrap().as_deref(),
        Some("true")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_falls_silent_ends_calls_and_holds_nobody_else_up() {
    let Some(server) = test_server() else { return };
    let place = Place::database(&server).await;
    let proxy = Proxy::start(&place.url()).await;
    let test = TestStore::open(place).await;
    let org = test.new_org().await;
    let cut_off = ControlStore::connect(&proxy.url).await.unwrap();
    // In the middle of a transaction, which holds the write lock.
    proxy.fall_silent_at("INSERT INTO customer_mappings");
    let writer = tokio::spawn(write_until_it_fails(cut_off.clone(), org));
    let mut silent = proxy.network.silent.subscribe();
    silent.wait_for(|silent| *silent).await.unwrap();
    let started = Instant::now();
    let reader = tokio::spawn({
        let cut_off = cut_off.clone();
        async move { cut_off.org(org).await }
    });
    until_it_works(&test.store, org).await;
    let waited = started.elapsed();
    assert!(waited > Duration::from_secs(3), "the write lock was free");
    assert!(
        waited < Duration::from_secs(9),
        "the write lock was held for {waited:?}"
    );

    let (num_acknowledged, writing) = writer.await.unwrap();
    assert_eq!(num_acknowledged, 0);
    for error in [reader.await.unwrap().unwrap_err(), writing] {
        assert!(error.is_retryable(), "{error:?}");
    }
    assert!(started.elapsed() < LONGEST_CALL);
    proxy.network.silent.send_replace(false);
    until_it_works(&cut_off, org).await;
    assert!(cut_off.list_mappings(org).await.unwrap().is_empty());
    assert_eq!(test.number("SELECT value FROM counters").await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lock_that_is_not_given_back_is_worth_a_retry_and_reads_go_on() {
    let Some(test) = TestStore::postgres().await else {
        return;
    };
    let org = test.new_org().await;
    let mut other = AnyConnection::connect(&test.url()).await.unwrap();
    let mut holding = other.begin().await.unwrap();
    sqlx::query("SELECT 1 FROM pg_advisory_xact_lock($1)")
        .bind(WRITE_LOCK)
        .execute(&mut *holding)
        .await
        .unwrap();
    let (written, read) = tokio::join!(
        test.store.set_setting(org, "name", "value"),
        test.store.setting(org, "name")
    );
    let refused = written.unwrap_err();
    assert!(refused.is_retryable(), "{refused:?}");
    assert_eq!(read.unwrap(), None);

    holding.rollback().await.unwrap();
    test.store.set_setting(org, "name", "value").await.unwrap();
}

/// A server of this test alone, which it may kill.
struct OwnServer {
    directory: TempDir,
}

impl OwnServer {
    /// None where the tests have no server at all.
    async fn start() -> Option<Self> {
        test_server()?;
        let server = Self {
            directory: tempfile::tempdir().unwrap(),
        };
        server.run("start").await;
        Some(server)
    }

    fn url(&self) -> String {
        let url = std::fs::read_to_string(self.directory.path().join("url")).unwrap();
        url.trim().to_owned()
    }

    async fn run(&self, command: &'static str) {
        let directory = self.directory.path().to_owned();
        let ran = tokio::task::spawn_blocking(move || run_script(command, &directory));
        ran.await.unwrap();
    }

    fn kill(&self) {
        let file = self.directory.path().join("data/postmaster.pid");
        let file = std::fs::read_to_string(file).unwrap();
        let pid = file.lines().next().unwrap();
        assert!(
            Command::new("kill")
                .args(["-KILL", pid])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        run_script("stop", self.directory.path());
    }
}

fn run_script(command: &str, directory: &std::path::Path) {
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../deploy/postgres/postgres.sh");
    let status = Command::new(script).arg(command).arg(directory).status();
    assert!(status.unwrap().success(), "postgres.sh {command}");
}

/// A way to the server that can fall silent, in both directions, and speak again.
struct Proxy {
    url: String,
    network: Arc<Network>,
}

struct Network {
    silent: watch::Sender<bool>,
    /// What the store says when the network falls silent, once.
    silent_at: Mutex<Option<&'static str>>,
}

impl Proxy {
    async fn start(url: &str) -> Self {
        let mut options = AnyConnectOptions::from_str(url).unwrap();
        let host = options.database_url.host_str().unwrap().to_owned();
        let server = (host, options.database_url.port().unwrap_or(5432));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        options.database_url.set_host(Some("127.0.0.1")).unwrap();
        let port = listener.local_addr().unwrap().port();
        options.database_url.set_port(Some(port)).unwrap();
        // Not encrypted, so that the proxy can read along.
        options.database_url.set_query(Some("sslmode=disable"));
        let network = Arc::new(Network {
            silent: watch::Sender::new(false),
            silent_at: Mutex::new(None),
        });
        let accepting = Arc::clone(&network);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(connect(client, server.clone(), Arc::clone(&accepting)));
            }
        });
        Self {
            url: options.database_url.into(),
            network,
        }
    }

    fn fall_silent_at(&self, words: &'static str) {
        *self.network.silent_at.lock().unwrap() = Some(words);
    }
}

impl Network {
    fn hear(&self, said: &[u8]) {
        let mut silent_at = self.silent_at.lock().unwrap();
        let is_said = |words: &str| said.windows(words.len()).any(|window| window == words.as_bytes());
        if silent_at.is_some_and(is_said) {
            *silent_at = None;
            self.silent.send_replace(true);
        }
    }

    async fn speaks(&self) {
        let mut silent = self.silent.subscribe();
        silent.wait_for(|silent| !silent).await.unwrap();
    }
}

async fn connect(client: TcpStream, server: (String, u16), network: Arc<Network>) {
    network.speaks().await;
    let server = TcpStream::connect(server).await.unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::join!(
        forward(from_client, to_server, &network),
        forward(from_server, to_client, &network)
    );
}

async fn forward(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, network: &Network) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        network.hear(&buffer[..length]);
        network.speaks().await;
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}
