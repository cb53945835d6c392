//! Records that other producers wrote to the log: counted wherever they stand, or dead letters.

use std::path::Path;
use std::time::{Duration, Instant};

use event_log::{AppendRecord, EventLog, LocalLog, LocalLogConfig, TopicPartition, TopicSpec};
use schemas::dead_letter::DeadLetterHeaders;
use schemas::id::{EventId, OrgId};
use schemas::topic;
use serde_json::{Value, json};

use crate::deployment::Deployment;
use crate::events::{event, lines};
use crate::oracle::Oracle;
use crate::server::Site;

const PARTITIONS: u32 = 3;

/// Opens the log of a site that does not run; cost events have so many partitions.
fn open_log(data: &Path, partitions: u32) -> LocalLog {
    let spec = |name: &str, partitions| TopicSpec {
        name: name.to_owned(),
        partitions,
        retention_bytes: None,
        retention: None,
        waits_for_groups: true,
    };
    let topics = vec![
        spec(topic::COST_EVENTS, partitions),
        spec(topic::INVOICES, 1),
        spec(topic::DIMENSIONS, 1),
        spec(topic::DEAD_LETTERS, 1),
    ];
    LocalLog::open(LocalLogConfig::new(data.join("log"), topics)).unwrap()
}

/// Returns what the product would write for an event that the API accepted.
pub(crate) fn record_value(org_id: OrgId, event: &Value) -> Value {
    let text = |member: &str| event[member].as_str().unwrap();
    let id = EventId::derive(org_id, text("idempotencyKey"), text("provider"));
    let mut tags: Vec<(&str, &str)> = event["tags"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(key, value)| (&**key, value.as_str().unwrap()))
        .chain([("customer", text("customer"))])
        .collect();
    tags.sort_unstable();
    let now = chrono::Utc::now().format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
    json!({
        "event_id": id.to_string(), "request_id": text("idempotencyKey"), "org_id": org_id.to_string(),
        "api_key_id": null, "provider": text("provider"), "model": text("model"), "event_type": "llm",
        "source": "api", "input_tokens": event["inputTokens"], "output_tokens": event["outputTokens"],
        "cached_input_tokens": 0, "reasoning_tokens": 0, "cost_microdollars": event["costMicrodollars"],
        "cost_breakdown": null, "duration_ms": event["durationMs"], "session_id": text("sessionId"),
        "trace_id": "", "tool_name": "", "tool_server": "", "customer_id": text("customer"), "tags": tags,
        "created_at": now, "received_at": now,
    })
}

fn json_record(partition: u32, value: impl ToString) -> AppendRecord {
    AppendRecord {
        partition,
        key: "".into(),
        headers: vec![(topic::CONTENT_TYPE.to_owned(), topic::JSON.into())],
        value: value.to_string().into(),
    }
}

/// Waits until a query that yields one row yields this one.
pub(crate) fn wait_for(site: &impl Deployment, query: &str, expected: &Value) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while site.sql(query) != vec![expected.clone()] {
        assert!(
            Instant::now() < deadline,
            "{query}: {:?}\n{}",
            site.sql(query),
            site.log()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Copies of one event in several partitions, before and after the topic grew, count once.
#[test]
fn an_event_counts_once_in_whatever_partition_its_copies_stand() {
    let site = Site::started();
    let mut oracle = Oracle::default();
    let old: Vec<Value> = (0..60).map(|index| event("grown", index)).collect();
    old.iter().for_each(|event| oracle.count(event));
    site.stream(&lines(&old)).unwrap().expect(200);
    oracle.assert_shown_by(&site);
    let org = site.sql("SELECT DISTINCT toString(org_id) AS org FROM cost_events")[0]["org"].clone();
    let org_id = OrgId::parse_lenient(org.as_str().unwrap()).unwrap();
    site.stop();

    let new: Vec<Value> = (60..120).map(|index| event("grown", index)).collect();
    new.iter().for_each(|event| oracle.count(event));
    let log = open_log(&site.data, PARTITIONS);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let everywhere = old.iter().chain(&new).flat_map(|event| {
        (0..PARTITIONS).map(move |partition| json_record(partition, record_value(org_id, event)))
    });
    runtime
        .block_on(log.append(topic::COST_EVENTS, everywhere.collect()))
        .unwrap();
    runtime.block_on(log.shutdown()).unwrap();
    drop(log);

    site.start(&[("MARGINSTREAM_EVENT_LOG_PARTITIONS", "3")]);
    oracle.assert_shown_by(&site);
    // Every copy stands in its own partition once, and twice in others, from where it is moved.
    let books = "SELECT toUInt64(sum(moved)) AS moved, toUInt64(sum(inserted)) AS inserted FROM batches \
                 WHERE topic = 'cost-events'";
    wait_for(&site, books, &json!({"moved": 2 * 120, "inserted": 120}));
    let outcome = site
        .stream(&lines(old.iter().chain(&new)))
        .unwrap()
        .expect(200)
        .json();
    assert_eq!(outcome["data"]["duplicates"], 120);
    oracle.assert_shown_by(&site);
    site.assert_reconciled();
}

/// A badly written record is in the table once and in the topic, and what follows it is counted.
#[test]
fn badly_written_records_become_dead_letters_in_table_and_topic() {
    let site = Site::started();
    let mut oracle = Oracle::default();
    let good = event("letters", 1);
    oracle.count(&good);
    site.post_event(&good).unwrap().expect(201);
    oracle.assert_shown_by(&site);
    site.stop();

    let bad: [(&str, AppendRecord); 4] = [
        ("undecodable", json_record(0, "{\"event_id\": ")),
        ("schema_mismatch", json_record(0, json!({"event_id": 7}))),
        (
            "undecodable",
            AppendRecord {
                headers: vec![(topic::CONTENT_TYPE.to_owned(), topic::ARROW_STREAM.into())],
                ..json_record(0, "these bytes are no Arrow stream")
            },
        ),
        (
            "unknown_content_type",
            AppendRecord {
                headers: vec![],
                ..json_record(0, "<xml/>")
            },
        ),
    ];
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let log = open_log(&site.data, 1);
    let records = bad.iter().map(|(_, record)| record.clone()).collect();
    runtime.block_on(log.append(topic::COST_EVENTS, records)).unwrap();
    let invoice = json_record(0, "null and void");
    runtime
        .block_on(log.append(topic::INVOICES, vec![invoice]))
        .unwrap();
    runtime.block_on(log.shutdown()).unwrap();
    drop(log);

    site.start(&[]);
    let next = event("letters", 2);
    oracle.count(&next);
    site.post_event(&next).unwrap().expect(201);
    oracle.assert_shown_by(&site);
    wait_for(
        &site,
        "SELECT toUInt64(count()) AS n FROM dead_letters",
        &json!({"n": 5}),
    );
    let table = site.sql(
        "SELECT topic, log_partition, log_offset, row_index, toString(reason) AS reason, raw FROM dead_letters \
         ORDER BY topic, log_offset",
    );
    site.assert_reconciled();
    site.stop();

    let log = open_log(&site.data, 1);
    let letters = TopicPartition::new(topic::DEAD_LETTERS, 0);
    let records = runtime.block_on(async {
        let member = log.join("inspector", &[topic::DEAD_LETTERS]).await.unwrap();
        member
            .read(&letters, 0, usize::MAX, Duration::from_secs(10))
            .await
            .unwrap()
    });
    let mut in_topic: Vec<Value> = records
        .iter()
        .map(|record| {
            let headers = record.headers.iter().map(|(name, value)| (&**name, &**value));
            let headers = DeadLetterHeaders::decode(headers).unwrap();
            assert_eq!(record.key, headers.key().as_bytes());
            json!({
                "topic": headers.topic, "log_partition": headers.partition, "log_offset": headers.offset,
                "row_index": headers.row_index, "reason": headers.reason,
                "raw": String::from_utf8(record.value.to_vec()).unwrap(),
            })
        })
        .collect();
    in_topic.sort_by_key(|letter| (letter["topic"].to_string(), letter["log_offset"].as_u64()));
    assert_eq!(in_topic, table);
    let reasons: Vec<_> = table[..4]
        .iter()
        .map(|row| row["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons, bad.map(|(reason, _)| reason));
}
