//! Operator commands.

use schemas::id::OrgId;
use serde_json::{Value, json};

use crate::deployment::Deployment;
use crate::events::{event, lines};
use crate::metrics::Scrape;
use crate::oracle::Oracle;
use crate::records::record_value;
use crate::server::{Site, marginstream, run};

#[test]
fn bootstrap_works_while_the_server_runs_and_prints_what_scripts_read() {
    let site = Site::started();
    let output = site.command(
        &[
            "admin",
            "bootstrap",
            "--org",
            "Second",
            "--email",
            "two@acme.test",
            "--json",
        ],
        &[],
    );
    let owner: Value = serde_json::from_slice(&output.stdout).unwrap();
    let members: Vec<_> = owner.as_object().unwrap().keys().cloned().collect();
    assert_eq!(members, ["apiKey", "email", "orgId", "password"]);
    assert!(owner["orgId"].as_str().unwrap().starts_with("ns_org_"));
    assert!(owner["apiKey"].as_str().unwrap().starts_with("ns_live_sk_"));
    let headers = [
        ("X-NullSpend-Key", owner["apiKey"].as_str().unwrap()),
        ("Content-Type", "application/json"),
    ];
    let body = event("second", 1).to_string();
    crate::http::send(site.listen, "POST", "/api/cost-events", &headers, body.as_bytes())
        .unwrap()
        .expect(201);
    // The first organization does not see it.
    let cookie = site.sign_in();
    site.wait_for_rows(1);
    assert_eq!(
        site.get(&cookie, "/api/cost-events").expect(200).json()["data"],
        json!([])
    );
}

#[test]
fn reconcile_finds_and_repairs_what_was_damaged() {
    let site = Site::started();
    for index in 0..20 {
        site.post_event(&event("repair", index)).unwrap().expect(201);
    }
    site.wait_for_rows(20);
    site.assert_reconciled();
    let before = site.sql("SELECT sum(cost_microdollars) AS cost FROM cost_by_hour");
    service_sql(
        &site,
        "INSERT INTO cost_by_hour (org_id, hour, customer_id, cost_microdollars, requests) \
        SELECT any(org_id), now(), 'intruder', 5, 1 FROM cost_events",
    );
    let found = site.command(&["reconcile"], &[]);
    assert_eq!(
        found.status.code(),
        Some(3),
        "{}",
        String::from_utf8_lossy(&found.stdout)
    );
    let repaired = site.command(&["reconcile", "--repair"], &[]);
    assert!(
        repaired.status.success(),
        "{}",
        String::from_utf8_lossy(&repaired.stderr)
    );
    site.assert_reconciled();
    assert_eq!(
        site.sql("SELECT sum(cost_microdollars) AS cost FROM cost_by_hour"),
        before
    );
    // And while no server runs.
    site.stop();
    site.assert_reconciled();
}

#[test]
fn replay_rebuilds_what_was_damaged() {
    let site = Site::started();
    let mut oracle = Oracle::default();
    for index in 0..300 {
        oracle.count(&event("replay", index));
    }
    let events: Vec<Value> = (0..300).map(|index| event("replay", index)).collect();
    site.stream(&lines(&events)).unwrap().expect(200);
    oracle.assert_shown_by(&site);
    let damage = |site: &Site| {
        for table in ["cost_by_hour", "cost_by_tag_day", "cost_by_customer_month"] {
            service_sql(site, &format!("TRUNCATE TABLE {table}"));
        }
        service_sql(
            site,
            "INSERT INTO cost_by_hour (org_id, hour, customer_id, cost_microdollars, requests) \
             SELECT any(org_id), now(), 'intruder', 5, 1 FROM cost_events",
        );
    };
    damage(&site);
    let replayed = site.command(&["replay"], &[]);
    let printed = String::from_utf8_lossy(&replayed.stdout);
    assert!(
        replayed.status.success() && printed.contains("cost_by_tag_day"),
        "{printed}"
    );
    oracle.assert_shown_by(&site);
    // The rebuilt tables go on to be filled, and know their tokens after a restart.
    let more = event("replay", 300);
    oracle.count(&more);
    site.post_event(&more).unwrap().expect(201);
    oracle.assert_shown_by(&site);
    damage(&site);
    site.kill();
    let replayed = site.command(&["replay", "--json"], &[]);
    assert!(
        replayed.status.success(),
        "{}",
        String::from_utf8_lossy(&replayed.stderr)
    );
    site.assert_reconciled();
    site.start(&[]);
    oracle.assert_shown_by(&site);
}

#[test]
fn dead_letters_are_listed_shown_and_sent_again() {
    let site = Site::started();
    let first = event("letters", 1);
    site.post_event(&first).unwrap().expect(201);
    site.wait_for_rows(1);
    // Two records that an older program could not read; one of them this one can.
    let org = site.sql("SELECT toString(any(org_id)) AS org FROM cost_events")[0]["org"].clone();
    let org_id = OrgId::parse_lenient(org.as_str().unwrap()).unwrap();
    let readable = record_value(org_id, &event("letters", 2))
        .to_string()
        .replace('\'', "''");
    for (offset, raw) in [(7, readable.as_str()), (8, "{\"event_id\": ")] {
        service_sql(
            &site,
            &format!(
                "INSERT INTO dead_letters (topic, log_partition, log_offset, row_index, reason, detail, content_type, \
                 raw, received_at) VALUES ('cost-events', 0, {offset}, 0, 'undecodable', 'of old', 'application/json', \
                 '{raw}', now64(3))"
            ),
        );
    }
    let list = |arguments: &[&str]| -> Vec<Value> {
        let output = site.command(&[&["dead-letters", "list", "--json"], arguments].concat(), &[]);
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    };
    assert_eq!(list(&[]).len(), 2);
    assert_eq!(list(&["--reason", "invalid_value"]).len(), 0);
    assert_eq!(list(&["cost-events:0:8:0"])[0]["raw"], "{\"event_id\": ");
    let shown = site.command(&["dead-letters", "show", "cost-events:0:8:0"], &[]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("{\"event_id\": "));
    let table = site.command(&["dead-letters", "list"], &[]);
    assert!(String::from_utf8_lossy(&table.stdout).contains("cost-events:0:7:0"));

    let redriven = site.command(&["dead-letters", "redrive"], &[]);
    assert_eq!(
        String::from_utf8_lossy(&redriven.stdout).trim(),
        "2 dead letters were sent through the log again"
    );
    site.wait_for_rows(2);
    // The unreadable one is a dead letter again, in its new place.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    while list(&[]).len() != 1 {
        assert!(std::time::Instant::now() < deadline, "{:?}", list(&[]));
    }
    assert_eq!(list(&["--with-redriven"]).len(), 3);
    let again = site.command(&["dead-letters", "redrive", "cost-events:0:7:0"], &[]);
    assert!(String::from_utf8_lossy(&again.stdout).starts_with("0 dead letters"));
    site.assert_reconciled();
}

/// Lists an event's copy with other content, and fills the table beyond what may stay with older rows.
#[test]
fn the_oldest_dead_letters_go_where_there_are_too_many() {
    const MAX_BYTES: u64 = 1 << 20;
    let site = Site::started();
    let (first, mut copy) = (event("kept", 1), event("kept", 1));
    site.post_event(&first).unwrap().expect(201);
    copy["costMicrodollars"] = json!(4_000_000);
    site.post_event(&copy).unwrap().expect(200);
    let count = |of: &str| -> u64 {
        let query = format!("SELECT toUInt64(count()) AS n FROM dead_letters WHERE {of}");
        site.sql(&query)[0]["n"].as_u64().unwrap()
    };
    wait_until(&site, || count("reason = 'idempotency_conflict'") == 1);
    service_sql(
        &site,
        "INSERT INTO dead_letters (topic, log_partition, log_offset, row_index, reason, detail, raw, received_at) \
         SELECT 'cost-events', 0, 1000 - number, 0, 'undecodable', 'of old', randomString(10000), \
             now64(3) - INTERVAL 1 DAY + toIntervalMillisecond(number) FROM numbers(200)",
    );
    // The default limit is far away.
    let dropped = |scrape: &Scrape| scrape.sum("marginstream_processor_dead_letters_dropped_rows_total", &[]);
    let bytes = |scrape: &Scrape| scrape.sum("marginstream_processor_dead_letters_table_bytes", &[]);
    site.stop();
    site.start(&[]);
    wait_until(&site, || bytes(&Scrape::of(&site)) > MAX_BYTES);
    assert_eq!((dropped(&Scrape::of(&site)), count("true")), (0, 201));
    site.stop();

    site.start(&[("MARGINSTREAM_DEAD_LETTERS_MAX_BYTES", &MAX_BYTES.to_string())]);
    wait_until(&site, || (1..MAX_BYTES).contains(&bytes(&Scrape::of(&site))));
    let kept = count("reason = 'undecodable'");
    assert!((60..80).contains(&kept), "{kept} of 200 were kept");
    assert_eq!(dropped(&Scrape::of(&site)), 200 - kept);
    // Of the old ones the newest are kept, which have the lowest offsets, and what is newer than those.
    assert_eq!(
        count(&format!("reason = 'undecodable' AND log_offset < 801 + {kept}")),
        kept
    );
    assert_eq!(count("reason = 'idempotency_conflict'"), 1);
    assert!(
        site.log().contains("dead letters are over their limit"),
        "{}",
        site.log()
    );
    site.assert_reconciled();
}

fn wait_until(site: &Site, mut holds: impl FnMut() -> bool) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(30);
    while !holds() {
        assert!(std::time::Instant::now() < deadline, "{}", site.log());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
}

fn service_sql(site: &Site, query: &str) {
    let password = std::fs::read_to_string(site.data.join("clickhouse-service.password")).unwrap();
    let headers = [
        ("X-ClickHouse-User", "service"),
        ("X-ClickHouse-Key", password.trim()),
    ];
    crate::http::send(site.clickhouse, "POST", "/", &headers, query.as_bytes())
        .unwrap()
        .expect(200);
}

#[test]
fn the_demo_ends_with_a_margin_table() {
    let root = tempfile::tempdir().unwrap();
    let output = run(marginstream()
        .args(["demo", "--events", "5000"])
        .env("TMPDIR", root.path()));
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{text}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(text.contains("critical") && text.contains("healthy"), "{text}");
    assert!(
        !text.contains('\u{1b}'),
        "no colours where the output is no terminal: {text}"
    );
}
