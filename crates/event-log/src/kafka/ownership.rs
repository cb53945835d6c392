//! Which partitions a member owns, and the fence around its commits.
//!
//! The coordinator checks a commit's group generation and member id, not who owns the partition, and the
//! client joins again by itself after it lost its place. So a commit must never be sent for a partition
//! that was owned in an earlier life. Ownership is taken away under the write lock, in the callback that
//! the client waits for before it gives the partition back or joins again; a commit holds the read lock
//! from the check of its epoch to the coordinator's answer. It then goes out either under the generation in
//! which the partition was owned, and is refused if that one is over, or not at all.
//!
//! The callback cannot dead-lock: the client answers commits from threads of its own, in bounded time, and
//! nothing that holds the lock waits for the thread that runs the callback.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, RebalanceProtocol};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::watch;
use tracing::{error, info};

use super::cluster::{Cluster, raw};
use super::context::{log_error, log_line};
use super::error::backend;
use super::reader::{PartitionReader, Slot};
use crate::{LogError, TopicPartition};

/// How long a commit waits for a rebalance to end before it is answered as retryable.
const MAX_REBALANCE_WAIT: Duration = Duration::from_secs(5);

/// Pause between two tries of a commit while the group rebalances.
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

pub(super) type MemberClient = BaseConsumer<Ownership>;

/// What the client's callbacks change and the member reads.
pub(super) struct Ownership {
    group: String,
    cluster: Arc<Cluster>,
    client: OnceLock<Weak<MemberClient>>,
    /// The fence: partitions and the epochs of their ownership.
    owned: RwLock<Owned>,
    assignment: watch::Sender<BTreeMap<TopicPartition, u64>>,
    readers: Mutex<HashMap<TopicPartition, Arc<PartitionReader>>>,
    /// The queue of each partition ever owned; the client keeps it over revocations too.
    slots: Mutex<HashMap<TopicPartition, Arc<Slot>>>,
}

#[derive(Default)]
struct Owned {
    epochs: BTreeMap<TopicPartition, u64>,
    last_epoch: u64,
}

impl fmt::Debug for Ownership {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ownership")
            .field("group", &self.group)
            .field("assignment", &*self.assignment.borrow())
            .finish_non_exhaustive()
    }
}

impl Ownership {
    pub(super) fn new(group: &str, cluster: Arc<Cluster>) -> Self {
        Self {
            group: group.to_owned(),
            cluster,
            client: OnceLock::new(),
            owned: RwLock::default(),
            assignment: watch::Sender::new(BTreeMap::new()),
            readers: Mutex::default(),
            slots: Mutex::default(),
        }
    }

    /// Names the client that the callbacks belong to; before it is polled for the first time.
    pub(super) fn set_client(&self, client: &Arc<MemberClient>) {
        // Set once: the client is made once.
        drop(self.client.set(Arc::downgrade(client)));
    }

    pub(super) fn assignment(&self) -> watch::Receiver<BTreeMap<TopicPartition, u64>> {
        self.assignment.subscribe()
    }

    /// Returns the reader of a partition that is owned now.
    pub(super) fn reader(&self, id: &TopicPartition) -> Result<Arc<PartitionReader>, LogError> {
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        readers.get(id).map(Arc::clone).ok_or_else(|| self.fenced(id))
    }

    pub(super) fn fenced(&self, id: &TopicPartition) -> LogError {
        LogError::Fenced {
            group: self.group.clone(),
            topic_partition: id.clone(),
        }
    }

    /// Commits for a partition that is owned under `epoch`. Blocks.
    ///
    /// While the group rebalances the coordinator refuses, or the generation that the client knows is
    /// over, although the partition stays here: the commit is then tried again as long as it does.
    pub(super) fn commit(
        &self,
        client: &MemberClient,
        id: &TopicPartition,
        epoch: u64,
        commit: (u64, &str),
    ) -> Result<(), LogError> {
        const WHAT: &str = "commit an offset";
        let list = commit_list(id, commit).map_err(backend(WHAT))?;
        let deadline = Instant::now() + MAX_REBALANCE_WAIT;
        loop {
            let outcome = self.try_commit(client, id, epoch, &list)?;
            let Err(error) = outcome else { return Ok(()) };
            let late = Instant::now() > deadline;
            match error.rdkafka_error_code() {
                Some(RDKafkaErrorCode::FencedInstanceId | RDKafkaErrorCode::AssignmentLost) => {
                    return Err(self.fenced(id));
                }
                Some(RDKafkaErrorCode::IllegalGeneration | RDKafkaErrorCode::UnknownMemberId) if late => {
                    return Err(self.fenced(id));
                }
                Some(
                    RDKafkaErrorCode::IllegalGeneration
                    | RDKafkaErrorCode::UnknownMemberId
                    | RDKafkaErrorCode::RebalanceInProgress,
                ) if !late => thread::sleep(RETRY_INTERVAL),
                _ => return Err(backend(WHAT)(error)),
            }
        }
    }

    /// Sends a commit behind the fence, and returns the coordinator's answer.
    fn try_commit(
        &self,
        client: &MemberClient,
        id: &TopicPartition,
        epoch: u64,
        list: &TopicPartitionList,
    ) -> Result<KafkaResult<()>, LogError> {
        let owned = self.owned.read().unwrap_or_else(PoisonError::into_inner);
        if owned.epochs.get(id) != Some(&epoch) || client.assignment_lost() {
            return Err(self.fenced(id));
        }
        let outcome = client.commit(list, CommitMode::Sync);
        // The client forgets its generation when it loses its place, and a commit without one is taken by
        // a group that has become empty. Whatever was answered is then not to be built on.
        if client.assignment_lost() {
            return Err(self.fenced(id));
        }
        drop(owned);
        Ok(outcome)
    }

    /// Makes readers of what is about to be assigned. The queues must be split off before records come.
    fn prepare(&self, ids: &[TopicPartition]) {
        let Some(client) = self.client.get().and_then(Weak::upgrade) else {
            return;
        };
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            if !slots.contains_key(id)
                && let Some(slot) = Slot::split(&client, id)
            {
                slots.insert(id.clone(), Arc::new(slot));
            }
        }
    }

    /// Gives each partition an epoch of its own, and tells the member.
    fn take_over(&self, ids: &[TopicPartition]) {
        let mut owned = self.owned.write().unwrap_or_else(PoisonError::into_inner);
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            let Some(slot) = slots.get(id) else {
                error!(topic_partition = %id, "no queue for an assigned partition");
                continue;
            };
            owned.last_epoch += 1;
            let epoch = owned.last_epoch;
            owned.epochs.insert(id.clone(), epoch);
            let reader = PartitionReader::new(id.clone(), epoch, Arc::clone(slot), Arc::clone(&self.cluster));
            readers.insert(id.clone(), Arc::new(reader));
            self.cluster.note_partitions(&id.topic, id.partition + 1);
            info!(topic_partition = %id, epoch, group = self.group, "partition assigned");
        }
        self.assignment.send_replace(owned.epochs.clone());
    }

    /// Ends reads and then commits of these partitions; waits for a commit that is on its way.
    fn give_up(&self, ids: &[TopicPartition]) {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            if let Some(reader) = readers.remove(id) {
                reader.end();
            }
        }
        drop(readers);
        let mut owned = self.owned.write().unwrap_or_else(PoisonError::into_inner);
        for id in ids {
            if owned.epochs.remove(id).is_some() {
                info!(topic_partition = %id, group = self.group, "partition revoked");
            }
        }
        self.assignment.send_replace(owned.epochs.clone());
    }

    /// Gives all up and lets the queues go, which hold the client.
    pub(super) fn close(&self) {
        let ids: Vec<_> = self.assignment.borrow().keys().cloned().collect();
        self.give_up(&ids);
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// Returns what a commit sends.
fn commit_list(id: &TopicPartition, (offset, metadata): (u64, &str)) -> KafkaResult<TopicPartitionList> {
    let (topic, partition) = raw(id);
    let mut list = TopicPartitionList::with_capacity(1);
    let offset = i64::try_from(offset).map_or(Offset::Invalid, Offset::Offset);
    let mut element = list.add_partition(topic, partition);
    element.set_offset(offset)?;
    element.set_metadata(metadata);
    Ok(list)
}

impl ClientContext for Ownership {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ConsumerContext for Ownership {
    fn rebalance(&self, client: &MemberClient, code: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let elements = list.elements();
        let named = elements.iter().filter_map(|element| {
            let partition = u32::try_from(element.partition()).ok()?;
            Some(TopicPartition::new(element.topic(), partition))
        });
        let ids: Vec<_> = named.collect();
        let is_cooperative = matches!(client.rebalance_protocol(), RebalanceProtocol::Cooperative);
        let is_assigned = code == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
        if is_assigned {
            self.prepare(&ids);
        } else {
            self.give_up(&ids);
        }
        let outcome = match (is_assigned, is_cooperative) {
            (true, true) => client.incremental_assign(list),
            (true, false) => client.assign(list),
            (false, true) => client.incremental_unassign(list),
            (false, false) => client.unassign(),
        };
        match outcome {
            Ok(()) if is_assigned => self.take_over(&ids),
            Ok(()) => {}
            Err(error) => error!(%error, group = self.group, "cannot follow a rebalance"),
        }
    }
}
