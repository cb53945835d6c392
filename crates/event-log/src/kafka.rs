//! The log in Apache Kafka, for any number of processes.
//!
//! A record is a Kafka record, its arrival time the broker's. An append is durable when all replicas in
//! sync have it (`acks=all`); how many that are, and that none else may lead, is checked at the start.
//! Offsets, groups and commits are Kafka's own, so other programs can read, write and watch the topics.
//!
//! What differs from the local log: retention does not wait for groups, so it must leave them time; and
//! partitions may be added by an operator while the log is open.

mod cluster;
mod config;
mod context;
mod error;
mod member;
mod message;
mod ownership;
mod producer;
mod properties;
mod reader;
mod security;
mod topics;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::record::validate_name;
use crate::{AppendRecord, EventLog, GroupMember, LogError, Position, TopicPartition};
use cluster::Cluster;
use error::blocking;
use member::KafkaMember;
use producer::Producer;

pub use config::{Compression, KafkaLogConfig, ParseCompressionError};
pub use security::{ClientCertificate, ParseSaslMechanismError, Sasl, SaslMechanism, Secret, Security, Tls};

/// How long a shutdown waits for members to leave their groups. Others get the partitions then, and else
/// only after the session timeout.
const MAX_LEAVE_WAIT: Duration = Duration::from_secs(10);

/// Bytes that a record counts beside its key, headers and value, as in the local log.
const RECORD_OVERHEAD_BYTES: usize = 38;

/// An event log in a Kafka cluster.
#[derive(Debug)]
pub struct KafkaLog {
    cluster: Arc<Cluster>,
    producer: Producer,
    life: Life,
    /// Each thread that polls a member listens to it until the member has left its group.
    polling: watch::Sender<()>,
}

/// Whether the log is open.
#[derive(Debug, Clone)]
struct Life {
    is_closed: Arc<watch::Sender<bool>>,
}

impl Life {
    fn check_open(&self) -> Result<(), LogError> {
        if *self.is_closed.borrow() {
            return Err(LogError::Closed);
        }
        Ok(())
    }

    /// Returns once the log is closed.
    async fn closed(&self) {
        // The sender lives as long as `self`.
        drop(self.is_closed.subscribe().wait_for(|is_closed| *is_closed).await);
    }
}

impl KafkaLog {
    /// Connects, makes missing topics and checks those that are there.
    ///
    /// # Errors
    /// [`LogError::Config`] for settings that cannot be used, and for topics that do not fit, with the
    /// command that mends them; [`LogError::Backend`] when the cluster cannot be reached or refuses.
    pub async fn open(config: KafkaLogConfig) -> Result<Self, LogError> {
        config.validate()?;
        let producer = Producer::new(&config)?;
        let cluster = Cluster::new(config)?;
        topics::ensure(&cluster).await?;
        let config = cluster.config();
        info!(
            brokers = config.brokers.join(","),
            num_topics = config.topics.len(),
            "kafka log open"
        );
        Ok(Self {
            cluster,
            producer,
            life: Life {
                is_closed: Arc::new(watch::Sender::new(false)),
            },
            polling: watch::Sender::new(()),
        })
    }

    /// Checks that each record has a place and fits, and returns the bytes of all.
    fn check_records(&self, topic: &str, records: &[AppendRecord]) -> Result<usize, LogError> {
        let num_partitions = self.cluster.num_partitions(topic)?;
        let max_bytes = self.cluster.config().max_record_bytes;
        let mut num_bytes = 0;
        for record in records {
            if record.partition >= num_partitions {
                return Err(LogError::UnknownPartition(TopicPartition::new(
                    topic,
                    record.partition,
                )));
            }
            let bytes = size(record);
            if bytes > max_bytes {
                let what = "record";
                return Err(LogError::TooLarge {
                    what,
                    bytes,
                    max_bytes,
                });
            }
            num_bytes += bytes;
        }
        Ok(num_bytes)
    }
}

/// Returns the bytes that a record counts against its limit.
fn size(record: &AppendRecord) -> usize {
    let headers = record.headers.iter();
    let header_bytes: usize = headers.map(|(name, value)| name.len() + value.len() + 10).sum();
    RECORD_OVERHEAD_BYTES + record.key.len() + header_bytes + record.value.len()
}

#[async_trait]
impl EventLog for KafkaLog {
    async fn append(&self, topic: &str, records: Vec<AppendRecord>) -> Result<Vec<u64>, LogError> {
        self.life.check_open()?;
        let num_bytes = self.check_records(topic, &records)?;
        if records.is_empty() {
            return Ok(Vec::new());
        }
        self.producer.append(topic, records, num_bytes).await
    }

    fn num_partitions(&self, topic: &str) -> Result<u32, LogError> {
        self.cluster.num_partitions(topic)
    }

    async fn join(&self, group: &str, topics: &[&str]) -> Result<Box<dyn GroupMember>, LogError> {
        self.life.check_open()?;
        validate_name("group", group)?;
        for topic in topics {
            self.cluster.num_partitions(topic)?;
        }
        let (cluster, life, polling) = (
            Arc::clone(&self.cluster),
            self.life.clone(),
            self.polling.subscribe(),
        );
        let (group, topics) = (
            group.to_owned(),
            topics.iter().map(|topic| (*topic).to_owned()).collect(),
        );
        let join = move || KafkaMember::join(cluster, life, polling, &group, topics);
        Ok(Box::new(blocking("join a group", join).await?))
    }

    async fn num_members(&self, group: &str) -> Result<usize, LogError> {
        self.life.check_open()?;
        validate_name("group", group)?;
        let (cluster, group) = (Arc::clone(&self.cluster), group.to_owned());
        blocking("count the members of a group", move || {
            cluster.num_members(&group)
        })
        .await
    }

    async fn position(&self, group: &str, topic_partition: &TopicPartition) -> Result<Position, LogError> {
        self.life.check_open()?;
        validate_name("group", group)?;
        self.cluster.check(topic_partition)?;
        let (cluster, group, id) = (
            Arc::clone(&self.cluster),
            group.to_owned(),
            topic_partition.clone(),
        );
        blocking("look up a position", move || {
            // The commit before the end: it can then not be beyond it.
            let committed = cluster.committed(&group, &id)?;
            let (earliest, end) = cluster.bounds(&id)?;
            Ok(Position {
                earliest,
                end,
                committed,
            })
        })
        .await
    }

    async fn shutdown(&self) -> Result<(), LogError> {
        if self.life.is_closed.send_replace(true) {
            return Ok(());
        }
        let flushed = self.producer.shutdown().await;
        if tokio::time::timeout(MAX_LEAVE_WAIT, self.polling.closed())
            .await
            .is_err()
        {
            warn!("members did not leave their groups in time");
        }
        flushed
    }
}
