//! Revenue and cost, joined: the table, its CSV, and what invoices do to it.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::deployment::Deployment;
use crate::events::event;
use crate::server::Site;

/// Midnight of a day in the current month and the two before would depend on the date; so all
/// events are dated now, and all invoices in this month.
fn now_secs() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn invoice(id: &str, customer: &str, cents: i64, status: &str) -> Value {
    json!({"id": id, "object": "invoice", "customer": customer, "customer_name": format!("{customer} Inc"),
           "amount_paid": cents, "currency": "usd", "status": status, "created": now_secs()})
}

fn import(site: &Site, name: &str, content: &str) -> std::process::Output {
    let file = site.data.with_file_name(name);
    fs::write(&file, content).unwrap();
    site.command(&["invoices", "import"], &[&file])
}

/// Reads the table until `summary.totalRevenueMicrodollars` is `revenue`.
fn table_with_revenue(site: &Site, cookie: &str, revenue: i64) -> Value {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let table = site.get(cookie, "/api/margins").expect(200).json()["data"].clone();
        if table["summary"]["totalRevenueMicrodollars"] == json!(revenue) {
            return table;
        }
        assert!(Instant::now() < deadline, "revenue is not {revenue}: {table}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn spend(site: &Site, customer: &str, cost: i64) {
    let mut spent = event(customer, 1);
    spent["customer"] = json!(customer);
    spent["costMicrodollars"] = json!(cost);
    site.post_event(&spent).unwrap().expect(201);
}

#[test]
fn shows_what_each_customer_earned_and_cost() {
    let site = Site::started();
    let cookie = site.sign_in();
    for (tag, stripe) in [
        ("globex", "cus_1"),
        ("initech", "cus_2"),
        ("=hooli", "cus_3"),
        ("ghost", "cus_4"),
    ] {
        site.map(&cookie, tag, stripe);
    }
    spend(&site, "globex", 70_000_000);
    spend(&site, "initech", 10_000_000);
    spend(&site, "=hooli", 1);
    spend(&site, "unmapped", 99_000_000);
    let list = json!({"object": "list", "data": [
        invoice("in_1", "cus_1", 5_000, "paid"),
        invoice("in_2", "cus_2", 4_000, "paid"),
        invoice("in_3", "cus_9", 9_999, "paid"),
        invoice("in_4", "cus_2", 9_999, "open"),
    ]});
    let output = import(&site, "list.json", &list.to_string());
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );

    site.wait_for_rows(4);
    let table = table_with_revenue(&site, &cookie, 90_000_000);
    let rows: Vec<Value> = table["customers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| {
            json!([
                row["tagValue"],
                row["customerName"],
                row["marginPercent"],
                row["healthTier"],
                row["budgetSuggestionMicrodollars"]
            ])
        })
        .collect();
    assert_eq!(
        json!(rows),
        json!([
            ["globex", "cus_1 Inc", -40, "critical", 25_000_000],
            ["=hooli", null, 0, "critical", null],
            ["initech", "cus_2 Inc", 75, "healthy", null],
        ])
    );
    assert_eq!(
        table["summary"],
        json!({
            "blendedMarginPercent": 11.11, "totalRevenueMicrodollars": 90_000_000, "totalCostMicrodollars": 80_000_001,
            "criticalCount": 2, "atRiskCount": 0, "lastSyncAt": null, "syncStatus": "disconnected", "skippedCurrencies": null,
        })
    );
    let csv = site.get(&cookie, "/api/margins?format=csv").expect(200);
    assert_eq!(
        csv.text(),
        "Customer,Stripe ID,Tag Value,Revenue ($),Cost ($),Margin (%),Margin ($),Health Tier\n\
        cus_1 Inc,cus_1,globex,50.00,70.00,-40.00,-20.00,critical\n\
        '=hooli,cus_3,'=hooli,0.00,0.00,0.00,0.00,critical\n\
        cus_2 Inc,cus_2,initech,40.00,10.00,75.00,30.00,healthy"
    );
    let view = site.sql("SELECT customer_id, revenue_microdollars AS r, cost_microdollars AS c, toString(margin_percent) AS p, health_tier AS t \
        FROM customer_period_margins ORDER BY customer_id");
    assert_eq!(
        json!(view),
        json!([
            {"customer_id": "=hooli", "r": 0, "c": 1, "p": "0", "t": "critical"},
            {"customer_id": "globex", "r": 50_000_000, "c": 70_000_000, "p": "-40", "t": "critical"},
            {"customer_id": "initech", "r": 40_000_000, "c": 10_000_000, "p": "75", "t": "healthy"},
        ])
    );
    site.assert_reconciled();
}

#[test]
fn the_last_state_of_an_invoice_wins() {
    let site = Site::started();
    let cookie = site.sign_in();
    site.map(&cookie, "globex", "cus_1");
    site.map(&cookie, "acme", "cus_2");
    let line = |invoice: Value| format!("{invoice}\n");
    let both = line(invoice("in_1", "cus_1", 1_000, "paid")) + &line(invoice("in_2", "cus_1", 2_000, "paid"));
    for _ in 0..2 {
        assert!(import(&site, "both.ndjson", &both).status.success());
        table_with_revenue(&site, &cookie, 30_000_000);
    }
    assert!(
        import(
            &site,
            "void.ndjson",
            &line(invoice("in_1", "cus_1", 1_000, "void"))
        )
        .status
        .success()
    );
    table_with_revenue(&site, &cookie, 20_000_000);
    let moved = line(invoice("in_2", "cus_1", 7, "open")) + &line(invoice("in_2", "cus_2", 2_500, "paid"));
    assert!(import(&site, "moved.ndjson", &moved).status.success());
    let table = table_with_revenue(&site, &cookie, 25_000_000);
    assert_eq!(table["customers"].as_array().unwrap().len(), 1);
    let deleted = json!({"id": "in_2", "object": "invoice", "deleted": true});
    assert!(
        import(&site, "deleted.json", &json!([deleted]).to_string())
            .status
            .success()
    );
    table_with_revenue(&site, &cookie, 0);
    site.assert_reconciled();
}

#[test]
fn broken_invoices_are_named_and_the_rest_go_in() {
    // No server runs: the command takes the data directory itself.
    let site = Site::new();
    let mut broken = invoice("in_2", "cus_1", 1, "paid");
    broken["amount_paid"] = json!("12");
    let list = json!([invoice("in_1", "cus_1", 1_000, "paid"), broken, {"object": "charge"}]);
    let output = import(&site, "mixed.json", &list.to_string());
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{errors}");
    assert!(
        errors.contains("item 2") && errors.contains("item 3") && !errors.contains("item 1:"),
        "{errors}"
    );
    site.start(&[]);
    let cookie = site.sign_in();
    site.map(&cookie, "globex", "cus_1");
    table_with_revenue(&site, &cookie, 10_000_000);
}
