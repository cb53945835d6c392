//! A member of a consumer group.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use async_trait::async_trait;
use rdkafka::config::FromClientConfigAndContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use tokio::sync::watch;
use tokio::time::Instant;

use super::Life;
use super::cluster::{Cluster, committed};
use super::error::{backend, blocking, unusable};
use super::ownership::{MemberClient, Ownership};
use crate::{Committed, GroupMember, LogError, LogRecord, TopicPartition};

/// How long the polling thread may take to see that it shall stop.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How often a read that waits looks for records that nobody told it of.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Stands for a wait without end, where a longer one would overflow the clock.
const MAX_WAIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// Largest commit metadata: the broker's `offset.metadata.max.bytes` is 4096 unless changed.
const MAX_METADATA_BYTES: usize = 1024;

/// A member. Dropping it leaves the group, from the thread that polls the client.
pub(super) struct KafkaMember {
    client: Arc<MemberClient>,
    topics: Vec<String>,
    cluster: Arc<Cluster>,
    life: Life,
    left: Arc<AtomicBool>,
}

impl fmt::Debug for KafkaMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KafkaMember")
            .field("ownership", self.client.context())
            .field("topics", &self.topics)
            .finish_non_exhaustive()
    }
}

impl KafkaMember {
    /// Joins `group`; partitions are assigned later. Blocks.
    pub(super) fn join(
        cluster: Arc<Cluster>,
        life: Life,
        polling: watch::Receiver<()>,
        group: &str,
        topics: Vec<String>,
    ) -> Result<Self, LogError> {
        let num_partitions = topics.iter().map(|topic| cluster.num_partitions(topic));
        let num_partitions = num_partitions.sum::<Result<u32, _>>()?;
        let config = cluster.config().member(group, num_partitions);
        let ownership = Ownership::new(group, Arc::clone(&cluster));
        let client = BaseConsumer::from_config_and_context(&config, ownership).map_err(unusable)?;
        let client = Arc::new(client);
        client.context().set_client(&client);
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        client.subscribe(&names).map_err(backend("join a group"))?;
        let left = Arc::new(AtomicBool::new(false));
        let polled = (Arc::clone(&client), Arc::clone(&left), life.clone());
        let serve = move || {
            let (client, left, life) = polled;
            poll(&client, &left, &life);
            drop(client);
            drop(polling);
        };
        thread::Builder::new()
            .name("kafka-member".to_owned())
            .spawn(serve)
            .map_err(|error| LogError::Config(format!("cannot start a thread: {error}")))?;
        Ok(Self {
            client,
            topics,
            cluster,
            life,
            left,
        })
    }

    fn ownership(&self) -> &Arc<Ownership> {
        self.client.context()
    }

    /// Checks that the log is open and the partition belongs to a topic that was joined.
    fn check(&self, id: &TopicPartition) -> Result<(), LogError> {
        self.life.check_open()?;
        self.cluster.check(id)?;
        if self.topics.iter().any(|topic| *topic == *id.topic) {
            return Ok(());
        }
        Err(LogError::UnknownPartition(id.clone()))
    }
}

/// Serves the client until the member is dropped or the log is closed, then leaves the group.
fn poll(client: &Arc<MemberClient>, left: &AtomicBool, life: &Life) {
    // Records come from queues of their own, and errors were logged by the context.
    while !left.load(Ordering::Relaxed) && life.check_open().is_ok() {
        drop(client.poll(POLL_INTERVAL));
    }
    if client.close_queue().is_ok() {
        while !client.closed() {
            drop(client.poll(POLL_INTERVAL));
        }
    }
    client.context().close();
}

impl Drop for KafkaMember {
    fn drop(&mut self) {
        self.left.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl GroupMember for KafkaMember {
    fn assignment(&self) -> watch::Receiver<BTreeMap<TopicPartition, u64>> {
        self.ownership().assignment()
    }

    async fn read(
        &self,
        topic_partition: &TopicPartition,
        from: u64,
        max_bytes: usize,
        wait: Duration,
    ) -> Result<Vec<LogRecord>, LogError> {
        let deadline = Instant::now() + wait.min(MAX_WAIT);
        self.check(topic_partition)?;
        let reader = self.ownership().reader(topic_partition)?;
        loop {
            let records = tokio::select! {
                read = reader.read_now(from, max_bytes) => read?,
                () = reader.ended() => return Err(self.ownership().fenced(topic_partition)),
                () = self.life.closed() => return Err(LogError::Closed),
            };
            if !records.is_empty() {
                return Ok(records);
            }
            if Instant::now() >= deadline {
                return Ok(Vec::new());
            }
            // The client tells of records once, when its queue was empty; a second look costs little.
            let look_again = deadline.min(Instant::now() + LOOK_INTERVAL);
            tokio::select! {
                () = reader.arrived() => {}
                () = reader.ended() => return Err(self.ownership().fenced(topic_partition)),
                () = self.life.closed() => return Err(LogError::Closed),
                () = tokio::time::sleep_until(look_again) => {}
            }
        }
    }

    fn empty_reads_prove_gaps(&self) -> bool {
        false
    }

    async fn commit(
        &self,
        topic_partition: &TopicPartition,
        epoch: u64,
        offset: u64,
        metadata: &str,
    ) -> Result<(), LogError> {
        self.check(topic_partition)?;
        if metadata.len() > MAX_METADATA_BYTES {
            return Err(LogError::TooLarge {
                what: "commit metadata",
                bytes: metadata.len(),
                max_bytes: MAX_METADATA_BYTES,
            });
        }
        let reader = self.ownership().reader(topic_partition)?;
        let (client, id, metadata) = (
            Arc::clone(&self.client),
            topic_partition.clone(),
            metadata.to_owned(),
        );
        blocking("commit an offset", move || {
            reader.check_not_above_end(offset)?;
            client.context().commit(&client, &id, epoch, (offset, &metadata))
        })
        .await
    }

    async fn committed(&self, topic_partition: &TopicPartition) -> Result<Option<Committed>, LogError> {
        self.check(topic_partition)?;
        let (client, id) = (Arc::clone(&self.client), topic_partition.clone());
        let timeout = self.cluster.config().request_timeout;
        blocking("look up a commit", move || committed(&client, &id, timeout)).await
    }
}

#[cfg(test)]
mod tests {
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr as Refusal};

    use super::super::KafkaLogConfig;
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    struct Group {
        mock: MockCluster<'static, DefaultProducerContext>,
        member: KafkaMember,
        id: TopicPartition,
        _polling: watch::Sender<()>,
    }

    impl Group {
        async fn join() -> Self {
            let mock = MockCluster::new(1).unwrap();
            mock.create_topic("t", 1, 1).unwrap();
            let brokers = mock.bootstrap_servers().split(',').map(str::to_owned).collect();
            let config = KafkaLogConfig {
                // The mock waits 3 s for others to join before it assigns anything.
                session_timeout: Duration::from_secs(6),
                ..KafkaLogConfig::new(brokers, vec![])
            };
            let cluster = Cluster::new(config).unwrap();
            cluster.note_partitions("t", 1);
            let life = Life {
                is_closed: Arc::new(watch::Sender::new(false)),
            };
            let polling = watch::Sender::new(());
            let listening = polling.subscribe();
            let join = move || KafkaMember::join(cluster, life, listening, "g", vec!["t".to_owned()]);
            let member = blocking("join", join).await.unwrap();
            Self {
                mock,
                member,
                id: TopicPartition::new("t", 0),
                _polling: polling,
            }
        }

        async fn epoch_above(&self, last: u64) -> u64 {
            let mut assignment = self.member.assignment();
            let owns = |owned: &BTreeMap<_, _>| owned.get(&self.id).is_some_and(|epoch| *epoch > last);
            let owned = tokio::time::timeout(LONG, assignment.wait_for(owns))
                .await
                .unwrap()
                .unwrap();
            owned[&self.id]
        }

        fn refuse_commits(&self, refusals: &[Refusal]) {
            self.mock.request_errors(RDKafkaApiKey::OffsetCommit, refusals);
        }
    }

    #[tokio::test]
    async fn a_commit_outlasts_a_rebalance_that_leaves_the_partition_here() {
        let group = Group::join().await;
        let epoch = group.epoch_above(0).await;
        group.refuse_commits(&[Refusal::RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS; 3]);
        group.member.commit(&group.id, epoch, 0, "kept").await.unwrap();
        assert_eq!(
            group.member.committed(&group.id).await.unwrap().unwrap().metadata,
            "kept"
        );
    }

    #[tokio::test]
    async fn a_member_that_the_coordinator_forgot_is_fenced_until_it_owns_again() {
        for refusal in [
            Refusal::RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID,
            Refusal::RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION,
        ] {
            let group = Group::join().await;
            let epoch = group.epoch_above(0).await;
            group.refuse_commits(&[refusal]);
            let refused = group
                .member
                .commit(&group.id, epoch, 0, "stale")
                .await
                .unwrap_err();
            assert!(matches!(refused, LogError::Fenced { .. }), "{refused:?}");
            let again = group.epoch_above(epoch).await;
            let refused = group
                .member
                .commit(&group.id, epoch, 0, "stale")
                .await
                .unwrap_err();
            assert!(matches!(refused, LogError::Fenced { .. }), "{refused:?}");
            assert_eq!(group.member.committed(&group.id).await.unwrap(), None);
            group.member.commit(&group.id, again, 0, "own").await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_refusal_for_good_is_not_retryable() {
        let group = Group::join().await;
        let epoch = group.epoch_above(0).await;
        group.refuse_commits(&[Refusal::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED]);
        let refused = group.member.commit(&group.id, epoch, 0, "").await.unwrap_err();
        assert!(
            matches!(refused, LogError::Backend { retryable: false, .. }),
            "{refused:?}"
        );
    }

    #[tokio::test]
    async fn metadata_over_its_limit_is_refused() {
        let group = Group::join().await;
        let epoch = group.epoch_above(0).await;
        let metadata = "x".repeat(MAX_METADATA_BYTES);
        group.member.commit(&group.id, epoch, 0, &metadata).await.unwrap();
        let refused = group
            .member
            .commit(&group.id, epoch, 0, &format!("{metadata}x"))
            .await;
        assert!(matches!(refused, Err(LogError::TooLarge { .. })), "{refused:?}");
    }
}
