//! The published Python client of the original, unchanged (`nullspend` on PyPI).

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::clients::python;
use crate::cluster::{Cluster, Shape};
use crate::deployment::Deployment;
use crate::proxy::Proxy;
use crate::server::{Site, marginstream, run};

/// Runs the client against `server`, and returns what it prints.
fn client(python: &Path, mode: &str, server: SocketAddr, key: &str, more: &[&str]) -> Value {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/published_client.py");
    let url = format!("http://{server}");
    let output = run(Command::new(python)
        .arg(script)
        .args([mode, &url, key])
        .args(more));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{mode}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

fn refusal(python: &Path, server: SocketAddr, key: &str, method: &str, path: &str) -> (u64, String) {
    let answer = client(python, "error", server, key, &[method, path]);
    let code = answer["code"].as_str().unwrap_or_default().to_owned();
    (answer["status"].as_u64().unwrap(), code)
}

fn admin(site: &Site, arguments: &[&str]) -> Value {
    let mut command = marginstream();
    command
        .arg("admin")
        .args(arguments)
        .arg("--json")
        .arg("--data")
        .arg(&site.data);
    let output = run(&mut command);
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_published_client_reports_and_reads() {
    let Some(python) = python("the_published_client_reports_and_reads") else {
        return;
    };
    let site = Site::started();
    let key = site.owner().api_key.clone();
    let reported = client(&python, "report", site.listen, &key, &[]);
    assert!(reported["single"]["id"].as_str().unwrap().starts_with("ns_evt_"));
    assert_eq!(reported["batch"]["inserted"], 4);
    let session = site.get(&site.sign_in(), "/api/auth/session").json();
    assert_eq!(reported["who"]["userId"], session["userId"]);
    site.wait_for_rows(6);

    let refused = refusal(&python, site.listen, &key, "GET", "/api/cost-events");
    assert_eq!(
        refused,
        (401, "authentication_required".to_owned()),
        "reads are off"
    );
    admin(&site, &["orgs", "allow-api-key-reads", "true"]);
    let read = client(&python, "read", site.listen, &key, &[]);
    let walked = read["walked"].as_array().unwrap();
    let mut ids: Vec<_> = walked.iter().map(|event| event[0].as_str().unwrap()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((walked.len(), ids.len()), (6, 6), "each event once");
    // 1,000 + (1,001 + ... + 1,004) + 20,000.
    let totals = json!({ "totalCostMicrodollars": 25_010, "totalRequests": 6, "period": "7d" });
    assert_eq!(read["totals"], totals);
    assert_eq!(read["tools"][0]["totalCostMicrodollars"], 20_000);
    assert_eq!(read["traces"][0]["traceId"], "0af7651916cd43dd8448eb211c80319c");
    let breakdown = json!({ "inputCost": 600, "outputCost": 300, "cachedCost": 100, "reasoningCost": 0 });
    assert_eq!(read["costBreakdown"], breakdown);
    admin(&site, &["orgs", "allow-api-key-reads", "false"]);
    let refused = refusal(&python, site.listen, &key, "GET", "/api/cost-events");
    assert_eq!(refused.0, 401, "and are off again");
}

#[test]
fn a_retry_of_the_published_client_counts_once() {
    let Some(python) = python("a_retry_of_the_published_client_counts_once") else {
        return;
    };
    let site = Site::started();
    let proxy = Proxy::to(site.listen);
    proxy.lose_answers();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Until the first attempt is counted, whose answer is lost.
            site.wait_for_rows(1);
            proxy.mend();
        });
        let answer = client(&python, "retry", proxy.address, &site.owner().api_key, &[]);
        assert!(answer["data"]["id"].as_str().unwrap().starts_with("ns_evt_"));
    });
    std::thread::sleep(Duration::from_millis(500));
    let counted = site.sql("SELECT toUInt64(count()) AS n FROM cost_events");
    assert_eq!(counted[0]["n"], 1);
}

#[test]
fn the_published_client_understands_refusals() {
    let Some(python) = python("the_published_client_understands_refusals") else {
        return;
    };
    let site = Site::started();
    let key = site.owner().api_key.clone();
    let refused = |key: &str, method: &str, path: &str| refusal(&python, site.listen, key, method, path);
    let unknown = "ns_live_sk_00000000000000000000000000000000";
    assert_eq!(refused(unknown, "GET", "/api/auth/introspect").0, 401);
    assert_eq!(
        refused(&key, "POST", "/api/cost-events/batch"),
        (400, "validation_error".to_owned())
    );
    assert_eq!(
        refused(&key, "GET", "/api/actions/ns_act_1"),
        (404, "not_found".to_owned())
    );

    // A key whose owner has left.
    admin(&site, &["users", "create", "member@acme.test"]);
    admin(&site, &["orgs", "add-member", "member@acme.test"]);
    let made = admin(
        &site,
        &[
            "keys",
            "create",
            "--email",
            "member@acme.test",
            "--name",
            "theirs",
        ],
    );
    let theirs = made["apiKey"].as_str().unwrap();
    assert_eq!(refused(theirs, "GET", "/api/auth/introspect").0, 200);
    let owner = site.sign_in();
    let org = site.get(&owner, "/api/auth/session").json()["orgId"].clone();
    let org = org.as_str().unwrap();
    let members = site.get(&owner, &format!("/api/orgs/{org}/members")).json();
    let member = members["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|member| member["email"] == "member@acme.test");
    let member = member.unwrap()["userId"].as_str().unwrap().to_owned();
    let path = format!("/api/orgs/{org}/members/{member}");
    site.with_session(&owner, "DELETE", &path, b"").expect(200);
    // Removing a member revokes the member's keys, at once on this server.
    assert_eq!(refused(theirs, "GET", "/api/auth/introspect").0, 401);
}

#[test]
fn the_published_client_sees_limits_and_outages() {
    let Some(python) = python("the_published_client_sees_limits_and_outages") else {
        return;
    };
    let site = Site::new();
    let mut command = marginstream();
    command.arg("standalone").arg("--data").arg(&site.data).args([
        "--listen",
        &site.listen.to_string(),
        "--clickhouse-listen",
        &site.clickhouse.to_string(),
        "--requests-per-key-per-min",
        "2",
    ]);
    site.start_command(command);
    let key = site.owner().api_key.clone();
    let introspect = || refusal(&python, site.listen, &key, "GET", "/api/auth/introspect");
    assert_eq!([introspect().0, introspect().0], [200, 200]);
    assert_eq!(introspect(), (429, "rate_limit_exceeded".to_owned()));
    site.stop();

    let Some(cluster) = Cluster::start("the_published_client_sees_limits_and_outages", Shape::SMALL) else {
        return;
    };
    let key = &cluster.owner().api_key;
    cluster.network.ingest_postgres.cut();
    let refused = refusal(&python, cluster.ingest(), key, "GET", "/api/auth/introspect");
    assert_eq!(refused.0, 404, "introspection is the query API's");
    let refused = refusal(&python, cluster.ingest(), key, "POST", "/api/cost-events/batch");
    assert_eq!(refused, (503, "service_unavailable".to_owned()));
    cluster.network.ingest_postgres.mend();
}
