//! The clients that data teams have already, against the embedded engine.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::deployment::Deployment;
use crate::events::event;
use crate::server::{Site, run};

const SCRIPT: &str = r#"
import sys, clickhouse_connect
port, user, password, compression = int(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4]
client = clickhouse_connect.get_client(
    host="127.0.0.1", port=port, username=user, password=password, database="marginstream",
    compress=False if compression == "none" else compression)
rows = client.query("SELECT customer_id, sum(cost_microdollars), sum(requests) FROM cost_by_hour GROUP BY 1").result_rows
assert sum(row[2] for row in rows) == 25, rows
named = client.query("SELECT toInt64({n:Int64}) + 1 AS n", parameters={"n": 41}).result_rows
assert named == [(42,)], named
if user == "analyst":
    for statement in ["INSERT INTO cost_by_hour (requests) VALUES (1)", "DROP TABLE cost_events", "SET max_threads = 1",
                      "CREATE TABLE t (a Int8) ENGINE = Memory"]:
        try:
            client.command(statement)
        except clickhouse_connect.driver.exceptions.DatabaseError:
            continue
        sys.exit("the analyst may: " + statement)
else:
    client.command("CREATE TABLE IF NOT EXISTS scratch (id UInt32, name String) ENGINE = MergeTree ORDER BY id")
    client.insert("scratch", [[1, "one"], [2, "zwei"]], column_names=["id", "name"])
    assert client.query("SELECT name FROM scratch ORDER BY id").result_rows == [("one",), ("zwei",)]
    client.command("DROP TABLE scratch")
print("ok")
"#;

fn filled_site() -> Site {
    let site = Site::started();
    for index in 0..25 {
        site.post_event(&event("clients", index)).unwrap().expect(201);
    }
    site.wait_for_rows(25);
    site
}

fn password(site: &Site, user: &str) -> String {
    let file = site.data.join(format!("clickhouse-{user}.password"));
    std::fs::read_to_string(file).unwrap().trim().to_owned()
}

/// Returns the Python that has the clients; none where it was not set up, which only CI does not forgive.
pub(crate) fn python(test: &str) -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/test-venv/bin/python");
    if !python.is_file() {
        assert!(
            std::env::var_os("CI").is_none(),
            "{} is missing: run `make test`",
            python.display()
        );
        println!("SKIPPED {test}: run `make test`, which installs what it needs");
        return None;
    }
    Some(python)
}

#[test]
fn clickhouse_connect_reads_as_analyst_and_writes_as_the_service() {
    let Some(python) = python("clickhouse_connect_reads_as_analyst_and_writes_as_the_service") else {
        return;
    };
    let site = filled_site();
    for (user, compression) in [
        ("analyst", "lz4"),
        ("analyst", "gzip"),
        ("service", "none"),
        ("service", "lz4"),
    ] {
        let port = site.clickhouse.port().to_string();
        let output =
            run(Command::new(&python).args(["-c", SCRIPT, &port, user, &password(&site, user), compression]));
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{user} with {compression}: {errors}");
    }
}

#[test]
fn curl_speaks_clickhouses_http_interface() {
    let site = filled_site();
    let url = format!("http://{}", site.clickhouse);
    let curl = |arguments: &[&str]| {
        let output = run(Command::new("curl")
            .args(["-s", "-w", " %{http_code}"])
            .args(arguments));
        String::from_utf8(output.stdout).unwrap()
    };
    let login = format!("analyst:{}", password(&site, "analyst"));
    assert_eq!(curl(&[&format!("{url}/ping")]), "Ok.\n 200");
    assert_eq!(
        curl(&["-u", &login, &url, "-d", "SELECT sum(requests) FROM cost_by_hour"]),
        "25\n 200"
    );
    let query = format!("{url}/?query=SELECT%20sum(requests)%20FROM%20cost_by_hour%20FORMAT%20CSV");
    assert_eq!(curl(&["-u", &login, "--compressed", &query]), "25\n 200");
    assert_eq!(
        curl(&[
            "-u",
            &login,
            &format!("{url}/?param_n=4"),
            "-d",
            "SELECT {n:Int8} + 1"
        ]),
        "5\n 200"
    );
    let refused = curl(&["-u", "analyst:wrong", &url, "-d", "SELECT 1"]);
    assert!(refused.starts_with("Code: 516."), "{refused}");
    let missing = curl(&[
        "-u",
        &login,
        "-D",
        "-",
        &url,
        "-d",
        "SELECT * FROM system.nothing",
    ]);
    assert!(
        missing.to_lowercase().contains("x-clickhouse-exception-code:"),
        "{missing}"
    );
}
