//! Reads of one partition, from the queue that the client fills ahead.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rdkafka::consumer::Consumer;
use rdkafka::consumer::base_consumer::PartitionQueue;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::{Mutex, Notify, watch};

use super::cluster::{Cluster, raw};
use super::error::{backend, backend_code, blocking};
use super::message::log_record;
use super::ownership::{MemberClient, Ownership};
use crate::{LogError, LogRecord, TopicPartition};

/// Pause between two tries of a seek: a partition that was just assigned cannot be sought at once.
const SEEK_INTERVAL: Duration = Duration::from_millis(10);

const READ: &str = "read records";

/// The queue of one partition. It outlives assignments: the client has one per partition, and a second
/// handle would silence the first when it is dropped.
pub(super) struct Slot {
    queue: Arc<Mutex<Queue>>,
    /// Set when the queue was empty and is not any more.
    arrived: Arc<Notify>,
}

struct Queue {
    queue: PartitionQueue<Ownership>,
    client: std::sync::Weak<MemberClient>,
    /// The epoch that what follows belongs to.
    epoch: u64,
    /// The offset that comes next; nothing before the first seek and after an error.
    next: Option<u64>,
    /// The record that was too much for the last read.
    held: Option<LogRecord>,
    /// The offset at which a gap was seen and sought again.
    sought_again: Option<u64>,
}

impl Slot {
    /// Splits the queue of a partition off the client's.
    pub(super) fn split(client: &Arc<MemberClient>, id: &TopicPartition) -> Option<Self> {
        let (topic, partition) = raw(id);
        let mut queue = client.split_partition_queue(topic, partition)?;
        let arrived = Arc::new(Notify::new());
        let notify = Arc::clone(&arrived);
        queue.set_nonempty_callback(move || notify.notify_one());
        Some(Self {
            queue: Arc::new(Mutex::new(Queue {
                queue,
                client: Arc::downgrade(client),
                epoch: 0,
                next: None,
                held: None,
                sought_again: None,
            })),
            arrived,
        })
    }
}

/// Reads a partition during one ownership.
pub(super) struct PartitionReader {
    id: TopicPartition,
    epoch: u64,
    slot: Arc<Slot>,
    cluster: Arc<Cluster>,
    ended: watch::Sender<bool>,
    /// An offset that is not above the partition's end.
    known_end: AtomicU64,
}

impl fmt::Debug for PartitionReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionReader")
            .field("id", &self.id)
            .field("epoch", &self.epoch)
            .finish_non_exhaustive()
    }
}

impl PartitionReader {
    pub(super) fn new(id: TopicPartition, epoch: u64, slot: Arc<Slot>, cluster: Arc<Cluster>) -> Self {
        Self {
            id,
            epoch,
            slot,
            cluster,
            ended: watch::Sender::new(false),
            known_end: AtomicU64::new(0),
        }
    }

    /// Ends reads that wait, and all later ones.
    pub(super) fn end(&self) {
        self.ended.send_replace(true);
    }

    /// Returns once the ownership has ended.
    pub(super) async fn ended(&self) {
        // The sender lives as long as `self`.
        drop(self.ended.subscribe().wait_for(|is_ended| *is_ended).await);
    }

    pub(super) fn has_ended(&self) -> bool {
        *self.ended.borrow()
    }

    /// Checks that `offset` is not above the end, asking the cluster only where it is not known. Blocks.
    pub(super) fn check_not_above_end(&self, offset: u64) -> Result<(), LogError> {
        if offset <= self.known_end.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (earliest, end) = self.cluster.bounds(&self.id)?;
        self.known_end.fetch_max(end, Ordering::Relaxed);
        if offset <= end {
            return Ok(());
        }
        Err(LogError::OutOfRange {
            topic_partition: self.id.clone(),
            offset,
            earliest,
            end,
        })
    }

    /// Returns what is there now from `from` on; nothing if nothing is, or the ownership has ended.
    pub(super) async fn read_now(
        self: &Arc<Self>,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<LogRecord>, LogError> {
        let mut queue = Arc::clone(&self.slot.queue).lock_owned().await;
        let reader = Arc::clone(self);
        blocking(READ, move || queue.read(&reader, from, max_bytes)).await
    }

    /// Returns once records may have come since the last read that returned none.
    pub(super) async fn arrived(&self) {
        self.slot.arrived.notified().await;
    }
}

impl Queue {
    fn read(
        &mut self,
        reader: &PartitionReader,
        from: u64,
        max_bytes: usize,
    ) -> Result<Vec<LogRecord>, LogError> {
        if self.epoch != reader.epoch {
            self.epoch = reader.epoch;
            self.next = None;
        }
        if self.next != Some(from) {
            let end = reader.cluster.check_range(&reader.id, from)?;
            reader.known_end.fetch_max(end, Ordering::Relaxed);
            self.seek(reader, from)?;
        }
        let mut records = Vec::new();
        let mut num_bytes = 0;
        while let Some(record) = self.poll(reader, !records.is_empty())? {
            num_bytes += record.key.len() + record.value.len();
            if num_bytes > max_bytes && !records.is_empty() {
                self.held = Some(record);
                break;
            }
            self.next = Some(record.offset + 1);
            self.sought_again = None;
            records.push(record);
        }
        if let Some(last) = records.last() {
            reader.known_end.fetch_max(last.offset + 1, Ordering::Relaxed);
        }
        Ok(records)
    }

    /// Returns the record that comes next, if it is there. What is wrong with it is left to the next read
    /// if this one has records.
    fn poll(&mut self, reader: &PartitionReader, has_records: bool) -> Result<Option<LogRecord>, LogError> {
        if let Some(held) = self.held.take() {
            return Ok(Some(held));
        }
        let Some(expected) = self.next else {
            return Ok(None);
        };
        let record = match self.queue.poll(Duration::ZERO) {
            None => return Ok(None),
            Some(Ok(message)) => log_record(&message),
            Some(Err(error)) => {
                // The client may go on behind what it could not read.
                self.next = None;
                return if has_records {
                    Ok(None)
                } else {
                    Err(backend(READ)(error))
                };
            }
        };
        if record.offset == expected {
            return Ok(Some(record));
        }
        if has_records {
            self.next = None;
            return Ok(None);
        }
        self.jump(reader, expected, record)
    }

    /// Decides about a record at another offset than the one expected. The client goes to the earliest
    /// record by itself where a position is gone, which must not pass for a gap.
    fn jump(
        &mut self,
        reader: &PartitionReader,
        expected: u64,
        record: LogRecord,
    ) -> Result<Option<LogRecord>, LogError> {
        reader.cluster.check_range(&reader.id, expected)?;
        if self.sought_again == Some(expected) && record.offset > expected {
            return Ok(Some(record));
        }
        self.seek(reader, expected)?;
        self.sought_again = Some(expected);
        // The queue tells of new records only once it was found empty.
        self.poll(reader, false)
    }

    /// Makes `from` the next offset. What was read ahead is dropped.
    fn seek(&mut self, reader: &PartitionReader, from: u64) -> Result<(), LogError> {
        const WHAT: &str = "seek an offset";
        self.held = None;
        self.next = None;
        let client = self.client.upgrade().ok_or(LogError::Closed)?;
        let timeout = reader.cluster.config().request_timeout;
        let deadline = Instant::now() + timeout;
        let (topic, partition) = raw(&reader.id);
        let offset = i64::try_from(from).unwrap_or(i64::MAX);
        while !reader.has_ended() {
            let mut list = TopicPartitionList::with_capacity(1);
            list.add_partition_offset(topic, partition, Offset::Offset(offset))
                .map_err(backend(WHAT))?;
            let sought = client.seek_partitions(list, timeout).map_err(backend(WHAT))?;
            match sought
                .find_partition(topic, partition)
                .map(|element| element.error())
            {
                Some(Ok(())) => {
                    self.next = Some(from);
                    return Ok(());
                }
                Some(Err(KafkaError::OffsetFetch(RDKafkaErrorCode::State))) if Instant::now() < deadline => {
                    thread::sleep(SEEK_INTERVAL);
                }
                Some(Err(error)) => return Err(backend(WHAT)(error)),
                None => return Err(backend_code(WHAT, RDKafkaErrorCode::UnknownPartition)),
            }
        }
        Ok(())
    }
}
