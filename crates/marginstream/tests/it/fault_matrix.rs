//! Faults of the distributed deployment, one after the other, while a client sends and sends again:
//! every acknowledged event counts once. Prints the matrix.
//!
//! `MARGINSTREAM_SOAK_ROUNDS` repeats it all; `make soak` sets it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::clock::Clock;
use crate::cluster::{Cluster, Shape};
use crate::deployment::Deployment;
use crate::events::{Numbers, event, lines};
use crate::oracle::Oracle;
use crate::process::Process;

const EVENTS_PER_REQUEST: u64 = 120;
/// When a processor has not reached its point by then, the assignor gave it no partition with events; the
/// end of another member moves some.
const REBALANCE_AFTER: Duration = Duration::from_secs(20);

/// Every step of a processor at which it can be killed.
const PROCESSOR_POINTS: [&str; 12] = [
    "processor-before-intent",
    "processor-after-intent",
    "processor-prepared",
    "processor-between-inserts:1",
    "processor-between-inserts:2",
    "processor-between-inserts:3",
    "processor-between-inserts:4",
    "processor-between-inserts:5",
    "processor-between-inserts:6",
    "processor-between-inserts:7",
    "processor-dead-letters",
    "processor-after-commit",
];
const INGEST_POINTS: [&str; 2] = ["ingest-before-append", "ingest-after-append"];

/// One line of the matrix.
struct Row {
    fault: &'static str,
    times: usize,
    sent: u64,
    lost: u64,
    double: u64,
}

/// A cluster under load, and what it must show.
struct Trial {
    cluster: Cluster,
    oracle: Oracle,
    next: u64,
    numbers: Numbers,
    rows: Vec<Row>,
}

impl Trial {
    fn new(cluster: Cluster) -> Self {
        Self {
            cluster,
            oracle: Oracle::default(),
            next: 0,
            numbers: Numbers(7),
            rows: Vec::new(),
        }
    }

    /// Sends until `inject`, which brings the fault `times` times and mends it, has returned.
    fn run(&mut self, fault: &'static str, times: usize, inject: impl Fn(&Cluster, &mut Numbers) + Sync) {
        let started = Instant::now();
        let before = self.oracle.total.1;
        let is_done = AtomicBool::new(false);
        let mut numbers = Numbers(self.numbers.next());
        std::thread::scope(|scope| {
            let (cluster, is_done, inject) = (&self.cluster, &is_done, &inject);
            scope.spawn(move || {
                // Also when it panics: the load must not go on for ever.
                let _done = SetAtEnd(is_done);
                for _ in 0..times {
                    std::thread::sleep(Duration::from_millis(50 + numbers.below(400)));
                    inject(cluster, &mut numbers);
                }
            });
            while !is_done.load(Ordering::SeqCst) {
                send_some(cluster, &mut self.oracle, &mut self.next, &mut self.numbers);
                // Partitions that had nothing for a while are taken over and go on, too.
                if self.numbers.below(60) == 0 {
                    std::thread::sleep(Duration::from_millis(1_000 + self.numbers.below(1_000)));
                }
            }
        });
        send_some(&self.cluster, &mut self.oracle, &mut self.next, &mut self.numbers);
        self.settle(fault, times, before);
        println!(
            "{fault}: {times} times in {:.0} s",
            started.elapsed().as_secs_f64()
        );
    }

    /// Waits until all is counted, and compares.
    fn settle(&mut self, fault: &'static str, times: usize, before: u64) {
        let deadline = Instant::now() + Duration::from_secs(90);
        let (rows, distinct) = loop {
            let counted = self.rows_and_events();
            if counted.1 >= self.oracle.total.1 || Instant::now() > deadline {
                break counted;
            }
            std::thread::sleep(Duration::from_millis(50));
        };
        let row = Row {
            fault,
            times,
            sent: self.oracle.total.1 - before,
            lost: self.oracle.total.1.saturating_sub(distinct),
            double: rows - distinct,
        };
        let is_exact = row.lost == 0 && row.double == 0;
        self.note(row);
        if !is_exact {
            self.print();
            panic!("{fault}:\n{}", self.cluster.log());
        }
        // Rows alone do not show what roll-ups count.
        self.oracle.assert_shown_by(&self.cluster);
    }

    fn rows_and_events(&self) -> (u64, u64) {
        let query =
            "SELECT toUInt64(count()) AS n, toUInt64(uniqExact(event_id)) AS distinct FROM cost_events";
        let counted = &self.cluster.sql(query)[0];
        let number = |name: &str| counted[name].as_u64().unwrap();
        (number("n"), number("distinct"))
    }

    /// Adds to the line of the same fault, if there was a round before.
    fn note(&mut self, row: Row) {
        match self.rows.iter_mut().find(|before| before.fault == row.fault) {
            Some(before) => {
                before.times += row.times;
                before.sent += row.sent;
                before.lost += row.lost;
                before.double += row.double;
            }
            None => self.rows.push(row),
        }
    }

    fn print(&self) {
        println!(
            "{:<52} {:>6} {:>9} {:>6} {:>7}",
            "fault", "times", "sent", "lost", "double"
        );
        for row in &self.rows {
            println!(
                "{:<52} {:>6} {:>9} {:>6} {:>7}",
                row.fault, row.times, row.sent, row.lost, row.double
            );
        }
    }

    /// Prints the matrix; that nothing was lost or double was asserted after each fault.
    fn finish(self) {
        self.print();
        self.cluster.assert_reconciled();
    }
}

struct SetAtEnd<'a>(&'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Sends a stream that repeats events of the one before and of any age, and a conflicting copy of an
/// event that was acknowledged, until they are acknowledged.
fn send_some(cluster: &Cluster, oracle: &mut Oracle, next: &mut u64, numbers: &mut Numbers) {
    let start = next.saturating_sub(20);
    let mut sent: Vec<Value> = (start..*next + EVENTS_PER_REQUEST)
        .map(|index| event("matrix", index))
        .collect();
    if *next > 0 {
        let of_any_age = (0..20).map(|_| event("matrix", numbers.below(*next)));
        sent.extend(of_any_age.collect::<Vec<_>>());
        let mut conflict = sent[0].clone();
        conflict["costMicrodollars"] = json!(7_777_777);
        sent.push(conflict);
    }
    let body = lines(&sent);
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        match cluster.stream(&body) {
            Ok(answer) if answer.status == 200 => break,
            Ok(answer) => assert!(answer.status == 503, "{}", answer.text()),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
        assert!(
            Instant::now() < deadline,
            "no acknowledgement:\n{}",
            cluster.log()
        );
    }
    // The oracle keeps the first of an event, as the product must.
    sent.iter().for_each(|event| oracle.count(event));
    *next += EVENTS_PER_REQUEST;
}

fn rounds() -> usize {
    let rounds = std::env::var("MARGINSTREAM_SOAK_ROUNDS").ok();
    rounds.map_or(1, |rounds| rounds.parse().unwrap())
}

fn kill_and_start(process: &Process, numbers: &mut Numbers) {
    process.kill();
    std::thread::sleep(Duration::from_millis(numbers.below(300)));
    process.start();
}

/// Starts `process` so that it kills itself at `point`, waits until it has, and starts it whole.
fn kill_at(cluster: &Cluster, process: &Process, point: &str) {
    process.kill();
    process.launch(&[("MARGINSTREAM_CRASH_AT", point)]);
    let deadline = Instant::now() + Duration::from_secs(90);
    let mut next_move = Instant::now() + REBALANCE_AFTER;
    while !process.has_ended() {
        assert!(
            Instant::now() < deadline,
            "{point} was not reached:\n{}",
            cluster.log()
        );
        if Instant::now() > next_move {
            let is_other = |other: &&Process| !std::ptr::eq(*other, process);
            for other in cluster.processors.iter().filter(is_other) {
                other.kill();
                other.start();
            }
            next_move = Instant::now() + REBALANCE_AFTER;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    process.start();
}

#[test]
fn no_fault_of_a_cluster_loses_or_doubles_an_event() {
    let Some(cluster) = Cluster::start("no_fault_of_a_cluster_loses_or_doubles_an_event", Shape::SMALL)
    else {
        return;
    };
    let mut trial = Trial::new(cluster);
    for _ in 0..rounds() {
        kills(&mut trial);
        cuts(&mut trial);
    }
    trial.finish();
}

fn kills(trial: &mut Trial) {
    trial.run("ingest killed at random", 8, |cluster, numbers| {
        kill_and_start(&cluster.ingest, numbers);
    });
    for point in INGEST_POINTS {
        trial.run(point, 2, |cluster, numbers| {
            kill_at(
                cluster,
                &cluster.ingest,
                &format!("{point}:{}", 1 + numbers.below(5)),
            );
        });
    }
    trial.run("processor killed at random", 8, |cluster, numbers| {
        let processor = &cluster.processors[numbers.below(2) as usize];
        kill_and_start(processor, numbers);
    });
    for point in PROCESSOR_POINTS {
        trial.run(point, 2, |cluster, _| {
            kill_at(cluster, &cluster.processors[0], point)
        });
    }
    trial.run("ClickHouse killed at random", 6, |cluster, numbers| {
        kill_and_start(&cluster.clickhouse, numbers);
    });
    trial.run("broker killed at random", 4, |cluster, numbers| {
        cluster.kafka.kill_node(1);
        std::thread::sleep(Duration::from_millis(numbers.below(500)));
        cluster.kafka.start_node(1);
    });
    trial.run("all services and backends killed at once", 2, |cluster, _| {
        cluster.kafka.kill_node(1);
        cluster.clickhouse.kill();
        cluster.ingest.kill();
        cluster.processors.iter().for_each(Process::kill);
        cluster.kafka.start_node(1);
        cluster.clickhouse.start();
        cluster.ingest.launch(&[]);
        cluster
            .processors
            .iter()
            .for_each(|processor| processor.launch(&[]));
        assert!(cluster.ingest.wait_until_up());
    });
}

fn cuts(trial: &mut Trial) {
    for (fault, of) in [
        ("network cut: ingest, Kafka", 0),
        ("network cut: processors, Kafka", 1),
        ("network cut: ingest, ClickHouse", 2),
        ("network cut: processors, ClickHouse", 3),
        ("network cut: query API, ClickHouse", 4),
        ("network cut: ingest, Postgres", 5),
    ] {
        trial.run(fault, 2, |cluster, numbers| {
            let network = &cluster.network;
            let proxies = [
                &network.ingest_kafka,
                &network.processor_kafka,
                &network.ingest_clickhouse,
                &network.processor_clickhouse,
                &network.query_clickhouse,
                &network.ingest_postgres,
            ];
            // Once refused, once without a sign.
            if numbers.below(2) == 0 {
                proxies[of].cut();
            } else {
                proxies[of].silence();
            }
            std::thread::sleep(Duration::from_millis(500 + numbers.below(3_000)));
            proxies[of].mend();
        });
    }
    trial.run("insert done, answer lost", 6, |cluster, numbers| {
        cluster.network.processor_clickhouse.lose_answers();
        std::thread::sleep(Duration::from_millis(300 + numbers.below(500)));
        cluster.network.processor_clickhouse.mend();
    });
    trial.run(
        "processor stopped within an insert, past its session",
        2,
        |cluster, _| {
            // Its insert waits in the network; the other processor takes over meanwhile.
            cluster.network.processor_clickhouse.silence();
            std::thread::sleep(Duration::from_millis(600));
            cluster.processors[0].signal("STOP");
            cluster.network.processor_clickhouse.mend();
            std::thread::sleep(Duration::from_secs(6));
            cluster.processors[0].signal("CONT");
            std::thread::sleep(Duration::from_secs(1));
        },
    );
    trial.run("processor stopped past its session", 2, |cluster, numbers| {
        let processor = &cluster.processors[numbers.below(2) as usize];
        processor.signal("STOP");
        std::thread::sleep(Duration::from_secs(6));
        processor.signal("CONT");
        std::thread::sleep(Duration::from_secs(1));
    });
}

#[test]
fn a_lost_broker_of_three_loses_nothing() {
    let shape = Shape {
        brokers: 3,
        ..Shape::SMALL
    };
    let Some(cluster) = Cluster::start("a_lost_broker_of_three_loses_nothing", shape) else {
        return;
    };
    let mut trial = Trial::new(cluster);
    for _ in 0..rounds() {
        trial.run("one broker of three lost", 3, |cluster, numbers| {
            let node = 1 + numbers.below(3) as u32;
            cluster.kafka.kill_node(node);
            std::thread::sleep(Duration::from_millis(1_000 + numbers.below(3_000)));
            cluster.kafka.start_node(node);
        });
    }
    trial.finish();
}

#[test]
fn a_jumping_clock_of_the_services_loses_nothing() {
    let Some(cluster) = Cluster::prepare("a_jumping_clock_of_the_services_loses_nothing", Shape::SMALL)
    else {
        return;
    };
    let clock = Clock::build();
    let variables = clock.variables();
    let variables = [
        (variables[0].0, variables[0].1.as_str()),
        (variables[1].0, variables[1].1.as_str()),
    ];
    clock.set_hours(-2);
    // The query API keeps the real time: it asks for times up to now.
    cluster.query_api.launch(&[]);
    cluster.ingest.launch(&variables);
    cluster
        .processors
        .iter()
        .for_each(|processor| processor.launch(&variables));
    for process in [&cluster.query_api, &cluster.ingest]
        .into_iter()
        .chain(&cluster.processors)
    {
        assert!(process.wait_until_up(), "{}", cluster.log());
    }
    let mut trial = Trial::new(cluster);
    // Back and forth by hours, and killed on the way, too.
    trial.run("clock of ingest and processors jumps", 8, |cluster, numbers| {
        clock.set_hours(-1 - numbers.below(40).cast_signed());
        if numbers.below(3) == 0 {
            let processor = &cluster.processors[numbers.below(2) as usize];
            processor.kill();
            processor.launch(&variables);
        }
        std::thread::sleep(Duration::from_millis(400 + numbers.below(800)));
    });
    trial.finish();
}

/// Mounts a file system of a few hundred megabytes; none where the user may not.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    fn mount(at: &std::path::Path, megabytes: u32) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let mounted = std::process::Command::new("mount")
            .args([
                "-t",
                "tmpfs",
                "-o",
                &format!("size={megabytes}m,mode=700"),
                "tmpfs",
            ])
            .arg(at)
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then(|| Self(at.to_path_buf()))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status()
            .ok();
    }
}

#[test]
fn a_full_disk_of_the_warehouse_loses_nothing() {
    const NAME: &str = "a_full_disk_of_the_warehouse_loses_nothing";
    let root = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&root.path().join("data"), 400) else {
        println!("SKIPPED {NAME}: mounting a tmpfs needs root");
        return;
    };
    let Some(cluster) = Cluster::prepare_on(NAME, Shape::SMALL, &disk.0) else {
        return;
    };
    cluster.start_services();
    let mut trial = Trial::new(cluster);
    trial.run("disk of ClickHouse full", 2, |_, numbers| {
        let ballast = disk.0.join("ballast");
        let mut file = std::fs::File::create(&ballast).unwrap();
        let block = vec![7_u8; 1 << 20];
        while std::io::Write::write_all(&mut file, &block).is_ok() {}
        drop(file);
        std::thread::sleep(Duration::from_millis(1_500 + numbers.below(1_500)));
        std::fs::remove_file(&ballast).unwrap();
        std::thread::sleep(Duration::from_secs(1));
    });
    trial.finish();
}
