//! Real production traces, through the public stream, against an oracle that is not ours.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::deployment::Deployment;
use crate::oracle::Oracle;
use crate::server::Site;

fn tool() -> Option<PathBuf> {
    let tool = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/tools/trace_to_events.py");
    tool.is_file().then_some(tool)
}

fn output_of(tool: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new("python3")
        .arg(tool)
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

#[test]
fn real_traces_with_duplicates_sum_to_the_oracles_totals() {
    let Some(tool) = tool() else {
        println!(
            "SKIPPED real_traces_with_duplicates_sum_to_the_oracles_totals: no trace_to_events.py beside the project"
        );
        return;
    };
    let totals: Value = serde_json::from_slice(&output_of(&tool, &["--totals"])).unwrap();
    let lines = output_of(&tool, &["--duplicates", "3"]);
    let site = Site::started();
    let outcome = site.stream(&lines).unwrap().expect(200).json()["data"].clone();
    let num_events = totals["total"]["events"].as_u64().unwrap();
    assert_eq!(outcome["accepted"].as_u64().unwrap(), num_events);
    let sent = lines
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .count() as u64;
    assert_eq!(outcome["duplicates"].as_u64().unwrap(), sent - num_events);

    let mut oracle = Oracle::default();
    for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        oracle.count(&serde_json::from_slice(line).unwrap());
    }
    // Our oracle, which the other tests rely on, agrees with the one that is not ours.
    assert_eq!(totals["total"]["costMicrodollars"], oracle.total.0);
    for (key, sums) in [
        ("customer", &oracle.by_customer),
        ("model", &oracle.by_model),
        ("team", &oracle.by_tag["team"]),
    ] {
        for (value, (cost, requests)) in sums {
            assert_eq!(totals[key][value]["costMicrodollars"], *cost, "{key} {value}");
            assert_eq!(totals[key][value]["requests"], *requests, "{key} {value}");
        }
    }
    oracle.assert_shown_by(&site);
    assert_margins_of_a_hundred_customers(&site, &oracle);
    site.assert_reconciled();
}

/// Invoices a hundred customers, from a loss to a large margin, and checks each row.
fn assert_margins_of_a_hundred_customers(site: &Site, oracle: &Oracle) {
    let cookie = site.sign_in();
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let mut invoices = Vec::new();
    let mut expected = Vec::new();
    for (index, (customer, (cost, _))) in oracle.by_customer.iter().take(100).enumerate() {
        let stripe = format!("cus_{index}");
        site.map(&cookie, customer, &stripe);
        let cents = cost / 10_000 * (index as i64 % 5) / 2;
        invoices.push(
            serde_json::json!({"id": format!("in_{index}"), "object": "invoice", "customer": stripe,
            "amount_paid": cents, "currency": "usd", "status": "paid", "created": now})
            .to_string(),
        );
        expected.push((customer.clone(), cents * 10_000, *cost));
    }
    let file = site.data.with_file_name("invoices.ndjson");
    fs::write(&file, invoices.join("\n")).unwrap();
    assert!(site.command(&["invoices", "import"], &[&file]).status.success());

    let total: i64 = expected.iter().map(|(_, revenue, _)| revenue).sum();
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
    let table = loop {
        let table = site.get(&cookie, "/api/margins").expect(200).json()["data"].clone();
        if table["summary"]["totalRevenueMicrodollars"] == total {
            break table;
        }
        assert!(std::time::Instant::now() < deadline, "{}", table["summary"]);
    };
    let csv = site.get(&cookie, "/api/margins?format=csv").expect(200).text();
    assert_eq!(csv.lines().count(), 101);
    for (customer, revenue, cost) in expected {
        let row = table["customers"]
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["tagValue"] == *customer)
            .unwrap();
        assert_eq!(row["revenueMicrodollars"], revenue, "{customer}");
        assert_eq!(row["costMicrodollars"], cost, "{customer}");
        let tier = match (revenue, 100 * i128::from(revenue - cost)) {
            (0, _) => "critical",
            (_, scaled) if scaled >= 50 * i128::from(revenue) => "healthy",
            (_, scaled) if scaled >= 20 * i128::from(revenue) => "moderate",
            (_, scaled) if scaled >= 0 => "at_risk",
            _ => "critical",
        };
        assert_eq!(row["healthTier"], tier, "{customer}");
        let dollars = |amount: i64| format!("{:.2}", amount as f64 / 1e6);
        assert!(
            csv.contains(&format!(",{customer},{},", dollars(revenue))),
            "{customer}: {csv}"
        );
    }
}
