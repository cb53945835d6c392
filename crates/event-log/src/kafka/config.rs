//! The Kafka log's settings, and what they mean to librdkafka.

use std::collections::BTreeSet;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::config::RDKafkaLogLevel;

use super::security::Security;
use crate::record::validate_name;
use crate::{LogError, TopicSpec};

/// What a batch adds to its records at most: its own header, lengths and the header count of a record.
const BATCH_OVERHEAD_BYTES: usize = 64 << 10;

/// Properties that carry a guarantee or have a setting of their own. A prefix ends with a dot.
const RESERVED: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "auto.commit.enable",
    "auto.offset.reset",
    "bootstrap.servers",
    "builtin.features",
    "check.crcs",
    "compression.codec",
    "compression.type",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.partition.eof",
    "enable.ssl.certificate.verification",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "group.remote.assignor",
    "isolation.level",
    "log.queue",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "message.max.bytes",
    "message.send.max.retries",
    "message.timeout.ms",
    "metadata.broker.list",
    "partition.assignment.strategy",
    "plugin.library.paths",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queued.max.messages.kbytes",
    "request.required.acks",
    "retries",
    "sasl.",
    "security.protocol",
    "session.timeout.ms",
    "ssl.",
    "test.",
    "transactional.id",
];

/// Settings of a [`KafkaLog`](crate::KafkaLog).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KafkaLogConfig {
    /// The brokers to ask for the cluster, each `host:port`; one that answers is enough.
    pub brokers: Vec<String>,
    /// The topics; made where missing, else checked.
    pub topics: Vec<TopicSpec>,
    /// Copies of each partition that a topic must have at least, and gets when it is made; default 3.
    pub replication_factor: u16,
    /// Copies that must have a record before it is acknowledged (`min.insync.replicas`); default 2.
    pub min_insync_replicas: u16,
    /// How batches of records are compressed; default [`Compression::Lz4`].
    pub compression: Compression,
    /// TLS and authentication; default neither.
    pub security: Security,
    /// After how long without a sign of life a member's partitions go to others; default 15 s. Brokers
    /// refuse less than their `group.min.session.timeout.ms` (6 s unless changed).
    pub session_timeout: Duration,
    /// After how long an append that no broker acknowledged fails; default 15 s. An append that first
    /// waits for room may take twice as long.
    pub delivery_timeout: Duration,
    /// How long other requests may take; default 10 s.
    pub request_timeout: Duration,
    /// How often the number of partitions is looked up; default 30 s.
    pub metadata_refresh: Duration,
    /// How long an append may wait for others to share its request; default 1 ms.
    pub linger: Duration,
    /// Largest record with its key and headers, in bytes; default 16 MiB.
    pub max_record_bytes: usize,
    /// Bytes of appends that wait for their acknowledgement; more appenders wait. Default 64 MiB.
    pub max_queued_bytes: usize,
    /// Bytes that a member reads ahead in all its partitions (soft); default 64 MiB. It is divided by
    /// the number of partitions at the time of joining.
    pub max_prefetch_bytes: usize,
    /// Bytes that a member reads ahead in one partition (soft); default 32 MiB.
    pub max_partition_prefetch_bytes: usize,
    /// Further librdkafka properties, name and value; those that carry a guarantee are refused.
    pub properties: Vec<(String, String)>,
}

impl KafkaLogConfig {
    /// Returns the default settings for `topics` on `brokers`.
    #[must_use]
    pub fn new(brokers: Vec<String>, topics: Vec<TopicSpec>) -> Self {
        Self {
            brokers,
            topics,
            replication_factor: 3,
            min_insync_replicas: 2,
            compression: Compression::default(),
            security: Security::default(),
            session_timeout: Duration::from_secs(15),
            delivery_timeout: Duration::from_secs(15),
            request_timeout: Duration::from_secs(10),
            metadata_refresh: Duration::from_secs(30),
            linger: Duration::from_millis(1),
            max_record_bytes: 16 << 20,
            max_queued_bytes: 64 << 20,
            max_prefetch_bytes: 64 << 20,
            max_partition_prefetch_bytes: 32 << 20,
            properties: Vec::new(),
        }
    }

    /// Returns the default settings for `topics` on the brokers of `url`, which is like
    /// `kafka://host:9092,other:9092`; port 9092 may be left out.
    ///
    /// # Errors
    /// [`LogError::Config`] for another form. Users and passwords are settings of their own, and are
    /// refused here: URLs end up in log lines.
    pub fn from_url(url: &str, topics: Vec<TopicSpec>) -> Result<Self, LogError> {
        let form = || LogError::Config("the log's URL is not like kafka://host:9092,other:9092".to_owned());
        let hosts = url.strip_prefix("kafka://").ok_or_else(form)?;
        let hosts = hosts.strip_suffix('/').unwrap_or(hosts);
        if hosts.contains('@') {
            return Err(LogError::Config(
                "the log's URL holds a user: name user and password in settings of their own".to_owned(),
            ));
        }
        if hosts.contains(['/', '?', '#']) {
            return Err(form());
        }
        let brokers = hosts.split(',').map(|host| broker(host).ok_or_else(form));
        Ok(Self::new(brokers.collect::<Result<_, _>>()?, topics))
    }

    /// Checks names, counts and limits.
    ///
    /// # Errors
    /// [`LogError::Config`] naming the setting.
    pub(super) fn validate(&self) -> Result<(), LogError> {
        let refuse = |what: String| Err(LogError::Config(what));
        if self.brokers.is_empty() {
            return refuse("the log needs at least one broker".to_owned());
        }
        let mut names = BTreeSet::new();
        for topic in &self.topics {
            validate_name("topic", &topic.name)?;
            if !names.insert(&topic.name) || topic.partitions == 0 {
                return refuse(format!(
                    "topic {} is named twice, or without partitions",
                    topic.name
                ));
            }
        }
        if self.min_insync_replicas == 0 || self.min_insync_replicas > self.replication_factor {
            return refuse(format!(
                "min_insync_replicas {} is not 1 to the replication factor, {}",
                self.min_insync_replicas, self.replication_factor
            ));
        }
        let is_reserved = |name: &str| {
            RESERVED
                .iter()
                .any(|reserved| name == *reserved || (reserved.ends_with('.') && name.starts_with(reserved)))
        };
        match self.properties.iter().find(|(name, _)| is_reserved(name)) {
            Some((name, _)) => refuse(format!(
                "property {name} carries a guarantee of the log or has a setting of its own, and cannot be given"
            )),
            None => Ok(()),
        }
    }

    /// Returns the largest batch that a topic must take, in bytes.
    pub(super) fn max_batch_bytes(&self) -> usize {
        self.max_record_bytes + BATCH_OVERHEAD_BYTES
    }

    /// Returns what every client of the cluster needs.
    pub(super) fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set_log_level(RDKafkaLogLevel::Notice)
            .set("client.id", "marginstream")
            .set("reconnect.backoff.ms", "50")
            .set("reconnect.backoff.max.ms", "1000")
            .set("socket.nagle.disable", "true")
            .set("socket.timeout.ms", millis(self.request_timeout))
            .set(
                "topic.metadata.refresh.interval.ms",
                millis(self.metadata_refresh),
            )
            .set("metadata.max.age.ms", millis(3 * self.metadata_refresh));
        for (name, value) in &self.properties {
            client.set(name, value);
        }
        client.set("bootstrap.servers", self.brokers.join(","));
        self.security.apply(&mut client);
        client
    }

    /// Returns what the producer needs.
    pub(super) fn producer(&self) -> ClientConfig {
        let mut client = self.client();
        // The queue is bounded before it, in bytes that cover the overhead of small records too.
        let max_queued_kib = 2 * (self.max_queued_bytes.max(self.max_batch_bytes()) >> 10);
        client
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("compression.type", self.compression.as_str())
            .set("linger.ms", millis(self.linger))
            .set("message.max.bytes", self.max_batch_bytes().to_string())
            .set("message.timeout.ms", millis(self.delivery_timeout))
            .set(
                "request.timeout.ms",
                millis(self.delivery_timeout.min(self.request_timeout)),
            )
            .set("queue.buffering.max.messages", "0")
            .set("queue.buffering.max.kbytes", max_queued_kib.to_string());
        client
    }

    /// Returns what a client needs that looks up metadata, offsets, and the commits of `group`.
    pub(super) fn reader(&self, group: Option<&str>) -> ClientConfig {
        let mut client = self.client();
        client
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("allow.auto.create.topics", "false")
            .set("isolation.level", "read_committed");
        if let Some(group) = group {
            client.set("group.id", group);
        }
        client
    }

    /// Returns what a member of `group` needs that may come to own all of `num_partitions`.
    pub(super) fn member(&self, group: &str, num_partitions: u32) -> ClientConfig {
        let share = self.max_prefetch_bytes / (num_partitions.max(1) as usize);
        let prefetch_bytes = share.min(self.max_partition_prefetch_bytes).max(256 << 10);
        let mut client = self.reader(Some(group));
        client
            .set("partition.assignment.strategy", "cooperative-sticky")
            .set("session.timeout.ms", millis(self.session_timeout))
            .set(
                "heartbeat.interval.ms",
                millis((self.session_timeout / 5).min(Duration::from_secs(3))),
            )
            // Where a position is not in the log any more the reader sees it by the offset that comes.
            .set("auto.offset.reset", "earliest")
            .set("check.crcs", "true")
            // The queue of each partition is its own, so this bounds each of them.
            .set("queued.max.messages.kbytes", (prefetch_bytes >> 10).to_string())
            .set(
                "max.partition.fetch.bytes",
                prefetch_bytes.min(4 << 20).to_string(),
            )
            .set(
                "fetch.max.bytes",
                (50 << 20).max(self.max_batch_bytes()).to_string(),
            )
            .set(
                "receive.message.max.bytes",
                (100 << 20).max(2 * self.max_batch_bytes()).to_string(),
            )
            .set("fetch.queue.backoff.ms", "20")
            .set("fetch.error.backoff.ms", "100");
        client
    }
}

/// Returns `host` with its port, or nothing if it is no host.
fn broker(host: &str) -> Option<String> {
    let is_host = |name: &str| !name.is_empty() && !name.contains(char::is_whitespace);
    match host.rsplit_once(':') {
        // The colons of an IPv6 address stand in brackets.
        Some((name, port)) if !port.ends_with(']') => {
            (is_host(name) && port.parse::<u16>().is_ok_and(|port| port > 0)).then(|| host.to_owned())
        }
        _ => is_host(host).then(|| format!("{host}:9092")),
    }
}

fn millis(time: Duration) -> String {
    time.as_millis().max(1).to_string()
}

/// How batches are compressed on their way and in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Compression {
    /// Not at all.
    None,
    /// Least processor time.
    #[default]
    Lz4,
    /// Smallest.
    Zstd,
}

impl Compression {
    /// Returns the name: `none`, `lz4` or `zstd`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// A compression that is none of `none`, `lz4` and `zstd`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("compression {0:?} is none of `none`, `lz4` and `zstd`")]
pub struct ParseCompressionError(String);

impl std::str::FromStr for Compression {
    type Err = ParseCompressionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::None, Self::Lz4, Self::Zstd]
            .into_iter()
            .find(|compression| compression.as_str() == text)
            .ok_or_else(|| ParseCompressionError(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_come_from_the_url() {
        let brokers = |url: &str| KafkaLogConfig::from_url(url, vec![]).map(|config| config.brokers);
        assert_eq!(
            brokers("kafka://a:1,b,[::1]:3,[::1]/").unwrap(),
            ["a:1", "b:9092", "[::1]:3", "[::1]:9092"]
        );
        for url in [
            "kafka://",
            "kafka://a:",
            "kafka://a:x",
            "kafka://a:0",
            "kafka://a,,b",
            "kafka://a/b",
            "kafka://a?x=1",
            "a:9092",
            "http://a",
            "kafka://:9092",
            "kafka://a b",
        ] {
            assert!(brokers(url).is_err(), "{url}");
        }
        let error = brokers("kafka://user:hunter2@a").unwrap_err().to_string();
        assert!(
            error.contains("user and password") && !error.contains("hunter2"),
            "{error}"
        );
    }

    #[test]
    fn properties_that_carry_a_guarantee_are_refused() {
        let with = |name: &str| KafkaLogConfig {
            properties: vec![(name.to_owned(), "1".to_owned())],
            ..KafkaLogConfig::new(vec!["a:1".to_owned()], vec![])
        };
        for name in [
            "acks",
            "enable.idempotence",
            "enable.auto.commit",
            "sasl.password",
            "ssl.ca.location",
        ] {
            let error = with(name).validate().unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
        with("socket.keepalive.enable").validate().unwrap();
    }

    #[test]
    fn read_ahead_is_shared_by_the_partitions() {
        let config = KafkaLogConfig::new(vec!["a:1".to_owned()], vec![]);
        for (num_partitions, kib) in [(1, "32768"), (4, "16384"), (64, "1024"), (100_000, "256")] {
            let member = config.member("g", num_partitions);
            assert_eq!(member.get("queued.max.messages.kbytes"), Some(kib));
        }
    }

    #[test]
    fn more_copies_cannot_be_in_sync_than_there_are() {
        let mut config = KafkaLogConfig::new(vec!["a:1".to_owned()], vec![]);
        config.validate().unwrap();
        config.min_insync_replicas = 4;
        assert!(config.validate().is_err());
        config.min_insync_replicas = 0;
        assert!(config.validate().is_err());
    }
}
