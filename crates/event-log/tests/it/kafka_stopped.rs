//! A member whose process is stopped past its session, and woken when others have moved on.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use marginstream_event_log::{Committed, EventLog, KafkaLog, LogError, TopicPartition};

use crate::kafka_cluster::{KafkaCluster, config};
use crate::support::{LONG, epoch, read_until, record, topic};

const CHILD: &str = "MARGINSTREAM_TEST_KAFKA_CHILD";

/// A process with one member, which does what it is told.
struct Member {
    process: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Member {
    fn start(brokers: &str, topic: &str, group: &str) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "kafka_stopped::obeys_its_parent",
                "--ignored",
                "--nocapture",
            ])
            .env(CHILD, format!("{brokers} {topic} {group}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            commands: process.stdin.take().unwrap(),
            answers: BufReader::new(process.stdout.take().unwrap()).lines(),
            process,
        }
    }

    fn tell(&mut self, command: &str) {
        self.commands
            .write_all(format!("{command}\n").as_bytes())
            .unwrap();
    }

    /// Returns the next answer, which stands behind the harness's own words.
    fn answer(&mut self) -> String {
        let mut lines = self.answers.by_ref().map(Result::unwrap);
        let answer = lines.find_map(|line| line.split_once("answer: ").map(|(_, answer)| answer.to_owned()));
        answer.expect("the child has ended")
    }

    fn signal(&self, signal: &str) {
        let id = self.process.id().to_string();
        assert!(
            Command::new("kill")
                .args([signal, &id])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn committed(offset: u64, metadata: &str) -> Committed {
    Committed {
        offset,
        metadata: metadata.to_owned(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_woken_member_cannot_commit_what_another_owns() {
    wake(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_woken_member_cannot_commit_over_one_that_came_and_went() {
    wake(true).await;
}

/// Stops a member past its session, lets another take over, and wakes the first in the middle of a batch.
/// If `is_empty`, the other has left by then, so that the group has no member at all.
async fn wake(is_empty: bool) {
    let Some(cluster) = KafkaCluster::from_env() else {
        return;
    };
    let (t, g) = (&*cluster.name("t"), &*cluster.name("g"));
    let log = KafkaLog::open(cluster.config(vec![topic(t, 1)])).await.unwrap();
    log.append(t, (0..10).map(|number| record(0, vec![number])).collect())
        .await
        .unwrap();
    let tp = TopicPartition::new(t, 0);
    let mut stopped = Member::start(&cluster.brokers, t, g);
    stopped.tell("own");
    assert_eq!(stopped.answer(), "1");
    stopped.tell("commit 1 2 intent");
    assert_eq!(stopped.answer(), "ok");
    stopped.signal("-STOP");

    // The coordinator gives the partition away when the session is over.
    let other = log.join(g, &[t]).await.unwrap();
    let owned = epoch(&*other, &tp).await;
    assert_eq!(other.committed(&tp).await.unwrap(), Some(committed(2, "intent")));
    assert_eq!(read_until(&*other, &tp, 2, 10).await.len(), 8);
    other.commit(&tp, owned, 7, "taken over").await.unwrap();
    let mut other = Some(other);
    if is_empty {
        other = None;
        let empty = KafkaLog::open(cluster.config(vec![topic(t, 1)])).await.unwrap();
        log.shutdown().await.unwrap();
        assert_eq!(
            empty.position(g, &tp).await.unwrap().committed,
            Some(committed(7, "taken over"))
        );
    }

    // Told before it wakes: the batch in hand goes on before the client hears that its session is over.
    for number in 0..20 {
        stopped.tell(&format!("commit 1 {} stale", 3 + number % 5));
    }
    stopped.signal("-CONT");
    for _ in 0..20 {
        let answer = stopped.answer();
        assert_eq!(answer, "fenced");
    }
    let watcher = KafkaLog::open(cluster.config(vec![topic(t, 1)])).await.unwrap();
    let position = watcher.position(g, &tp).await.unwrap();
    assert_eq!(position.committed, Some(committed(7, "taken over")));

    // It joins again by itself. When the partition is its own again the old epoch stays fenced.
    drop(other);
    stopped.tell("own");
    let again: u64 = stopped.answer().parse().unwrap();
    assert!(again > 1, "the epoch is {again}");
    stopped.tell("commit 1 4 stale");
    assert_eq!(stopped.answer(), "fenced");
    assert_eq!(
        watcher.position(g, &tp).await.unwrap().committed,
        Some(committed(7, "taken over"))
    );
    stopped.tell(&format!("commit {again} 9 own"));
    assert_eq!(stopped.answer(), "ok");
    assert_eq!(
        watcher.position(g, &tp).await.unwrap().committed,
        Some(committed(9, "own"))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child process of a_woken_member_cannot_commit_what_another_owns"]
async fn obeys_its_parent() {
    let Ok(place) = std::env::var(CHILD) else { return };
    let [brokers, t, g] = place.split(' ').collect::<Vec<_>>()[..] else {
        panic!("{CHILD} is {place:?}");
    };
    let log = KafkaLog::open(config(brokers, vec![topic(t, 1)])).await.unwrap();
    let member = log.join(g, &[t]).await.unwrap();
    let tp = TopicPartition::new(t, 0);
    for command in std::io::stdin().lines() {
        let command = command.unwrap();
        let answer = match command.split(' ').collect::<Vec<_>>()[..] {
            ["own"] => own(&*member, &tp).await.to_string(),
            ["commit", epoch, offset, metadata] => {
                let (epoch, offset) = (epoch.parse().unwrap(), offset.parse().unwrap());
                match member.commit(&tp, epoch, offset, metadata).await {
                    Ok(()) => "ok".to_owned(),
                    Err(LogError::Fenced { .. }) => "fenced".to_owned(),
                    Err(error) => format!("{error:?}"),
                }
            }
            _ => panic!("told {command:?}"),
        };
        println!("answer: {answer}");
    }
}

/// Waits until the partition is owned and stays so: right after it woke the member may not know yet.
async fn own(member: &dyn marginstream_event_log::GroupMember, tp: &TopicPartition) -> u64 {
    let deadline = Instant::now() + 2 * LONG;
    loop {
        let owned = epoch(member, tp).await;
        let read = member.read(tp, 2, 1000, Duration::ZERO).await;
        if read.is_ok() && member.assignment().borrow().get(tp) == Some(&owned) {
            return owned;
        }
        assert!(Instant::now() < deadline, "{read:?}");
    }
}
