//! The Kafka that the environment names, and names of its own for each test.

use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use marginstream_event_log::{KafkaLogConfig, TopicSpec};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// `host:port[,host:port...]` of a cluster for tests; `deploy/kafka/kafka.sh start` prints it.
const BROKERS: &str = "MARGINSTREAM_TEST_KAFKA";

static NUM_CLUSTERS: AtomicU64 = AtomicU64::new(0);

/// A part of a cluster for one test: topics and groups whose names begin with a prefix.
pub(crate) struct KafkaCluster {
    pub(crate) brokers: String,
    prefix: String,
}

impl KafkaCluster {
    /// Returns nothing, and says so, where no cluster is named; with `CI` set that is a failure.
    pub(crate) fn from_env() -> Option<Self> {
        let Ok(brokers) = std::env::var(BROKERS) else {
            skip(&format!("{BROKERS} is not set, so the Kafka log is not tested"));
            return None;
        };
        let started = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let number = NUM_CLUSTERS.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("test-{started}-{}-{number}", std::process::id());
        Some(Self { brokers, prefix })
    }

    pub(crate) fn name(&self, name: &str) -> String {
        format!("{}-{name}", self.prefix)
    }

    /// Returns settings for one copy of each partition, on any number of brokers.
    pub(crate) fn config(&self, topics: Vec<TopicSpec>) -> KafkaLogConfig {
        config(&self.brokers, topics)
    }
}

/// Says that a test was passed over; with `CI` set that is a failure.
fn skip(reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "{reason}");
    // Not by a macro: the harness would keep the output of a test that passes to itself.
    std::io::stderr()
        .write_all(format!("SKIPPED: {reason}\n").as_bytes())
        .unwrap();
}

/// One such cluster runs at a time: together they would starve each other on a small machine.
static TURN: LazyLock<Arc<Mutex<()>>> = LazyLock::new(Arc::default);

/// Brokers that a test has for itself, to take them away.
pub(crate) struct OwnCluster {
    pub(crate) brokers: String,
    dir: tempfile::TempDir,
    _turn: OwnedMutexGuard<()>,
}

impl OwnCluster {
    /// Returns nothing, and says so, where Kafka is not installed.
    pub(crate) async fn start() -> Option<Self> {
        Self::start_nodes(1).await
    }

    pub(crate) async fn start_nodes(num_nodes: u32) -> Option<Self> {
        KafkaCluster::from_env()?;
        if !script().with_file_name("lib/installed-pom.xml").exists() {
            skip("Kafka is not installed (deploy/kafka/kafka.sh install), so no broker is taken away");
            return None;
        }
        let mut cluster = Self {
            brokers: String::new(),
            dir: tempfile::tempdir().unwrap(),
            _turn: Arc::clone(&TURN).lock_owned().await,
        };
        cluster.brokers = cluster.run(&["start", "--nodes", &num_nodes.to_string()]);
        Some(cluster)
    }

    /// Returns the directory of the cluster's settings and data.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns where Java finds Kafka's own tools.
    pub(crate) fn class_path() -> String {
        script().with_file_name("lib/*").display().to_string()
    }

    /// Runs a command of `kafka.sh` on this cluster, and returns what it prints.
    pub(crate) fn run(&self, command: &[&str]) -> String {
        let output = Command::new(script())
            .arg(command[0])
            .arg(self.dir.path())
            .args(&command[1..])
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "kafka.sh {command:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }
}

impl Drop for OwnCluster {
    fn drop(&mut self) {
        // A failure must not hide the test's result.
        let stopped = Command::new(script()).arg("stop").arg(self.dir.path()).status();
        assert!(std::thread::panicking() || stopped.is_ok_and(|status| status.success()));
    }
}

fn script() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/kafka/kafka.sh")
}

pub(crate) fn config(brokers: &str, topics: Vec<TopicSpec>) -> KafkaLogConfig {
    KafkaLogConfig {
        replication_factor: 1,
        min_insync_replicas: 1,
        // The least that brokers allow if nobody changed it.
        session_timeout: Duration::from_secs(6),
        metadata_refresh: Duration::from_millis(500),
        ..KafkaLogConfig::from_url(&format!("kafka://{brokers}"), topics).unwrap()
    }
}
