//! The rules every backend keeps. A backend joins by implementing [`Backend`] and naming itself in one
//! `contract_tests!` line.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use marginstream_event_log::{
    AppendRecord, Committed, EventLog, KafkaLog, LocalLog, LocalLogConfig, LogError, SyncPolicy,
    TopicPartition, TopicSpec,
};

use crate::kafka_cluster::KafkaCluster;
use crate::support::{LONG, epoch, read_until, record, topic};

/// A log that tests can open, and open again with what it holds.
#[async_trait]
pub(crate) trait Backend: Send + Sync {
    /// Returns a name of a topic or group that no other test uses, made from `name`.
    fn name(&self, name: &str) -> String;

    /// Opens the log with `topics`, which exist afterwards. The caller has shut down and dropped the one before.
    async fn open(&self, topics: &[TopicSpec]) -> Arc<dyn EventLog>;
}

macro_rules! contract_tests {
    ($module:ident, $backend:expr) => {
        contract_tests!($module, $backend,
            offsets_are_dense_and_in_order_per_partition
            a_record_comes_back_as_it_was_sent
            reads_start_anywhere_and_respect_max_bytes
            a_large_record_is_read_whole
            a_read_waits_and_a_new_record_wakes_it
            a_read_without_records_ends_after_its_wait
            concurrent_appenders_lose_nothing
            records_and_commits_survive_reopening
            lag_is_what_is_left_to_process
            groups_do_not_see_each_other
            offsets_outside_the_log_are_out_of_range
            unknown_places_are_errors
            a_refused_batch_leaves_nothing
            a_commit_of_another_epoch_is_fenced
            members_are_counted_until_they_leave
            shutdown_ends_reads_and_refuses_calls
        );
    };
    ($module:ident, $backend:expr, $($rule:ident)*) => {
        mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $rule() {
                    if let Some(backend) = $backend {
                        super::$rule(&backend).await;
                    }
                }
            )*
        }
    };
}

/// The local log in a directory of its own.
struct LocalBackend {
    dir: tempfile::TempDir,
    sync: SyncPolicy,
}

impl LocalBackend {
    fn new(sync: SyncPolicy) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        Some(Self { dir, sync })
    }
}

#[async_trait]
impl Backend for LocalBackend {
    fn name(&self, name: &str) -> String {
        name.to_owned()
    }

    async fn open(&self, topics: &[TopicSpec]) -> Arc<dyn EventLog> {
        // Small segments, so that the rules are kept across their borders too.
        let config = LocalLogConfig {
            sync: self.sync,
            segment_bytes: 20_000,
            ..LocalLogConfig::new(self.dir.path(), topics.to_vec())
        };
        Arc::new(LocalLog::open(config).unwrap())
    }
}

#[async_trait]
impl Backend for KafkaCluster {
    fn name(&self, name: &str) -> String {
        KafkaCluster::name(self, name)
    }

    async fn open(&self, topics: &[TopicSpec]) -> Arc<dyn EventLog> {
        Arc::new(KafkaLog::open(self.config(topics.to_vec())).await.unwrap())
    }
}

contract_tests!(kafka, super::KafkaCluster::from_env());
contract_tests!(
    local_synced,
    super::LocalBackend::new(super::SyncPolicy::EveryCommit)
);
contract_tests!(
    local_interval,
    super::LocalBackend::new(super::SyncPolicy::Interval(std::time::Duration::from_millis(5)))
);

async fn offsets_are_dense_and_in_order_per_partition(backend: &dyn Backend) {
    let t = &*backend.name("t");
    let g = &*backend.name("g");
    let log = backend.open(&[topic(t, 2)]).await;
    assert_eq!(log.num_partitions(t).unwrap(), 2);
    let first = log
        .append(t, vec![record(0, "a"), record(1, "b"), record(0, "c")])
        .await
        .unwrap();
    let second = log.append(t, vec![record(1, "d"), record(0, "e")]).await.unwrap();
    assert_eq!((first, second), (vec![0, 0, 1], vec![1, 2]));
    assert_eq!(log.append(t, vec![]).await.unwrap(), Vec::<u64>::new());
    let member = log.join(g, &[t]).await.unwrap();
    let expected = BTreeSet::from([TopicPartition::new(t, 0), TopicPartition::new(t, 1)]);
    let mut assignment = member.assignment();
    let owns_all = |assigned: &BTreeMap<TopicPartition, u64>| assigned.keys().eq(&expected);
    assert!(assignment.wait_for(owns_all).await.is_ok());
    for (partition, expected) in [(0, "ace"), (1, "bd")] {
        let tp = TopicPartition::new(t, partition);
        let records = read_until(&*member, &tp, 0, expected.len() as u64).await;
        let offsets: Vec<u64> = records.iter().map(|record| record.offset).collect();
        assert_eq!(offsets, (0..expected.len() as u64).collect::<Vec<_>>());
        let values: Vec<u8> = records.iter().flat_map(|record| record.value.to_vec()).collect();
        assert_eq!(values, expected.as_bytes());
    }
}

async fn a_record_comes_back_as_it_was_sent(backend: &dyn Backend) {
    let t = &*backend.name("t");
    let g = &*backend.name("g");
    let log = backend.open(&[topic(t, 1)]).await;
    let headers = vec![
        ("schema".to_owned(), Bytes::from_static(b"1")),
        ("empty".to_owned(), Bytes::new()),
    ];
    let value = Bytes::from_static(b"\0\x01value");
    let sent = AppendRecord {
        partition: 0,
        key: Bytes::from_static(b"org-1"),
        headers,
        value,
    };
    let before_ms = now_ms();
    log.append(t, vec![sent.clone(), record(0, "")]).await.unwrap();
    let member = log.join(g, &[t]).await.unwrap();
    let read = read_until(&*member, &TopicPartition::new(t, 0), 0, 2).await;
    assert_eq!(
        (&read[0].key, &read[0].headers, &read[0].value),
        (&sent.key, &sent.headers, &sent.value)
    );
    assert_eq!(
        (read[1].key.len(), read[1].headers.len(), read[1].value.len()),
        (0, 0, 0)
    );
    assert!((before_ms..=now_ms()).contains(&read[0].timestamp_ms));
}

fn now_ms() -> i64 {
    let since_epoch = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    i64::try_from(since_epoch.as_millis()).unwrap()
}

async fn reads_start_anywhere_and_respect_max_bytes(backend: &dyn Backend) {
    let t = &*backend.name("t");
    let g = &*backend.name("g");
    let log = backend.open(&[topic(t, 1)]).await;
    for start in (0..200).step_by(20) {
        let records = (start..start + 20)
            .map(|number| record(0, format!("{number:0>1000}")))
            .collect();
        log.append(t, records).await.unwrap();
    }
    let member = log.join(g, &[t]).await.unwrap();
    let tp = TopicPartition::new(t, 0);
    epoch(&*member, &tp).await;
    for from in [0, 199, 5, 100, 101, 50, 19, 20] {
        let read = member.read(&tp, from, 5500, LONG).await.unwrap();
        assert!((1..=5).contains(&read.len()), "{} records", read.len());
        for (record, offset) in read.iter().zip(from..) {
            assert_eq!(
                (record.offset, &record.value[..]),
                (offset, format!("{offset:0>1000}").as_bytes())
            );
        }
    }
    assert_eq!(read_until(&*member, &tp, 7, 200).await.len(), 193);
}

async fn a_large_record_is_read_whole(backend: &dyn Backend) {
    let t = &*backend.name("t");
    let g = &*backend.name("g");
    let log = backend.open(&[topic(t, 1)]).await;
    let large: Bytes = (0..900_000_u32).flat_map(|number| number.to_le_bytes()).collect();
    log.append(
        t,
        vec![record(0, "small"), record(0, large.clone()), record(0, "after")],
    )
    .await
    .unwrap();
    let member = log.join(g, &[t]).await.unwrap();
    let tp = TopicPartition::new(t, 0);
    epoch(&*member, &tp).await;
    let read = member.read(&tp, 1, 1, LONG).await.unwrap();
    assert_eq!(read.len(), 1);
    assert!(read[0].value == large);
    assert_eq!(member.read(&tp, 2, 1, LONG).await.unwrap()[0].value, "after");
}

async fn a_read_waits_and_a_new_record_wakes_it(backend: &dyn Backend) {
    let t = &*backend.name("t");
    let g = &*backend.name("g");
    let log = backend.open(&[topic(t, 1)]).await;
    let member = log.join(g, &[t]).await.unwrap();
    let tp = TopicPartition::new(t, 0);
    epoch(&*member, &tp).await;
    let reader = tokio::spawn(async move { member.read(&tp, 0, 1000, LONG).await });
    tokio::task::yield_now().await;
    log.append(t, vec![record(0, "news")]).await.unwrap();
    let read = tokio::time::timeout(LONG / 2, reader)
        .await
        .expect("reader sleeps on")
        .unwrap()
        .unwrap();
    assert_eq!(read[0].value, "news");
}

async fn a_read_without_records_ends_after_its_wait(backend: &dyn Backend) {
    let t = &*backend.name("t");
    let g = &*backend.name("g");
    let log = backend.open(&[topic(t, 1)]).await;
    let member = log.join(g, &[t]).await.unwrap();
    let tp = TopicPartition::new(t, 0);
    epoch(&*member, &tp).await;
    assert_eq!(member.read(&tp, 0, 1000, Duration::ZERO).await.unwrap(), vec![]);
    assert_eq!(
        member
            .read(&tp, 0, 1000, Duration::from_millis(20))
            .await
            .unwrap(),
        vec![]
    );
    log.append(t, vec![record(0, "a")]).await.unwrap();
    assert_eq!(member.read(&tp, 0, 1000, LONG).await.unwrap().len(), 1);
    assert_eq!(
        member
            .read(&tp, 1, 1000, Duration::from_millis(20))
            .await
            .unwrap(),
        vec![]
    );
}

async fn concurrent_appenders_lose_nothing(backend: &dyn Backend) {
    const APPENDERS: usize = 16;
    const CALLS: usize = 40;
    let t = &*backend.name("t");
    let g = &*backend.name("g");
    let log = backend.open(&[topic(t, 3)]).await;
    let appenders: Vec<_> = (0..APPENDERS)
        .map(|appender| {
            let (log, t) = (Arc::clone(&log), t.to_owned());
            tokio::spawn(async move {
                let mut sent = Vec::new();
                for call in 0..CALLS {
                    let partition = ((appender + call) % 3) as u32;
                    let value = format!("{appender}/{call}");
                    let offsets = log
                        .append(&t, vec![record(partition, value.clone())])
                        .await
                        .unwrap();
                    sent.push((partition, offsets[0], value));
                }
                sent
            })
        })
        .collect();
    let member = log.join(g, &[t]).await.unwrap();
    let mut sent = BTreeSet::new();
    for appender in appenders {
        sent.extend(appender.await.unwrap());
    }
    let mut stored = BTreeSet::new();
    for partition in 0..3 {
        let tp = TopicPartition::new(t, partition);
        let end = log.position(g, &tp).await.unwrap().end;
        for record in read_until(&*member, &tp, 0, end).await {
            stored.insert((
                partition,
                record.offset,
                String::from_utf8(record.value.to_vec()).unwrap(),
            ));
        }
    }
    assert_eq!(stored.len(), APPENDERS * CALLS);
    assert_eq!(stored, sent);
}

async fn records_and_commits_survive_reopening(backend: &dyn Backend) {
    let t = &*backend.name("t");
    let g = &*backend.name("g");
    let (topics, tp) = ([topic(t, 2)], TopicPartition::new(t, 1));
    for round in 0..4_u64 {
        let log = backend.open(&topics).await;
        let member = log.join(g, &[t]).await.unwrap();
        let committed = member.committed(&tp).await.unwrap();
        let expected = Committed {
            offset: round,
            metadata: format!("{{\"end\":{round}}}"),
        };
        assert_eq!(committed, (round > 0).then_some(expected));
        assert_eq!(
            log.append(t, vec![record(1, format!("{round}"))]).await.unwrap(),
            vec![round]
        );
        for (record, number) in read_until(&*member, &tp, 0, round + 1).await.iter().zip(0..) {
            assert_eq!(
                (record.offset, &record.value[..]),
                (number, number.to_string().as_bytes())
            );
        }
        member
            .commit(&tp, epoch(&*member, &tp).await, round, "overwritten")
            .await
            .unwrap();
        member
            .commit(
                &tp,
                epoch(&*member, &tp).await,
                round + 1,
                &format!("{{\"end\":{}}}", round + 1),
            )
            .await
            .unwrap();
        drop(member);
        log.shutdown().await.unwrap();
    }
}

async fn lag_is_what_is_left_to_process(backend: &dyn Backend) {
    let t = &*backend.name("t");
    let g = &*backend.name("g");
    let log = backend.open(&[topic(t, 1)]).await;
    let tp = TopicPartition::new(t, 0);
    log.append(t, (0..10).map(|_| record(0, "x")).collect())
        .await
        .unwrap();
    let position = log.position(g, &tp).await.unwrap();
    assert_eq!(
        (
            position.earliest,
            position.end,
            position.committed.clone(),
            position.lag()
        ),
        (0, 10, None, 10)
    );
    let member = log.join(g, &[t]).await.unwrap();
    member
        .commit(&tp, epoch(&*member, &tp).await, 7, "")
        .await
        .unwrap();
    assert_eq!(log.position(g, &tp).await.unwrap().lag(), 3);
    member
        .commit(&tp, epoch(&*member, &tp).await, 10, "")
        .await
        .unwrap();
    assert_eq!(log.position(g, &tp).await.unwrap().lag(), 0);
}

async fn groups_do_not_see_each_other(backend: &dyn Backend) {
    let t = &*backend.name("t");
    let g1 = &*backend.name("g1");
    let g2 = &*backend.name("g2");
    let log = backend.open(&[topic(t, 1)]).await;
    let tp = TopicPartition::new(t, 0);
    log.append(t, vec![record(0, "x"), record(0, "y")]).await.unwrap();
    let (first, second) = (
        log.join(g1, &[t]).await.unwrap(),
        log.join(g2, &[t]).await.unwrap(),
    );
    first
        .commit(&tp, epoch(&*first, &tp).await, 2, "first")
        .await
        .unwrap();
    assert_eq!(second.committed(&tp).await.unwrap(), None);
    epoch(&*second, &tp).await;
    assert_eq!(second.read(&tp, 0, 1000, LONG).await.unwrap().len(), 2);
}

async fn offsets_outside_the_log_are_out_of_range(backend: &dyn Backend) {
    let t = &*backend.name("t");
    let g = &*backend.name("g");
    let log = backend.open(&[topic(t, 1)]).await;
    let tp = TopicPartition::new(t, 0);
    log.append(t, vec![record(0, "x")]).await.unwrap();
    let member = log.join(g, &[t]).await.unwrap();
    epoch(&*member, &tp).await;
    let error = member.read(&tp, 2, 1000, LONG).await.unwrap_err();
    assert!(
        matches!(
            error,
            LogError::OutOfRange {
                offset: 2,
                end: 1,
                ..
            }
        ),
        "{error}"
    );
    let error = member
        .commit(&tp, epoch(&*member, &tp).await, 2, "")
        .await
        .unwrap_err();
    assert!(matches!(error, LogError::OutOfRange { .. }), "{error}");
    assert_eq!(member.committed(&tp).await.unwrap(), None);
}

async fn unknown_places_are_errors(backend: &dyn Backend) {
    let t = &*backend.name("t");
    let g = &*backend.name("g");
    let other = &*backend.name("other");
    let log = backend.open(&[topic(t, 1), topic(other, 1)]).await;
    assert!(matches!(
        log.append("none", vec![record(0, "x")]).await,
        Err(LogError::UnknownTopic(_))
    ));
    assert!(matches!(
        log.append(t, vec![record(1, "x")]).await,
        Err(LogError::UnknownPartition(_))
    ));
    assert!(matches!(
        log.num_partitions("none"),
        Err(LogError::UnknownTopic(_))
    ));
    assert!(matches!(
        log.join(g, &[t, "none"]).await,
        Err(LogError::UnknownTopic(_))
    ));
    assert!(log.position(g, &TopicPartition::new("none", 0)).await.is_err());
    let member = log.join(g, &[t]).await.unwrap();
    let not_joined = TopicPartition::new(other, 0);
    assert!(matches!(
        member.read(&not_joined, 0, 1, LONG).await,
        Err(LogError::UnknownPartition(_))
    ));
    assert!(matches!(
        member.commit(&not_joined, 1, 0, "").await,
        Err(LogError::UnknownPartition(_))
    ));
}

async fn a_refused_batch_leaves_nothing(backend: &dyn Backend) {
    let t = &*backend.name("t");
    let log = backend.open(&[topic(t, 1)]).await;
    let too_large = record(0, vec![0; 17 << 20]);
    let error = log.append(t, vec![record(0, "x"), too_large]).await.unwrap_err();
    assert!(matches!(error, LogError::TooLarge { .. }), "{error}");
    assert!(!error.is_retryable());
    assert_eq!(log.append(t, vec![record(0, "y")]).await.unwrap(), vec![0]);
}

async fn a_commit_of_another_epoch_is_fenced(backend: &dyn Backend) {
    let t = &*backend.name("t");
    let g = &*backend.name("g");
    let log = backend.open(&[topic(t, 1)]).await;
    log.append(t, vec![record(0, "a"), record(0, "b")]).await.unwrap();
    let tp = TopicPartition::new(t, 0);
    let member = log.join(g, &[t]).await.unwrap();
    let current = epoch(&*member, &tp).await;
    member.commit(&tp, current, 1, "mine").await.unwrap();
    let refused = member.commit(&tp, current + 1, 2, "stale").await.unwrap_err();
    assert!(
        matches!(&refused, LogError::Fenced { topic_partition, .. } if *topic_partition == tp),
        "{refused:?}"
    );
    assert!(!refused.is_retryable());
    assert_eq!(member.committed(&tp).await.unwrap().unwrap().offset, 1);
}

async fn members_are_counted_until_they_leave(backend: &dyn Backend) {
    let log = backend.open(&[topic("t", 2)]).await;
    assert_eq!(log.num_members("g").await.unwrap(), 0);
    let first = log.join("g", &["t"]).await.unwrap();
    let second = log.join("g", &["t"]).await.unwrap();
    wait_for_members(&*log, 2).await;
    drop(first);
    wait_for_members(&*log, 1).await;
    drop(second);
    wait_for_members(&*log, 0).await;
}

async fn wait_for_members(log: &dyn EventLog, expected: usize) {
    let counted = async {
        while log.num_members("g").await.unwrap() != expected {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LONG, counted).await.unwrap();
}

async fn shutdown_ends_reads_and_refuses_calls(backend: &dyn Backend) {
    let t = &*backend.name("t");
    let g = &*backend.name("g");
    let log = backend.open(&[topic(t, 1)]).await;
    let member = log.join(g, &[t]).await.unwrap();
    let tp = TopicPartition::new(t, 0);
    epoch(&*member, &tp).await;
    let reader = tokio::spawn(async move { member.read(&tp, 0, 1000, LONG).await });
    tokio::task::yield_now().await;
    log.shutdown().await.unwrap();
    log.shutdown().await.unwrap();
    let read = tokio::time::timeout(LONG / 2, reader)
        .await
        .expect("reader waits on")
        .unwrap();
    assert!(matches!(read, Err(LogError::Closed)));
    assert!(matches!(
        log.append(t, vec![record(0, "x")]).await,
        Err(LogError::Closed)
    ));
}
