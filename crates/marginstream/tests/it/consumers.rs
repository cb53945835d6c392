//! Clients of others at the topics of a cluster: a producer and consumer in Python, and kcat. They know
//! what `docs` says, and nothing else.

use std::ffi::OsStr;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Command, Stdio};

use schemas::id::OrgId;
use schemas::topic;
use serde_json::{Value, json};

use crate::clients::python;
use crate::cluster::{Cluster, Shape};
use crate::deployment::Deployment;
use crate::events::{event, lines};
use crate::oracle::Oracle;
use crate::process::Process;
use crate::records::{record_value, wait_for};
use crate::server::run;

const NUM_WRITTEN: u64 = 90;
/// What `consumers.py` writes badly, by the reasons that it must get, in order.
const REASONS: [&str; 10] = [
    "idempotency_conflict",
    "invalid_value",
    "invalid_value",
    "schema_mismatch",
    "schema_mismatch",
    "undecodable",
    "undecodable",
    "unknown_content_type",
    "unknown_content_type",
    "unknown_content_type",
];

/// Sends an event through the API, and returns the organization that it belongs to.
fn send_first(cluster: &Cluster, oracle: &mut Oracle, first: &Value) -> OrgId {
    oracle.count(first);
    cluster.post_event(first).unwrap().expect(201);
    oracle.assert_shown_by(cluster);
    let org = cluster.sql("SELECT DISTINCT toString(org_id) AS org FROM cost_events")[0]["org"].clone();
    OrgId::parse_lenient(org.as_str().unwrap()).unwrap()
}

/// Runs `consumers.py`, and returns the lines that it prints.
fn run_script(python: &Path, arguments: &[&str], input: &[u8]) -> Vec<Value> {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it");
    let docs = tests.join("../../../../docs");
    let mut child = Command::new(python)
        .arg(tests.join("consumers.py"))
        .arg(arguments[0])
        .arg(docs)
        .args(&arguments[1..])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A script that ended early says more on standard error than a broken pipe does.
    child.stdin.take().unwrap().write_all(input).ok();
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {errors}", arguments[0]);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Returns the dead letters of the table, by key.
fn letters_in_table(cluster: &Cluster) -> Vec<Value> {
    cluster.sql(
        "SELECT concat(topic, ':', toString(log_partition), ':', toString(log_offset), ':', toString(row_index)) \
         AS key, toString(reason) AS reason, raw FROM dead_letters ORDER BY key",
    )
}

/// Asserts that no process ended, and that what comes next is counted.
fn assert_goes_on(cluster: &Cluster, oracle: &mut Oracle, next: &Value) {
    assert!(!cluster.ingest.has_ended(), "{}", cluster.log());
    assert!(
        !cluster.processors.iter().any(Process::has_ended),
        "{}",
        cluster.log()
    );
    oracle.count(next);
    cluster.post_event(next).unwrap().expect(201);
    oracle.assert_shown_by(cluster);
    cluster.assert_reconciled();
}

#[test]
fn a_python_client_writes_and_reads_the_topics() {
    const TEST: &str = "a_python_client_writes_and_reads_the_topics";
    let Some(python) = python(TEST) else { return };
    let Some(cluster) = Cluster::start(TEST, Shape::SMALL) else {
        return;
    };
    let mut oracle = Oracle::default();
    let first = event("consumers", 0);
    let org_id = send_first(&cluster, &mut oracle, &first);
    let streamed: Vec<Value> = (1..30).map(|index| event("consumers", index)).collect();
    streamed.iter().for_each(|event| oracle.count(event));
    cluster.stream(&lines(&streamed)).unwrap().expect(200);

    let written: Vec<Value> = (100..100 + NUM_WRITTEN)
        .map(|index| event("consumers", index))
        .collect();
    written.iter().for_each(|event| oracle.count(event));
    let mut conflict = first;
    conflict["costMicrodollars"] = json!(7_777_777);
    let bootstrap = cluster.kafka.bootstrap();
    let input = json!({"events": written, "conflict": conflict}).to_string();
    run_script(
        &python,
        &["write", &bootstrap, &org_id.0.to_string()],
        input.as_bytes(),
    );

    wait_for(
        &cluster,
        "SELECT toUInt64(sum(inserted)) AS inserted, toUInt64(sum(duplicates)) AS duplicates, \
         toUInt64(sum(dead_lettered)) AS dead_lettered FROM batches WHERE topic = 'cost-events'",
        &json!({"inserted": oracle.total.1, "duplicates": NUM_WRITTEN, "dead_lettered": REASONS.len()}),
    );
    oracle.assert_shown_by(&cluster);
    let table = letters_in_table(&cluster);
    let mut reasons: Vec<&str> = table
        .iter()
        .map(|letter| letter["reason"].as_str().unwrap())
        .collect();
    reasons.sort_unstable();
    assert_eq!(reasons, REASONS);

    // The events as JSON are the first one, which ingest wrote, and those of the script.
    let num_events = (NUM_WRITTEN + 1).to_string();
    let num_letters = REASONS.len().to_string();
    let mut in_topic = run_script(&python, &["read", &bootstrap, &num_events, &num_letters], b"");
    in_topic.sort_by_key(|letter| letter["key"].as_str().unwrap().to_owned());
    assert_eq!(in_topic, table);
    assert_goes_on(&cluster, &mut oracle, &event("consumers", 1_000));
}

/// Returns false where there is no kcat, which only CI does not forgive.
fn has_kcat(test: &str) -> bool {
    let is_there = Command::new("kcat").arg("-V").output().is_ok();
    if !is_there {
        assert!(std::env::var_os("CI").is_none(), "kcat is missing: install it");
        println!("SKIPPED {test}: install kcat (Debian: kcat), then run `make test`");
    }
    is_there
}

/// Runs kcat, and returns what it prints.
fn kcat(bootstrap: &str, arguments: &[&OsStr]) -> String {
    let mut command = Command::new("kcat");
    // No settings of the caller's.
    command.args(["-F", "/dev/null", "-q", "-b", bootstrap]);
    let output = run(command.args(arguments).stdin(Stdio::null()));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn kcat_writes_events_and_reads_dead_letters() {
    const TEST: &str = "kcat_writes_events_and_reads_dead_letters";
    if !has_kcat(TEST) {
        return;
    }
    let Some(cluster) = Cluster::start(TEST, Shape::SMALL) else {
        return;
    };
    let mut oracle = Oracle::default();
    let org_id = send_first(&cluster, &mut oracle, &event("kcat", 0));
    let bootstrap = cluster.kafka.bootstrap();
    let root = tempfile::tempdir().unwrap();
    let produce = |value: &str, headers: &[&[u8]]| {
        let path = root.path().join("value");
        std::fs::write(&path, value).unwrap();
        let mut arguments = ["-P", "-t", topic::COST_EVENTS].map(OsStr::new).to_vec();
        for header in headers {
            arguments.extend([OsStr::new("-H"), OsStr::from_bytes(header)]);
        }
        arguments.push(path.as_os_str());
        kcat(&bootstrap, &arguments);
    };

    let good = [event("kcat", 1), event("kcat", 2)];
    good.iter().for_each(|event| oracle.count(event));
    let json: &[u8] = b"content-type=application/json";
    produce(&record_value(org_id, &good[0]).to_string(), &[json]);
    produce("{\"event_id\": ", &[json]);
    // A name that is not UTF-8 hides neither the other headers nor the record.
    produce(
        &record_value(org_id, &good[1]).to_string(),
        &[b"\xff\xfe=1", json],
    );
    produce("these bytes have no content type", &[b"\xff\xfe=1"]);

    wait_for(
        &cluster,
        "SELECT toUInt64(sum(inserted)) AS inserted, toUInt64(sum(dead_lettered)) AS dead_lettered FROM batches \
         WHERE topic = 'cost-events'",
        &json!({"inserted": 3, "dead_lettered": 2}),
    );
    oracle.assert_shown_by(&cluster);
    let table = letters_in_table(&cluster);
    let mut shown: Vec<_> = table
        .iter()
        .map(|letter| {
            (
                letter["reason"].as_str().unwrap(),
                letter["raw"].as_str().unwrap(),
            )
        })
        .collect();
    shown.sort_unstable();
    assert_eq!(
        shown,
        [
            ("undecodable", "{\"event_id\": "),
            ("unknown_content_type", "these bytes have no content type"),
        ]
    );
    let consume = [
        "-C",
        "-t",
        topic::DEAD_LETTERS,
        "-o",
        "beginning",
        "-e",
        "-f",
        "%k %s\\n",
    ];
    let text = kcat(&bootstrap, &consume.map(OsStr::new));
    let mut in_topic: Vec<&str> = text.lines().collect();
    in_topic.sort_unstable();
    in_topic.dedup();
    let expected: Vec<String> = table
        .iter()
        .map(|letter| {
            format!(
                "{} {}",
                letter["key"].as_str().unwrap(),
                letter["raw"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(in_topic, expected);
    assert_goes_on(&cluster, &mut oracle, &event("kcat", 3));
}
