//! The distributed deployment: real Kafka, a ClickHouse process, real Postgres, and the services.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::deployment::{Deployment, Owner};
use crate::process::Process;
use crate::proxy::Proxy;
use crate::server::{free_address, marginstream, run};

/// Names a Postgres server, as `postgres://user:password@host:port/database` of a superuser.
const POSTGRES_VARIABLE: &str = "MARGINSTREAM_TEST_POSTGRES";

static NEXT_DATABASE: AtomicU32 = AtomicU32::new(0);

/// What a test needs of a cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) brokers: u32,
    pub(crate) partitions: u32,
    pub(crate) processors: usize,
}

impl Shape {
    pub(crate) const SMALL: Self = Self {
        brokers: 1,
        partitions: 3,
        processors: 2,
    };
}

/// Stretches of network between each service and what it talks to, which a test can cut.
pub(crate) struct Network {
    pub(crate) ingest_kafka: Proxy,
    pub(crate) processor_kafka: Proxy,
    pub(crate) ingest_clickhouse: Proxy,
    pub(crate) processor_clickhouse: Proxy,
    pub(crate) query_clickhouse: Proxy,
    pub(crate) ingest_postgres: Proxy,
}

/// All processes of one deployment. Ends them, and nothing else, when dropped.
pub(crate) struct Cluster {
    pub(crate) ingest: Process,
    pub(crate) processors: Vec<Process>,
    pub(crate) query_api: Process,
    pub(crate) clickhouse: Process,
    pub(crate) kafka: Kafka,
    pub(crate) network: Network,
    addresses: Addresses,
    owner: Owner,
    data: PathBuf,
    operator: Backends,
    _root: tempfile::TempDir,
}

#[derive(Debug, Clone, Copy)]
struct Addresses {
    ingest: SocketAddr,
    query_api: SocketAddr,
    clickhouse: SocketAddr,
}

/// How one service reaches its backends.
#[derive(Debug, Clone)]
struct Backends(Vec<(&'static str, String)>);

impl Backends {
    fn new(brokers: &str, warehouse: &str, control: &str, shape: Shape) -> Self {
        Self(vec![
            ("--event-log", format!("kafka://{brokers}")),
            ("--warehouse", warehouse.to_owned()),
            ("--control", control.to_owned()),
            ("--kafka-replication", shape.brokers.to_string()),
            ("--kafka-partitions", shape.partitions.to_string()),
            ("--kafka-session-timeout-ms", "2000".to_owned()),
        ])
    }

    fn add_to(&self, command: &mut Command) {
        for (name, value) in &self.0 {
            command.arg(name).arg(value);
        }
    }
}

/// Returns a new database's URL; none where there is no server, which only CI does not forgive.
fn postgres_database(test: &str) -> Option<String> {
    let Ok(server) = std::env::var(POSTGRES_VARIABLE) else {
        assert!(
            std::env::var_os("CI").is_none(),
            "{POSTGRES_VARIABLE} names no server: run `make test`"
        );
        println!("SKIPPED {test}: {POSTGRES_VARIABLE} names no server; run `make test`");
        return None;
    };
    let number = NEXT_DATABASE.fetch_add(1, Ordering::Relaxed);
    let name = format!("cluster_{}_{number}", std::process::id());
    let made = run(Command::new("psql").arg(&server).args([
        "--quiet",
        "--command",
        &format!("CREATE DATABASE {name}"),
    ]));
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let (base, _) = server.rsplit_once('/').unwrap();
    Some(format!("{base}/{name}"))
}

impl Cluster {
    /// Starts a cluster; none where this machine has no Postgres to test with.
    pub(crate) fn start(test: &str, shape: Shape) -> Option<Self> {
        let cluster = Self::prepare(test, shape)?;
        cluster.start_services();
        Some(cluster)
    }

    /// Starts the backends and makes the organization; no service runs yet.
    pub(crate) fn prepare(test: &str, shape: Shape) -> Option<Self> {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        Self::prepare_in(test, shape, root, data)
    }

    /// As [`Cluster::prepare`], with ClickHouse's data in `data`.
    pub(crate) fn prepare_on(test: &str, shape: Shape, data: &Path) -> Option<Self> {
        Self::prepare_in(test, shape, tempfile::tempdir().unwrap(), data.to_path_buf())
    }

    fn prepare_in(test: &str, shape: Shape, root: tempfile::TempDir, data: PathBuf) -> Option<Self> {
        let control = postgres_database(test)?;
        let path = |name: &str| root.path().join(name);
        let addresses = Addresses {
            ingest: free_address(),
            query_api: free_address(),
            clickhouse: free_address(),
        };
        let clickhouse = clickhouse_process(&data, path("clickhouse.log"), addresses.clickhouse);
        clickhouse.start();
        let password = fs::read_to_string(data.join("clickhouse-service.password")).unwrap();
        let warehouse =
            |address: SocketAddr| format!("http://service:{}@{address}/marginstream", password.trim());
        let postgres = address_of(&control);
        let control_through =
            |proxy: &Proxy| control.replace(&postgres.to_string(), &proxy.address.to_string());

        let (kafka, [ingest_kafka, processor_kafka]) = Kafka::start(path("kafka"), shape.brokers);
        let network = Network {
            ingest_kafka,
            processor_kafka,
            ingest_clickhouse: Proxy::to(addresses.clickhouse),
            processor_clickhouse: Proxy::to(addresses.clickhouse),
            query_clickhouse: Proxy::to(addresses.clickhouse),
            ingest_postgres: Proxy::to(postgres),
        };
        let ingest = Backends::new(
            &kafka.bootstrap_through(&network.ingest_kafka),
            &warehouse(network.ingest_clickhouse.address),
            &control_through(&network.ingest_postgres),
            shape,
        );
        let processor = Backends::new(
            &kafka.bootstrap_through(&network.processor_kafka),
            &warehouse(network.processor_clickhouse.address),
            &control,
            shape,
        );
        let query = Backends::new("", &warehouse(network.query_clickhouse.address), &control, shape);
        let operator = Backends::new(
            &kafka.bootstrap(),
            &warehouse(addresses.clickhouse),
            &control,
            shape,
        );
        let mut bootstrap = marginstream();
        let owner = Owner::bootstrap(bootstrap.args(["admin", "bootstrap", "--control", &control]));
        Some(Self {
            ingest: service("ingest", ingest, path("ingest.log"), addresses.ingest),
            processors: (0..shape.processors)
                .map(|number| {
                    let log = path(&format!("processor-{number}.log"));
                    service("processor", processor.clone(), log, free_address())
                })
                .collect(),
            query_api: service("query-api", query, path("query-api.log"), addresses.query_api),
            clickhouse,
            kafka,
            network,
            addresses,
            owner,
            data,
            operator,
            _root: root,
        })
    }

    /// Starts all services, and waits until they answer.
    pub(crate) fn start_services(&self) {
        self.services().for_each(|service| service.launch(&[]));
        for service in self.services() {
            assert!(service.wait_until_up(), "{}", self.log());
        }
    }

    fn services(&self) -> impl Iterator<Item = &Process> {
        [&self.ingest, &self.query_api]
            .into_iter()
            .chain(&self.processors)
    }

    /// Returns an operator's command on this deployment.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = marginstream();
        command.args(arguments);
        self.operator.add_to(&mut command);
        command
    }

    /// Runs `marginstream reconcile` beside the services, and asserts that it finds nothing.
    pub(crate) fn assert_reconciled(&self) {
        let output = run(&mut self.command(&["reconcile", "--json"]));
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{report}{}\n{}",
            String::from_utf8_lossy(&output.stderr),
            self.log()
        );
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for process in self.services().chain([&self.clickhouse]) {
            self.owner.assert_secret(&process.log());
        }
    }
}

impl Deployment for Cluster {
    fn owner(&self) -> &Owner {
        &self.owner
    }

    fn ingest(&self) -> SocketAddr {
        self.addresses.ingest
    }

    fn queries(&self) -> SocketAddr {
        self.addresses.query_api
    }

    fn clickhouse(&self) -> SocketAddr {
        self.addresses.clickhouse
    }

    fn data(&self) -> &Path {
        &self.data
    }

    /// The last lines of each process.
    fn log(&self) -> String {
        let mut text = String::new();
        for process in self.services().chain([&self.clickhouse]) {
            let log = process.log();
            let lines: Vec<_> = log.lines().collect();
            text.push_str("----\n");
            text.push_str(&lines[lines.len().saturating_sub(30)..].join("\n"));
            text.push('\n');
        }
        text
    }
}

fn clickhouse_process(data: &Path, log: PathBuf, address: SocketAddr) -> Process {
    let data = data.to_path_buf();
    Process::new(log, (address, "/ping"), move || {
        let mut command = marginstream();
        command
            .args(["clickhouse", "--listen", &address.to_string()])
            .arg("--data")
            .arg(&data);
        command
    })
}

/// A service, without limits on rates.
fn service(name: &'static str, backends: Backends, log: PathBuf, address: SocketAddr) -> Process {
    Process::new(log, (address, "/api/health"), move || {
        let mut command = marginstream();
        command.args([name, "--listen", &address.to_string()]);
        if name != "processor" {
            command.args(["--ingest-per-ip-per-min", "0", "--requests-per-key-per-min", "0"]);
            command.args(["--api-per-ip-per-min", "0", "--sign-in-per-ip-per-min", "0"]);
            command.args(["--sign-in-per-account-per-min", "0"]);
        }
        backends.add_to(&mut command);
        command
    })
}

/// Returns host and port of a URL with user and password.
fn address_of(url: &str) -> SocketAddr {
    let (_, rest) = url.rsplit_once('@').unwrap_or(("", url));
    let host = rest.split('/').next().unwrap();
    host.replace("localhost", "127.0.0.1").parse().unwrap()
}

/// A Kafka of its own, in a directory of its own.
pub(crate) struct Kafka {
    dir: PathBuf,
}

impl Kafka {
    /// Starts a cluster. One of a single node is reached in two more ways, which can be cut; of several
    /// nodes, whose addresses clients learn from each other, the ways are the same and cannot.
    fn start(dir: PathBuf, num_nodes: u32) -> (Self, [Proxy; 2]) {
        let kafka = Self { dir };
        kafka.script("start", &["--nodes", &num_nodes.to_string()]);
        if num_nodes > 1 {
            let address = kafka.first_address();
            return (kafka, [Proxy::to(address), Proxy::to(address)]);
        }
        kafka.script("stop", &[]);
        let listeners = [free_address(), free_address()];
        let proxies = listeners.map(Proxy::to);
        kafka.listen_too(&["INGEST", "PROCESSOR"], &listeners, &proxies);
        kafka.script("start", &[]);
        (kafka, proxies)
    }

    /// Adds listeners that tell clients to come through a proxy.
    fn listen_too(&self, names: &[&str; 2], listeners: &[SocketAddr; 2], proxies: &[Proxy; 2]) {
        let path = self.dir.join("node-1/server.properties");
        let mut properties = String::new();
        for line in fs::read_to_string(&path).unwrap().lines() {
            properties.push_str(line);
            for ((name, listener), proxy) in names.iter().zip(listeners).zip(proxies) {
                match line.split('=').next() {
                    Some("listeners") => properties.push_str(&format!(",{name}://{listener}")),
                    Some("advertised.listeners") => {
                        properties.push_str(&format!(",{name}://{}", proxy.address));
                    }
                    Some("listener.security.protocol.map") => {
                        properties.push_str(&format!(",{name}:PLAINTEXT"));
                    }
                    _ => {}
                }
            }
            properties.push('\n');
        }
        fs::write(path, properties).unwrap();
    }

    fn num_nodes(&self) -> usize {
        self.bootstrap().split(',').count()
    }

    /// Returns where clients of this proxy begin.
    fn bootstrap_through(&self, proxy: &Proxy) -> String {
        if self.num_nodes() > 1 {
            self.bootstrap()
        } else {
            proxy.address.to_string()
        }
    }

    /// Kills a node, counted from 1, with SIGKILL.
    pub(crate) fn kill_node(&self, node: u32) {
        self.script("kill-node", &[&node.to_string()]);
    }

    /// Starts a node again, and waits for it.
    pub(crate) fn start_node(&self, node: u32) {
        self.script("start-node", &[&node.to_string()]);
    }

    pub(crate) fn bootstrap(&self) -> String {
        fs::read_to_string(self.dir.join("bootstrap"))
            .unwrap()
            .trim()
            .to_owned()
    }

    fn first_address(&self) -> SocketAddr {
        self.bootstrap().split(',').next().unwrap().parse().unwrap()
    }

    fn script(&self, command: &str, arguments: &[&str]) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kafka/kafka.sh");
        let output = run(Command::new(script).arg(command).arg(&self.dir).args(arguments));
        assert!(
            output.status.success(),
            "kafka.sh {command}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // A panic within a panic would hide the test's own.
        if self.dir.exists() && !std::thread::panicking() {
            self.script("stop", &[]);
        } else {
            let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kafka/kafka.sh");
            Command::new(script).arg("stop").arg(&self.dir).output().ok();
        }
    }
}
