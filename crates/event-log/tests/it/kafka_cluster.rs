//! The Kafka that the environment names, and names of its own for each test.

use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use marginstream_event_log::{KafkaLogConfig, TopicSpec};

/// `host:port[,host:port...]` of a cluster for tests; `deploy/kafka/kafka.sh start` prints it.
const BROKERS: &str = "MARGINSTREAM_TEST_KAFKA";

static NUM_CLUSTERS: AtomicU64 = AtomicU64::new(0);

/// A part of a cluster for one test: topics and groups whose names begin with a prefix.
pub(crate) struct KafkaCluster {
    brokers: String,
    prefix: String,
}

impl KafkaCluster {
    /// Returns nothing, and says so, where no cluster is named; with `CI` set that is a failure.
    pub(crate) fn from_env() -> Option<Self> {
        let Ok(brokers) = std::env::var(BROKERS) else {
            assert!(std::env::var_os("CI").is_none(), "{BROKERS} is not set");
            // Not by a macro: the harness would keep the output of a test that passes to itself.
            let skipped = format!("SKIPPED: {BROKERS} is not set, so the Kafka log is not tested\n");
            std::io::stderr().write_all(skipped.as_bytes()).unwrap();
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
