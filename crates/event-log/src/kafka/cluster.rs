//! What is looked up in the cluster: partitions, their bounds, and the commits of groups.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tracing::{info, warn};

use super::config::KafkaLogConfig;
use super::context::LogContext;
use super::error::{backend, backend_code, unusable};
use crate::{Committed, LogError, TopicPartition};

/// How often clients are served that nobody else polls.
const SERVE_INTERVAL: Duration = Duration::from_millis(100);

/// Events of one client that are handled at once.
const MAX_EVENTS: usize = 64;

/// Looks things up. All calls but `num_partitions` and `has` block.
pub(super) struct Cluster {
    config: KafkaLogConfig,
    client: BaseConsumer<LogContext>,
    /// One client per group whose commits were asked for: the group is a property of a client.
    groups: Mutex<HashMap<String, Arc<BaseConsumer<LogContext>>>>,
    num_partitions: RwLock<BTreeMap<String, u32>>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("brokers", &self.config.brokers)
            .field("num_partitions", &self.num_partitions)
            .finish_non_exhaustive()
    }
}

impl Cluster {
    /// Makes a client and a thread that looks up the number of partitions from time to time.
    pub(super) fn new(config: KafkaLogConfig) -> Result<Arc<Self>, LogError> {
        let client = BaseConsumer::from_config_and_context(&config.reader(None), LogContext::default())
            .map_err(unusable)?;
        let cluster = Arc::new(Self {
            config,
            client,
            groups: Mutex::default(),
            num_partitions: RwLock::default(),
        });
        let weak = Arc::downgrade(&cluster);
        let serve = move || {
            let mut refreshed = Instant::now();
            while let Some(cluster) = weak.upgrade() {
                cluster.serve();
                if refreshed.elapsed() >= cluster.config.metadata_refresh {
                    cluster.refresh();
                    refreshed = Instant::now();
                }
                drop(cluster);
                thread::sleep(SERVE_INTERVAL);
            }
        };
        thread::Builder::new()
            .name("kafka-cluster".to_owned())
            .spawn(serve)
            .map_err(|error| LogError::Config(format!("cannot start a thread: {error}")))?;
        Ok(cluster)
    }

    pub(super) fn config(&self) -> &KafkaLogConfig {
        &self.config
    }

    /// Returns how many partitions `topic` had when it was last looked up.
    pub(super) fn num_partitions(&self, topic: &str) -> Result<u32, LogError> {
        let num_partitions = self.num_partitions.read().unwrap_or_else(PoisonError::into_inner);
        num_partitions
            .get(topic)
            .copied()
            .ok_or_else(|| LogError::UnknownTopic(topic.to_owned()))
    }

    /// Checks that the topic has this partition.
    pub(super) fn check(&self, id: &TopicPartition) -> Result<(), LogError> {
        if id.partition < self.num_partitions(&id.topic)? {
            return Ok(());
        }
        Err(LogError::UnknownPartition(id.clone()))
    }

    /// Notes that `topic` has `num_partitions` at least: partitions are added, never removed.
    pub(super) fn note_partitions(&self, topic: &str, num_partitions: u32) {
        let mut known = self
            .num_partitions
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let known = known.entry(topic.to_owned()).or_insert(num_partitions);
        if *known < num_partitions {
            info!(topic, num_partitions, "topic has more partitions");
            *known = num_partitions;
        }
    }

    /// Looks up the number of partitions of all topics.
    fn refresh(&self) {
        for topic in &self.config.topics {
            match self.replicas(&topic.name) {
                Ok(Some(replicas)) => self.note_partitions(&topic.name, replicas.len() as u32),
                Ok(None) => warn!(topic = topic.name, "topic is gone"),
                Err(error) => warn!(%error, topic = topic.name, "cannot look up the partitions of a topic"),
            }
        }
    }

    /// Returns how many copies each partition of `topic` has; nothing if there is no such topic.
    pub(super) fn replicas(&self, topic: &str) -> Result<Option<Vec<usize>>, LogError> {
        const WHAT: &str = "look up a topic";
        let metadata = self
            .client
            .fetch_metadata(Some(topic), self.config.request_timeout)
            .map_err(|error| {
                // Why brokers refuse comes as an event of its own.
                serve(&self.client);
                backend(WHAT)(self.client.context().take_refusal().unwrap_or(error))
            })?;
        let found = metadata.topics().iter().find(|found| found.name() == topic);
        match found.map(|found| (found, found.error())) {
            None | Some((_, Some(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART))) => Ok(None),
            Some((_, Some(error))) => Err(backend_code(WHAT, error.into())),
            Some((found, None)) => {
                let partitions = found.partitions().iter();
                Ok(Some(
                    partitions.map(|partition| partition.replicas().len()).collect(),
                ))
            }
        }
    }

    /// Returns how many members `group` has.
    pub(super) fn num_members(&self, group: &str) -> Result<usize, LogError> {
        let listed = self
            .client
            .fetch_group_list(Some(group), self.config.request_timeout)
            .map_err(backend("count the members of a group"))?;
        let groups = listed.groups().iter().filter(|found| found.name() == group);
        Ok(groups.map(|found| found.members().len()).sum())
    }

    /// Returns the earliest offset that is kept, and the end.
    pub(super) fn bounds(&self, id: &TopicPartition) -> Result<(u64, u64), LogError> {
        const WHAT: &str = "look up the bounds of a partition";
        let (topic, partition) = raw(id);
        let (earliest, end) = self
            .client
            .fetch_watermarks(topic, partition, self.config.request_timeout)
            .map_err(backend(WHAT))?;
        match (u64::try_from(earliest), u64::try_from(end)) {
            (Ok(earliest), Ok(end)) => Ok((earliest, end)),
            _ => Err(backend_code(WHAT, RDKafkaErrorCode::OffsetNotAvailable)),
        }
    }

    /// Checks that `offset` is between the earliest one and the end, and returns the end.
    pub(super) fn check_range(&self, id: &TopicPartition, offset: u64) -> Result<u64, LogError> {
        let (earliest, end) = self.bounds(id)?;
        if (earliest..=end).contains(&offset) {
            return Ok(end);
        }
        Err(LogError::OutOfRange {
            topic_partition: id.clone(),
            offset,
            earliest,
            end,
        })
    }

    /// Returns the last commit of any group.
    pub(super) fn committed(&self, group: &str, id: &TopicPartition) -> Result<Option<Committed>, LogError> {
        let client = self.group_client(group)?;
        committed(&client, id, self.config.request_timeout)
    }

    fn group_client(&self, group: &str) -> Result<Arc<BaseConsumer<LogContext>>, LogError> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = groups.get(group) {
            return Ok(Arc::clone(client));
        }
        let config = self.config.reader(Some(group));
        let client = Arc::new(
            BaseConsumer::from_config_and_context(&config, LogContext::default()).map_err(unusable)?,
        );
        groups.insert(group.to_owned(), Arc::clone(&client));
        Ok(client)
    }

    /// Writes the log lines that the clients hold back until they are polled.
    fn serve(&self) {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let groups: Vec<_> = groups.values().map(Arc::clone).collect();
        for client in groups.iter().map(Arc::as_ref).chain([&self.client]) {
            serve(client);
        }
    }
}

/// Handles the events of a client that came since the last time; one poll takes one.
fn serve(client: &BaseConsumer<LogContext>) {
    for _ in 0..MAX_EVENTS {
        // What is not handled by then are errors that the context has logged.
        drop(client.poll(Duration::ZERO));
    }
}

/// Returns the last commit of the group of `client`. Blocks.
pub(super) fn committed<C: ConsumerContext>(
    client: &BaseConsumer<C>,
    id: &TopicPartition,
    timeout: Duration,
) -> Result<Option<Committed>, LogError> {
    const WHAT: &str = "look up a commit";
    let (topic, partition) = raw(id);
    let mut wanted = TopicPartitionList::with_capacity(1);
    wanted.add_partition(topic, partition);
    let found = client.committed_offsets(wanted, timeout).map_err(backend(WHAT))?;
    let Some(found) = found.find_partition(topic, partition) else {
        return Ok(None);
    };
    found.error().map_err(backend(WHAT))?;
    let Offset::Offset(offset) = found.offset() else {
        return Ok(None);
    };
    let offset =
        u64::try_from(offset).map_err(|_| backend_code(WHAT, RDKafkaErrorCode::InvalidCommitOffsetSize))?;
    Ok(Some(Committed {
        offset,
        metadata: found.metadata().to_owned(),
    }))
}

/// Returns topic and partition as Kafka names them; its partitions are counted in `i32`.
pub(super) fn raw(id: &TopicPartition) -> (&str, i32) {
    (&id.topic, i32::try_from(id.partition).unwrap_or(i32::MAX))
}
