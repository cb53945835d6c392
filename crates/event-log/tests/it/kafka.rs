//! What only Kafka does: members that come and go, operators that change topics, brokers that are away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use marginstream_event_log::{EventLog, GroupMember, KafkaLog, LogError, TopicPartition, TopicSpec};
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use crate::kafka_cluster::{KafkaCluster, OwnCluster, config};
use crate::support::{LONG, epoch, read_until, record, topic};

fn admin(cluster: &KafkaCluster) -> AdminClient<DefaultClientContext> {
    client(cluster).create().unwrap()
}

fn client(cluster: &KafkaCluster) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", cluster.config(vec![]).brokers.join(","));
    client
}

async fn open(cluster: &KafkaCluster, topics: &[TopicSpec]) -> KafkaLog {
    KafkaLog::open(cluster.config(topics.to_vec())).await.unwrap()
}

/// Waits until `member` owns `num_owned` partitions.
async fn owns(member: &dyn GroupMember, num_owned: usize) -> BTreeMap<TopicPartition, u64> {
    let mut assignment = member.assignment();
    let owned = assignment.wait_for(|owned| owned.len() == num_owned);
    tokio::time::timeout(LONG, owned).await.unwrap().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_share_partitions_and_fence_what_moved() {
    let Some(cluster) = KafkaCluster::from_env() else {
        return;
    };
    let (t, g) = (&*cluster.name("t"), &*cluster.name("g"));
    let first_log = open(&cluster, &[topic(t, 4)]).await;
    let second_log = open(&cluster, &[topic(t, 4)]).await;
    first_log
        .append(t, (0..4).map(|partition| record(partition, "a")).collect())
        .await
        .unwrap();
    let first = Arc::new(first_log.join(g, &[t]).await.unwrap());
    let alone = owns(&**first, 4).await;
    assert_eq!(alone.values().collect::<BTreeSet<_>>().len(), 4, "epochs differ");
    // A read that waits in each partition, behind its only record.
    let reads: BTreeMap<_, _> = alone
        .keys()
        .map(|tp| {
            let (member, wanted) = (Arc::clone(&first), tp.clone());
            (
                tp.clone(),
                tokio::spawn(async move { member.read(&wanted, 1, 1000, LONG).await }),
            )
        })
        .collect();

    let second = second_log.join(g, &[t]).await.unwrap();
    let (kept, moved) = (owns(&**first, 2).await, owns(&*second, 2).await);
    let all: BTreeSet<_> = kept.keys().chain(moved.keys()).collect();
    assert_eq!(all, alone.keys().collect(), "each partition has one owner");
    for (tp, epoch) in &kept {
        assert_eq!(alone[tp], *epoch, "what stays keeps its epoch");
        first.commit(tp, *epoch, 1, "kept").await.unwrap();
    }
    for (tp, read) in reads {
        if moved.contains_key(&tp) {
            let read = tokio::time::timeout(LONG / 2, read)
                .await
                .expect("reader sleeps on")
                .unwrap();
            assert!(matches!(read, Err(LogError::Fenced { .. })), "{read:?}");
        } else {
            read.abort();
        }
    }
    for (tp, epoch) in &moved {
        let refused = first.commit(tp, alone[tp], 1, "stale").await.unwrap_err();
        assert!(matches!(refused, LogError::Fenced { .. }), "{refused:?}");
        assert!(matches!(
            first.read(tp, 0, 1000, LONG).await,
            Err(LogError::Fenced { .. })
        ));
        assert_eq!(read_until(&*second, tp, 0, 1).await.len(), 1);
        second.commit(tp, *epoch, 1, "moved").await.unwrap();
    }

    drop(second);
    second_log.shutdown().await.unwrap();
    let again = owns(&**first, 4).await;
    for tp in moved.keys() {
        assert!(again[tp] > alone[tp], "what comes back has a new epoch");
        assert!(matches!(
            first.commit(tp, alone[tp], 1, "").await,
            Err(LogError::Fenced { .. })
        ));
        assert_eq!(first.committed(tp).await.unwrap().unwrap().metadata, "moved");
        assert_eq!(read_until(&**first, tp, 0, 1).await.len(), 1);
    }
    first_log.shutdown().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn added_partitions_are_seen_and_assigned() {
    let Some(cluster) = KafkaCluster::from_env() else {
        return;
    };
    let (t, g) = (&*cluster.name("t"), &*cluster.name("g"));
    let log = open(&cluster, &[topic(t, 1)]).await;
    let member = log.join(g, &[t]).await.unwrap();
    let before = owns(&*member, 1).await;
    let added = admin(&cluster)
        .create_partitions(&[NewPartitions::new(t, 3)], &AdminOptions::new())
        .await
        .unwrap();
    assert!(added.iter().all(Result::is_ok), "{added:?}");
    let after = owns(&*member, 3).await;
    let first = TopicPartition::new(t, 0);
    assert_eq!(before[&first], after[&first]);
    let deadline = Instant::now() + LONG;
    while log.num_partitions(t).unwrap() < 3 {
        assert!(Instant::now() < deadline, "the added partitions are not seen");
        tokio::task::yield_now().await;
    }
    log.append(t, vec![record(2, "new")]).await.unwrap();
    let added = TopicPartition::new(t, 2);
    assert_eq!(read_until(&*member, &added, 0, 1).await[0].value, "new");
    member.commit(&added, after[&added], 1, "").await.unwrap();
    // More partitions than asked for are no reason to refuse.
    open(&cluster, &[topic(t, 1)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_does_not_fit_is_refused_with_what_mends_it() {
    let Some(cluster) = KafkaCluster::from_env() else {
        return;
    };
    let t = &*cluster.name("t");
    let wrong = NewTopic::new(t, 1, TopicReplication::Fixed(1))
        .set("message.timestamp.type", "CreateTime")
        .set("cleanup.policy", "compact")
        .set("retention.ms", "1000");
    let made = admin(&cluster)
        .create_topics(&[wrong], &AdminOptions::new())
        .await
        .unwrap();
    assert!(made.iter().all(Result::is_ok), "{made:?}");
    let spec = TopicSpec {
        retention: Some(Duration::from_secs(60)),
        ..topic(t, 2)
    };
    let refused = KafkaLog::open(cluster.config(vec![spec])).await.unwrap_err();
    assert!(matches!(refused, LogError::Config(_)), "{refused:?}");
    let message = refused.to_string();
    for part in [
        &format!("topic {t} has 1 partitions and needs 2"),
        "cleanup.policy=compact where delete is needed",
        "message.timestamp.type=CreateTime where LogAppendTime is needed",
        "max.message.bytes=",
        "retention.ms=1000 where at least 60000 is needed",
        "kafka-configs.sh --bootstrap-server",
    ] {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
    assert!(!message.contains("min.insync.replicas"), "{message}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unusable_property_is_named() {
    let Some(cluster) = KafkaCluster::from_env() else {
        return;
    };
    for (name, value) in [
        ("no.such.property", "1"),
        ("reconnect.backoff.ms", "soon"),
        ("acks", "1"),
    ] {
        let mut config = cluster.config(vec![]);
        config.properties.push((name.to_owned(), value.to_owned()));
        let error = KafkaLog::open(config).await.unwrap_err();
        assert!(
            matches!(&error, LogError::Config(what) if what.contains(name)),
            "{error:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_that_retention_removed_are_out_of_range_and_not_passed_over() {
    let Some(cluster) = KafkaCluster::from_env() else {
        return;
    };
    let (t, g) = (&*cluster.name("t"), &*cluster.name("g"));
    let log = open(&cluster, &[topic(t, 1)]).await;
    let tp = TopicPartition::new(t, 0);
    log.append(t, (0..10).map(|number| record(0, vec![number])).collect())
        .await
        .unwrap();
    let member = log.join(g, &[t]).await.unwrap();
    epoch(&*member, &tp).await;
    assert_eq!(member.read(&tp, 9, 1000, LONG).await.unwrap().len(), 1);
    let mut removed = TopicPartitionList::new();
    removed.add_partition_offset(t, 0, Offset::Offset(5)).unwrap();
    admin(&cluster)
        .delete_records(&removed, &AdminOptions::new())
        .await
        .unwrap();
    let error = member.read(&tp, 2, 1000, LONG).await.unwrap_err();
    assert!(
        matches!(
            error,
            LogError::OutOfRange {
                offset: 2,
                earliest: 5,
                end: 10,
                ..
            }
        ),
        "{error}"
    );
    assert_eq!(member.read(&tp, 5, 1000, LONG).await.unwrap()[0].offset, 5);
    assert_eq!(log.position(g, &tp).await.unwrap().earliest, 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gaps_that_transactions_of_others_leave_are_passed() {
    let Some(cluster) = KafkaCluster::from_env() else {
        return;
    };
    let (t, g) = (&*cluster.name("t"), &*cluster.name("g"));
    let log = open(&cluster, &[topic(t, 1)]).await;
    log.append(t, vec![record(0, "before")]).await.unwrap();
    let (config, topic_name) = (client(&cluster).set("transactional.id", t).clone(), t.to_owned());
    let transactions = move || {
        let producer: BaseProducer = config.create().unwrap();
        producer.init_transactions(LONG).unwrap();
        for is_kept in [false, true] {
            producer.begin_transaction().unwrap();
            let value = if is_kept { "kept" } else { "dropped" };
            let record = BaseRecord::<(), str>::to(&topic_name).partition(0).payload(value);
            producer.send(record).unwrap();
            producer.flush(LONG).unwrap();
            if is_kept {
                producer.commit_transaction(LONG).unwrap();
            } else {
                producer.abort_transaction(LONG).unwrap();
            }
        }
    };
    tokio::task::spawn_blocking(transactions).await.unwrap();
    log.append(t, vec![record(0, "after")]).await.unwrap();
    let member = log.join(g, &[t]).await.unwrap();
    let tp = TopicPartition::new(t, 0);
    let end = log.position(g, &tp).await.unwrap().end;
    let read = read_until(&*member, &tp, 0, end).await;
    // Aborted records and the marks at the ends of transactions have offsets of their own.
    let read: Vec<_> = read
        .iter()
        .map(|record| (record.offset, &record.value[..]))
        .collect();
    assert_eq!(read, [(0, &b"before"[..]), (3, b"kept"), (5, b"after")]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_absent_broker_fails_calls_in_time_and_all_recovers_alone() {
    let Some(cluster) = OwnCluster::start().await else {
        return;
    };
    let mut config = config(&cluster.brokers, vec![topic("t", 1)]);
    config.delivery_timeout = Duration::from_secs(3);
    config.request_timeout = Duration::from_secs(3);
    // Longer than the broker is away: the client gives its partitions up by itself after that.
    config.session_timeout = LONG;
    let log = KafkaLog::open(config).await.unwrap();
    let member = Arc::new(log.join("g", &["t"]).await.unwrap());
    let tp = TopicPartition::new("t", 0);
    assert_eq!(log.append("t", vec![record(0, "before")]).await.unwrap(), [0]);
    assert_eq!(read_until(&**member, &tp, 0, 1).await.len(), 1);

    cluster.run(&["kill-node", "1"]);
    let start = Instant::now();
    let error = log.append("t", vec![record(0, "away")]).await.unwrap_err();
    assert!(
        matches!(error, LogError::Backend { .. }) && error.is_retryable(),
        "{error:?}"
    );
    assert!(
        start.elapsed() < Duration::from_secs(6),
        "the append took {:?}",
        start.elapsed()
    );
    let (committer, wanted) = (Arc::clone(&member), tp.clone());
    let owned = epoch(&**member, &tp).await;
    let committing = tokio::spawn(async move { committer.commit(&wanted, owned, 1, "away").await });
    let error = log.position("g", &tp).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert_eq!(
        member
            .read(&tp, 1, 1000, Duration::from_millis(100))
            .await
            .unwrap(),
        []
    );

    let starting = tokio::task::spawn_blocking(move || {
        cluster.run(&["start-node", "1"]);
        cluster
    });
    let deadline = Instant::now() + 2 * LONG;
    let offset = loop {
        match log.append("t", vec![record(0, "back")]).await {
            Ok(offsets) => break offsets[0],
            Err(error) => assert!(error.is_retryable() && Instant::now() < deadline, "{error:?}"),
        }
    };
    // The record that failed may be there too, once: the client does not repeat what it gave up.
    let read = read_until(&**member, &tp, 0, offset + 1).await;
    let values: Vec<_> = read.iter().map(|record| &record.value[..]).collect();
    assert!(
        values == [&b"before"[..], b"back"] || values == [&b"before"[..], b"away", b"back"],
        "{values:?}"
    );
    // A commit on its way either waited for the broker or failed; it did not hang, nor hold the member up.
    let committed = tokio::time::timeout(LONG, committing)
        .await
        .expect("the commit hangs")
        .unwrap();
    let is_fenced = matches!(committed, Err(LogError::Fenced { .. }));
    assert!(
        is_fenced || committed.as_ref().err().is_none_or(LogError::is_retryable),
        "{committed:?}"
    );
    loop {
        let owned = epoch(&**member, &tp).await;
        match member.commit(&tp, owned, offset + 1, "back").await {
            Ok(()) => break,
            Err(error) => assert!(Instant::now() < deadline, "{error:?}"),
        }
    }
    assert_eq!(log.position("g", &tp).await.unwrap().lag(), 0);
    log.shutdown().await.unwrap();
    drop(starting.await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_loss_of_one_broker_of_three_loses_nothing_and_stops_nobody_for_long() {
    const NUM_BEFORE: u64 = 20;
    let Some(cluster) = OwnCluster::start_nodes(3).await else {
        return;
    };
    let mut config = config(&cluster.brokers, vec![topic("t", 3)]);
    (config.replication_factor, config.min_insync_replicas) = (3, 2);
    let log = Arc::new(KafkaLog::open(config).await.unwrap());
    let member = log.join("g", &["t"]).await.unwrap();
    owns(&*member, 3).await;
    let stop = Arc::new(AtomicBool::new(false));
    let appenders: Vec<_> = (0..3)
        .map(|partition| {
            let (log, stop) = (Arc::clone(&log), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut acknowledged = BTreeMap::new();
                for number in 0_u32.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let value = format!("{partition}/{number}");
                    // What is not acknowledged may be there or not.
                    if let Ok(offsets) = log.append("t", vec![record(partition, value.clone())]).await {
                        acknowledged.insert(offsets[0], value);
                    }
                }
                acknowledged
            })
        })
        .collect();
    for partition in 0..3 {
        let tp = TopicPartition::new("t", partition);
        while log.position("g", &tp).await.unwrap().end < NUM_BEFORE {
            tokio::task::yield_now().await;
        }
    }
    // Each partition has another leader, so one of them loses its own.
    let cluster = tokio::task::spawn_blocking(move || {
        cluster.run(&["kill-node", "2"]);
        cluster
    });
    let cluster = cluster.await.unwrap();
    for partition in 0..3 {
        let tp = TopicPartition::new("t", partition);
        let deadline = Instant::now() + 2 * LONG;
        while let Err(error) = log.append("t", vec![record(partition, "after the loss")]).await {
            assert!(error.is_retryable() && Instant::now() < deadline, "{error:?}");
        }
        loop {
            match member
                .commit(&tp, epoch(&*member, &tp).await, 1, "after the loss")
                .await
            {
                Ok(()) => break,
                Err(error) => assert!(Instant::now() < deadline, "{error:?}"),
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    for (appender, partition) in appenders.into_iter().zip(0..) {
        let acknowledged = appender.await.unwrap();
        let tp = TopicPartition::new("t", partition);
        let end = log.position("g", &tp).await.unwrap().end;
        let stored = read_until(&*member, &tp, 0, end).await;
        assert_eq!(stored.len() as u64, end, "offsets are dense");
        assert!(acknowledged.len() as u64 >= NUM_BEFORE - 1, "{acknowledged:?}");
        for (offset, value) in acknowledged {
            let record = &stored[usize::try_from(offset).unwrap()];
            assert_eq!(record.value, value, "{tp} offset {offset}");
        }
        // The idempotent producer repeats what it must, and nothing twice.
        let numbered = stored.iter().filter(|record| record.value != "after the loss");
        let values: Vec<_> = numbered.map(|record| &record.value).collect();
        assert_eq!(
            values.iter().collect::<BTreeSet<_>>().len(),
            values.len(),
            "{tp} has a record twice"
        );
    }
    log.shutdown().await.unwrap();
    drop(cluster);
}
