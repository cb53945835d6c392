//! What operators do with a cluster: adding partitions, reconciling, rebuilding, dead letters.

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions};
use rdkafka::client::DefaultClientContext;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Shape};
use crate::deployment::Deployment;
use crate::events::{event, lines};
use crate::oracle::Oracle;
use crate::server::run;

/// Sends events, some of them again, and counts them.
fn send(cluster: &Cluster, oracle: &mut Oracle, indices: std::ops::Range<u64>) {
    let events: Vec<Value> = indices.map(|index| event("operations", index)).collect();
    events.iter().for_each(|event| oracle.count(event));
    let body = lines(events.iter().chain(events.iter().take(10)));
    cluster.stream(&body).unwrap().expect(200);
}

/// Runs an operator's command, and returns its exit code and what it printed.
fn operate(cluster: &Cluster, arguments: &[&str]) -> (Option<i32>, String) {
    let output = run(&mut cluster.command(arguments));
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}

fn add_partitions(cluster: &Cluster, total: usize) {
    let admin: AdminClient<DefaultClientContext> = ClientConfig::new()
        .set("bootstrap.servers", cluster.kafka.bootstrap())
        .create()
        .unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let more = NewPartitions::new("cost-events", total);
    let outcome = runtime
        .block_on(admin.create_partitions([&more], &AdminOptions::new()))
        .unwrap();
    outcome.into_iter().for_each(|topic| {
        topic.unwrap();
    });
}

#[test]
fn partitions_are_added_while_everything_runs() {
    let Some(cluster) = Cluster::start("partitions_are_added_while_everything_runs", Shape::SMALL) else {
        return;
    };
    let mut oracle = Oracle::default();
    send(&cluster, &mut oracle, 0..500);
    add_partitions(&cluster, 5);
    // Ingest spreads events as before, whether it was started before or after.
    send(&cluster, &mut oracle, 400..1_000);
    cluster.ingest.kill();
    cluster.ingest.start();
    send(&cluster, &mut oracle, 900..1_500);
    oracle.assert_shown_by(&cluster);

    let (code, refused) = operate(&cluster, &["log", "use-partitions"]);
    assert_eq!(code, Some(2), "{refused}");
    assert!(refused.contains("processors run"), "{refused}");
    cluster.processors.iter().for_each(|processor| processor.stop());
    send(&cluster, &mut oracle, 1_400..2_000);
    let (code, done) = operate(&cluster, &["log", "use-partitions"]);
    assert_eq!(code, Some(0), "{done}");
    assert!(done.contains("5 partitions"), "{done}");
    // What the old ingest still spreads over three partitions is moved.
    send(&cluster, &mut oracle, 1_900..2_500);
    cluster.processors.iter().for_each(|processor| processor.start());
    cluster.ingest.kill();
    cluster.ingest.start();
    send(&cluster, &mut oracle, 0..3_000);
    oracle.assert_shown_by(&cluster);
    let used = cluster.sql(
        "SELECT toUInt64(uniqExact(log_partition)) AS partitions, toUInt64(sum(moved)) > 0 AS has_moved \
         FROM batches WHERE topic = 'cost-events'",
    );
    assert_eq!(used, vec![json!({"partitions": 5, "has_moved": 1})]);
    cluster.assert_reconciled();
}

#[test]
fn roll_ups_are_rebuilt_and_repaired_while_no_processor_runs() {
    let Some(cluster) = Cluster::start(
        "roll_ups_are_rebuilt_and_repaired_while_no_processor_runs",
        Shape::SMALL,
    ) else {
        return;
    };
    let mut oracle = Oracle::default();
    send(&cluster, &mut oracle, 0..1_000);
    oracle.assert_shown_by(&cluster);
    for command in [&["replay"][..], &["reconcile", "--repair"]] {
        let (code, refused) = operate(&cluster, command);
        assert_eq!(code, Some(2), "{refused}");
        assert!(refused.contains("processors run"), "{refused}");
    }
    // One is killed in the middle of a batch, which the command completes first.
    cluster.processors[0].kill();
    cluster.processors[1].kill();
    cluster.processors[0].launch(&[("MARGINSTREAM_CRASH_AT", "processor-between-inserts:3")]);
    send(&cluster, &mut oracle, 1_000..2_000);
    while !cluster.processors[0].has_ended() {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    // The group must have noticed that its members are dead.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let (mut code, mut replayed) = operate(&cluster, &["replay", "--json"]);
    while code == Some(2) && std::time::Instant::now() < deadline {
        std::thread::sleep(std::time::Duration::from_millis(500));
        (code, replayed) = operate(&cluster, &["replay", "--json"]);
    }
    assert_eq!(code, Some(0), "{replayed}");
    assert!(replayed.contains("cost_by_hour"), "{replayed}");
    oracle.assert_shown_by(&cluster);
    let (code, report) = operate(&cluster, &["reconcile", "--repair"]);
    assert_eq!(code, Some(0), "{report}");
    cluster.processors.iter().for_each(|processor| processor.start());
    send(&cluster, &mut oracle, 1_900..2_100);
    oracle.assert_shown_by(&cluster);
    cluster.assert_reconciled();
}
