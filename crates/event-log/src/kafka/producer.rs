//! Appends: records out, offsets back.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tracing::warn;

use super::config::KafkaLogConfig;
use super::context::{log_error, log_line};
use super::error::{backend, backend_code, blocking, unusable};
use crate::{AppendRecord, LogError};

/// What the client keeps for a record beside its bytes, about.
const RECORD_OVERHEAD_BYTES: usize = 512;

/// Bytes of one append above which they are copied off the async workers (about 0.2 ms).
const MAX_INLINE_COPY_BYTES: usize = 1 << 20;

/// Permits count KiB: a semaphore's count is limited.
const BYTES_PER_PERMIT: usize = 1024;

const APPEND: &str = "append records";

type Client = ThreadedProducer<DeliveryContext>;

/// Sends records with `acks=all` and without duplicates by the client's own retries.
pub(super) struct Producer {
    config: ClientConfig,
    delivery_timeout: Duration,
    current: Mutex<Arc<Client>>,
    room: Arc<Semaphore>,
    max_permits: u32,
}

impl fmt::Debug for Producer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}

impl Producer {
    /// Makes the client; it connects by itself.
    pub(super) fn new(config: &KafkaLogConfig) -> Result<Self, LogError> {
        let client_config = config.producer();
        let client = client_config
            .create_with_context(DeliveryContext)
            .map_err(unusable)?;
        let max_permits = (config.max_queued_bytes / BYTES_PER_PERMIT).max(1);
        let max_permits = u32::try_from(max_permits).unwrap_or(u32::MAX >> 3);
        Ok(Self {
            config: client_config,
            delivery_timeout: config.delivery_timeout,
            current: Mutex::new(Arc::new(client)),
            room: Arc::new(Semaphore::new(max_permits as usize)),
            max_permits,
        })
    }

    /// Sends `records` of `num_bytes` and returns their offsets once all are acknowledged.
    pub(super) async fn append(
        &self,
        topic: &str,
        records: Vec<AppendRecord>,
        num_bytes: usize,
    ) -> Result<Vec<u64>, LogError> {
        let num_records = records.len();
        let room = Arc::new(
            self.reserve(num_bytes + num_records * RECORD_OVERHEAD_BYTES)
                .await?,
        );
        let client = Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner));
        let (reply, replies) = mpsc::unbounded_channel();
        let sending = (Arc::clone(&client), topic.to_owned());
        let send = move || send_all(&sending.0, &sending.1, records, &reply, &room);
        let sent = if num_bytes <= MAX_INLINE_COPY_BYTES {
            send()
        } else {
            blocking(APPEND, || Ok(send())).await?
        };
        let outcome = match sent {
            Ok(()) => offsets(replies, num_records).await,
            Err(error) => Err(error),
        };
        outcome.map_err(|error| {
            self.replace_if_dead(client);
            backend(APPEND)(error)
        })
    }

    /// Waits until there is room, at most as long as what takes it may stay.
    async fn reserve(&self, num_bytes: usize) -> Result<OwnedSemaphorePermit, LogError> {
        let permits = u32::try_from(num_bytes.div_ceil(BYTES_PER_PERMIT)).unwrap_or(u32::MAX);
        let acquire = Arc::clone(&self.room).acquire_many_owned(permits.min(self.max_permits));
        match tokio::time::timeout(self.delivery_timeout, acquire).await {
            Ok(permit) => permit.map_err(|_| LogError::Closed),
            Err(_) => Err(backend_code("find room for records", RDKafkaErrorCode::QueueFull)),
        }
    }

    /// Makes a new client where `failed` can never send again: its identity was fenced, or records are
    /// missing in its sequence.
    fn replace_if_dead(&self, failed: Arc<Client>) {
        if let Some((code, reason)) = failed.client().fatal_error() {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            if Arc::ptr_eq(&current, &failed) {
                warn!(error = %code, reason, "kafka producer cannot go on, a new one takes over");
                match self.config.create_with_context(DeliveryContext) {
                    Ok(client) => *current = Arc::new(client),
                    Err(error) => warn!(%error, "cannot make a kafka producer"),
                }
            }
        }
        // The last one to hold a client waits for its threads.
        drop(tokio::task::spawn_blocking(move || drop(failed)));
    }

    /// Waits until all that was sent is acknowledged or has failed, then takes no more.
    pub(super) async fn shutdown(&self) -> Result<(), LogError> {
        self.room.close();
        let client = Arc::clone(&self.current.lock().unwrap_or_else(PoisonError::into_inner));
        let timeout = self.delivery_timeout + Duration::from_secs(1);
        blocking("flush records", move || {
            client.flush(timeout).map_err(backend("flush records"))
        })
        .await
    }
}

/// Hands all records to the client, in order. On an error the ones before it are on their way.
fn send_all(
    client: &Client,
    topic: &str,
    records: Vec<AppendRecord>,
    reply: &mpsc::UnboundedSender<Reply>,
    room: &Arc<OwnedSemaphorePermit>,
) -> Result<(), KafkaError> {
    for (index, record) in records.into_iter().enumerate() {
        let pending = Box::new(Pending {
            index,
            reply: reply.clone(),
            _room: Arc::clone(room),
        });
        // A partition that exists fits: the broker's own count is an `i32`.
        let partition = i32::try_from(record.partition).unwrap_or(i32::MAX);
        let mut message = BaseRecord::<[u8], [u8], _>::with_opaque_to(topic, pending)
            .partition(partition)
            .payload(&record.value[..]);
        if !record.key.is_empty() {
            message = message.key(&record.key[..]);
        }
        if !record.headers.is_empty() {
            message = message.headers(headers(&record.headers));
        }
        client.send(message).map_err(|(error, _)| error)?;
    }
    Ok(())
}

fn headers(headers: &[(String, bytes::Bytes)]) -> OwnedHeaders {
    let owned = OwnedHeaders::new_with_capacity(headers.len());
    headers.iter().fold(owned, |owned, (key, value)| {
        owned.insert(Header {
            key,
            value: Some(&value[..]),
        })
    })
}

/// Gathers the offsets, in the order of the records; the first failure if there is one.
async fn offsets(
    mut replies: mpsc::UnboundedReceiver<Reply>,
    num_records: usize,
) -> Result<Vec<u64>, KafkaError> {
    let mut offsets = vec![0; num_records];
    for _ in 0..num_records {
        let (index, outcome) = replies.recv().await.ok_or(KafkaError::Canceled)?;
        // A broker that has a record already may not say where: it is durable, but its offset is unknown.
        offsets[index] = u64::try_from(outcome?)
            .map_err(|_| KafkaError::MessageProduction(RDKafkaErrorCode::DuplicateSequenceNumber))?;
    }
    Ok(offsets)
}

/// The fate of one record: its index in the append, and its offset.
type Reply = (usize, Result<i64, KafkaError>);

/// What goes with a record and comes back with its fate.
struct Pending {
    index: usize,
    reply: mpsc::UnboundedSender<Reply>,
    /// The room that the append takes is free when the last of its records is.
    _room: Arc<OwnedSemaphorePermit>,
}

/// Passes fates on.
struct DeliveryContext;

impl ClientContext for DeliveryContext {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        log_line(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        log_error(&error, reason);
    }
}

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = Box<Pending>;

    fn delivery(&self, result: &DeliveryResult<'_>, pending: Box<Pending>) {
        let outcome = match result {
            Ok(message) => Ok(message.offset()),
            Err((error, _)) => Err(error.clone()),
        };
        // Whoever appended may have gone.
        drop(pending.reply.send((pending.index, outcome)));
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::DefaultProducerContext;
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr as Refusal};

    use super::*;

    type Mock = MockCluster<'static, DefaultProducerContext>;

    fn mock() -> (Mock, KafkaLogConfig) {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic("t", 1, 1).unwrap();
        let brokers = mock.bootstrap_servers().split(',').map(str::to_owned).collect();
        let mut config = KafkaLogConfig::new(brokers, vec![]);
        config.delivery_timeout = Duration::from_secs(3);
        (mock, config)
    }

    async fn append(producer: &Producer, value: &'static str) -> Result<Vec<u64>, LogError> {
        let record = AppendRecord {
            partition: 0,
            key: Bytes::from_static(b"key"),
            headers: vec![],
            value: Bytes::from_static(value.as_bytes()),
        };
        producer.append("t", vec![record], value.len()).await
    }

    #[tokio::test]
    async fn a_producer_that_cannot_go_on_is_replaced() {
        let (mock, config) = mock();
        let producer = Producer::new(&config).unwrap();
        let refusal = Refusal::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
        mock.request_errors(RDKafkaApiKey::InitProducerId, &[refusal]);
        let first = Arc::clone(&producer.current.lock().unwrap());
        append(&producer, "refused").await.unwrap_err();
        assert!(first.client().fatal_error().is_some());
        assert_eq!(append(&producer, "by the next").await.unwrap(), [0]);
        assert!(!Arc::ptr_eq(&first, &producer.current.lock().unwrap()));
    }

    #[tokio::test]
    async fn refusals_that_pass_are_repeated_and_others_answered() {
        let (mock, config) = mock();
        let producer = Producer::new(&config).unwrap();
        let passing = [
            Refusal::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
            Refusal::RD_KAFKA_RESP_ERR__TRANSPORT,
            Refusal::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        ];
        mock.request_errors(RDKafkaApiKey::Produce, &passing);
        assert_eq!(append(&producer, "in the end").await.unwrap(), [0]);
        let lasting = [Refusal::RD_KAFKA_RESP_ERR_INVALID_RECORD];
        mock.request_errors(RDKafkaApiKey::Produce, &lasting);
        let error = append(&producer, "refused").await.unwrap_err();
        assert!(!error.is_retryable(), "{error:?}");
        assert_eq!(append(&producer, "allowed again").await.unwrap(), [1]);
    }

    #[tokio::test]
    async fn an_absent_broker_is_retryable_within_the_deadline() {
        let (mock, config) = mock();
        let producer = Producer::new(&config).unwrap();
        assert_eq!(append(&producer, "before").await.unwrap(), [0]);
        mock.broker_down(1).unwrap();
        let start = std::time::Instant::now();
        let error = append(&producer, "away").await.unwrap_err();
        assert!(error.is_retryable(), "{error:?}");
        assert!(
            start.elapsed() < 2 * config.delivery_timeout,
            "{:?}",
            start.elapsed()
        );
        mock.broker_up(1).unwrap();
        append(&producer, "back").await.unwrap();
    }

    #[tokio::test]
    async fn appends_wait_for_room_and_not_for_ever() {
        let (mock, mut config) = mock();
        // One append takes all of it.
        config.max_queued_bytes = BYTES_PER_PERMIT;
        let producer = Producer::new(&config).unwrap();
        let (first, second, third) = tokio::join!(
            append(&producer, "one"),
            append(&producer, "two"),
            append(&producer, "three")
        );
        let offsets = [first.unwrap(), second.unwrap(), third.unwrap()];
        assert_eq!(offsets, [[0], [1], [2]], "one after the other");
        let hold = producer.reserve(1).await.unwrap();
        let error = append(&producer, "four").await.unwrap_err();
        assert!(
            error.is_retryable() && error.to_string().contains("room"),
            "{error:?}"
        );
        drop(hold);
        // What an append that nobody waits for sent keeps its room until its fate is known.
        mock.broker_round_trip_time(1, Duration::from_millis(300))
            .unwrap();
        let cut_short = append(&producer, "five");
        tokio::time::timeout(Duration::from_millis(20), cut_short)
            .await
            .unwrap_err();
        assert_eq!(producer.room.available_permits(), 0);
        assert_eq!(append(&producer, "six").await.unwrap(), [4]);
    }

    #[tokio::test]
    async fn a_shutdown_waits_for_what_was_sent_and_takes_no_more() {
        let (mock, config) = mock();
        let producer = Arc::new(Producer::new(&config).unwrap());
        append(&producer, "connected").await.unwrap();
        mock.broker_round_trip_time(1, Duration::from_millis(300))
            .unwrap();
        let appender = Arc::clone(&producer);
        let appended = tokio::spawn(async move { append(&appender, "last").await });
        tokio::time::sleep(Duration::from_millis(50)).await;
        producer.shutdown().await.unwrap();
        assert_eq!(appended.await.unwrap().unwrap(), [1]);
        assert!(matches!(append(&producer, "late").await, Err(LogError::Closed)));
    }
}
