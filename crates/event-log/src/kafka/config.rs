//! The Kafka log's settings.

use std::collections::BTreeSet;
use std::time::Duration;

use super::properties;
use super::security::Security;
use crate::record::validate_name;
use crate::{LogError, TopicSpec};

/// What a batch adds to its records at most: its own header, lengths and the header count of a record.
const BATCH_OVERHEAD_BYTES: usize = 64 << 10;

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
    /// Whether a topic that keeps less than its [`TopicSpec`] says is refused; default true. One that keeps
    /// more is taken as it is.
    pub checks_retention: bool,
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
            checks_retention: true,
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
        match self
            .properties
            .iter()
            .find(|(name, _)| properties::is_reserved(name))
        {
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
    fn more_copies_cannot_be_in_sync_than_there_are() {
        let mut config = KafkaLogConfig::new(vec!["a:1".to_owned()], vec![]);
        config.validate().unwrap();
        config.min_insync_replicas = 4;
        assert!(config.validate().is_err());
        config.min_insync_replicas = 0;
        assert!(config.validate().is_err());
    }
}
