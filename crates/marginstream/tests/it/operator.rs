//! Operator commands.

use serde_json::{Value, json};

use crate::deployment::Deployment;
use crate::events::event;
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
