//! The HTTP interface, as `curl` and drivers use it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use marginstream_warehouse::testing;

/// An answer: status, header lines in lower case, body with chunks joined.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Sends one request with `headers` (each line ended by CRLF) and reads its answer to the end.
pub(crate) fn send(port: u16, method: &str, target: &str, headers: &str, body: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let end = answer
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .unwrap();
    let head = String::from_utf8(answer[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let head = head.lines().map(lower_name).collect::<Vec<_>>().join("\n");
    let body = answer.split_off(end + 4);
    let body = if head.contains("transfer-encoding: chunked") {
        join_chunks(&body)
    } else {
        body
    };
    Answer { status, head, body }
}

fn lower_name(line: &str) -> String {
    match line.split_once(": ") {
        Some((name, value)) => format!("{}: {value}", name.to_lowercase()),
        None => line.to_owned(),
    }
}

fn join_chunks(mut body: &[u8]) -> Vec<u8> {
    let mut joined = Vec::new();
    while let Some(end) = body.windows(2).position(|window| window == b"\r\n") {
        let size = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        joined.extend_from_slice(&body[end + 2..end + 2 + size]);
        body = &body[end + 2 + size + 2..];
        if size == 0 {
            break;
        }
    }
    joined
}

const SERVICE: &str = "X-ClickHouse-User: service\r\nX-ClickHouse-Key: service-password\r\n";

/// Percent-encodes a parameter's value.
pub(crate) fn encode(text: &str) -> String {
    text.bytes()
        .map(|b| {
            if b.is_ascii_alphanumeric() {
                char::from(b).to_string()
            } else {
                format!("%{b:02X}")
            }
        })
        .collect()
}

fn post(port: u16, parameters: &str, body: impl AsRef<[u8]>) -> Answer {
    send(port, "POST", &format!("/?{parameters}"), SERVICE, body.as_ref())
}

fn get(port: u16, sql: &str) -> Answer {
    send(port, "GET", &format!("/?query={}", encode(sql)), SERVICE, b"")
}

/// Creates `default_formats`-like table `name` and returns its full name.
async fn table(name: &str) -> Option<(u16, String)> {
    let warehouse = testing::warehouse(name).await?;
    let port = testing::server_port(name)?;
    let full = format!("{}.t", warehouse.database());
    let sql = format!("CREATE TABLE {full} (a Int64, s String) ENGINE = MergeTree ORDER BY a");
    assert_eq!(post(port, "", sql).status, 200);
    Some((port, full))
}

#[test]
fn ping_needs_no_user() {
    let Some(port) = testing::server_port("ping_needs_no_user") else {
        return;
    };
    let answer = send(port, "GET", "/ping", "", b"");
    assert_eq!((answer.status, answer.text().as_str()), (200, "Ok.\n"));
    assert_eq!(send(port, "GET", "/", "", b"").text(), "Ok.\n");
    assert_eq!(send(port, "GET", "/nowhere", "", b"").status, 404);
}

#[test]
fn queries_come_from_the_url_the_body_or_both() {
    let Some(port) = testing::server_port("queries_come_from") else {
        return;
    };
    assert_eq!(get(port, "SELECT 1").text(), "1\n");
    assert_eq!(post(port, "", "SELECT 2").text(), "2\n");
    assert_eq!(
        post(port, "query=SELECT%20number", "FROM numbers(3)").text(),
        "0\n1\n2\n"
    );
    assert_eq!(post(port, "", "SELECT 3; -- done\n").text(), "3\n");
}

#[test]
fn headers_say_what_the_server_says() {
    let Some(port) = testing::server_port("headers_say") else {
        return;
    };
    let answer = post(
        port,
        "query_id=my-id&default_format=JSONEachRow",
        "SELECT number FROM numbers(3)",
    );
    assert_eq!(answer.header("x-clickhouse-query-id"), Some("my-id"));
    assert_eq!(answer.header("x-clickhouse-format"), Some("JSONEachRow"));
    assert_eq!(
        answer.header("content-type"),
        Some("application/x-ndjson; charset=UTF-8")
    );
    assert!(answer.header("x-clickhouse-timezone").is_some());
    assert!(answer.header("x-clickhouse-server-display-name").is_some());
    let summary = answer.header("x-clickhouse-summary").unwrap();
    assert!(summary.contains("\"read_rows\":\"3\""), "{summary}");
    assert_eq!(answer.text(), "{\"number\":0}\n{\"number\":1}\n{\"number\":2}\n");
    let answer = post(port, "default_format=CSV", "SELECT 1 AS x FORMAT JSONCompact");
    assert_eq!(answer.header("x-clickhouse-format"), Some("JSONCompact"));
}

#[test]
fn errors_have_a_code_and_a_status() {
    let Some(port) = testing::server_port("errors_have_a_code") else {
        return;
    };
    for (sql, code, status) in [
        ("SELECT FROM WHERE", "62", 400),
        ("SELECT * FROM missing_table", "60", 404),
        ("SELECT missing_column", "47", 404),
        ("SELECT missing_function(1)", "46", 404),
        ("SELECT 1; SELECT 2", "62", 400),
        ("", "62", 400),
        ("SELECT throwIf(1)", "395", 500),
    ] {
        let answer = post(port, "", sql);
        assert_eq!(
            answer.header("x-clickhouse-exception-code"),
            Some(code),
            "{sql}: {}",
            answer.text()
        );
        assert_eq!(answer.status, status, "{sql}");
        assert!(
            answer
                .text()
                .starts_with(&format!("Code: {code}. DB::Exception: ")),
            "{}",
            answer.text()
        );
    }
    assert_eq!(
        post(port, "no_such_setting=1", "SELECT 1").header("x-clickhouse-exception-code"),
        Some("115")
    );
    assert_eq!(
        post(port, "database=nowhere", "SELECT 1").header("x-clickhouse-exception-code"),
        Some("81")
    );
    assert_eq!(
        post(port, "default_format=Nope", "SELECT 1").header("x-clickhouse-exception-code"),
        Some("73")
    );
}

#[test]
fn a_batch_that_does_not_parse_runs_none_of_it() {
    let Some(port) = testing::server_port("a_batch_that_does_not_parse") else {
        return;
    };
    post(port, "", "CREATE DATABASE IF NOT EXISTS test_batch");
    let answer = post(
        port,
        "",
        "CREATE TABLE test_batch.made (a Int8) ENGINE = Memory; nonsense",
    );
    assert_eq!(answer.header("x-clickhouse-exception-code"), Some("62"));
    assert_eq!(post(port, "", "EXISTS TABLE test_batch.made").text(), "0\n");
}

#[test]
fn users_are_told_apart() {
    let Some(port) = testing::server_port("users_are_told_apart") else {
        return;
    };
    let query = |headers: &str, parameters: &str| {
        send(
            port,
            "GET",
            &format!("/?query=SELECT%201{parameters}"),
            headers,
            b"",
        )
    };
    assert_eq!(query("", "").status, 401);
    assert!(query("", "").header("www-authenticate").is_some());
    assert_eq!(query("", "&user=service&password=service-password").status, 200);
    let wrong = query("", "&user=service&password=wrong");
    assert_eq!(
        (wrong.status, wrong.header("x-clickhouse-exception-code")),
        (403, Some("516"))
    );
    // "service:service-password" in base64.
    let basic = "Authorization: Basic c2VydmljZTpzZXJ2aWNlLXBhc3N3b3Jk\r\n";
    assert_eq!(query(basic, "").status, 200);
}

#[tokio::test]
async fn a_get_cannot_write() {
    let Some((port, table)) = table("a_get_cannot_write").await else {
        return;
    };
    for sql in [
        format!("DROP TABLE {table}"),
        format!("INSERT INTO {table} VALUES (1, 'x')"),
    ] {
        let answer = get(port, &sql);
        assert_eq!(
            answer.header("x-clickhouse-exception-code"),
            Some("164"),
            "{sql}: {}",
            answer.text()
        );
    }
    assert_eq!(get(port, &format!("SELECT count() FROM {table}")).text(), "0\n");
    // The readonly that a GET implies cannot be talked out of.
    let target = format!("/?readonly=0&query={}", encode(&format!("DROP TABLE {table}")));
    assert_eq!(
        send(port, "GET", &target, SERVICE, b"").header("x-clickhouse-exception-code"),
        Some("164")
    );
}

#[test]
fn settings_and_database_stay_with_their_request() {
    let Some(port) = testing::server_port("settings_stay") else {
        return;
    };
    let setting = "SELECT getSetting('max_block_size'), currentDatabase()";
    let before = post(port, "", setting).text();
    assert_eq!(
        post(port, "max_block_size=77&database=system", setting).text(),
        "77\tsystem\n"
    );
    for _ in 0..20 {
        assert_eq!(post(port, "", setting).text(), before);
    }
    assert_eq!(before, "65409\tmarginstream\n");
}

#[test]
fn parameters_are_values_and_not_sql() {
    let Some(port) = testing::server_port("parameters_are_values") else {
        return;
    };
    let value = "x' OR 1=1 --";
    let answer = post(port, &format!("param_v={}", encode(value)), "SELECT {v:String}");
    assert_eq!(answer.text(), "x\\' OR 1=1 --\n");
    let form = "--b\r\nContent-Disposition: form-data; name=\"query\"\r\n\r\nSELECT {n:Int32}\r\n\
        --b\r\nContent-Disposition: form-data; name=\"param_n\"\r\n\r\n42\r\n--b--\r\n";
    let headers = format!("{SERVICE}Content-Type: multipart/form-data; boundary=b\r\n");
    assert_eq!(send(port, "POST", "/", &headers, form.as_bytes()).text(), "42\n");
}

#[tokio::test]
async fn inserts_take_every_form() {
    let Some((port, table)) = table("inserts_take_every_form").await else {
        return;
    };
    let query = |sql: &str| format!("query={}", encode(sql));
    let tsv = post(
        port,
        &query(&format!("INSERT INTO {table} FORMAT TSV")),
        "1\ta\n2\tb\n",
    );
    assert!(
        tsv.header("x-clickhouse-summary")
            .unwrap()
            .contains("\"written_rows\":\"2\""),
        "{}",
        tsv.text()
    );
    post(
        port,
        "",
        format!("INSERT INTO {table} VALUES (3, 'c'), (2 + 2, upper('d'))"),
    );
    post(port, &query(&format!("INSERT INTO {table} VALUES")), "(5, 'e')");
    post(
        port,
        "",
        format!("INSERT INTO {table} (s, a) FORMAT JSONEachRow\n{{\"a\":6,\"s\":\"f\"}}"),
    );
    post(
        port,
        "",
        format!("INSERT INTO {table} SELECT number + 7, 'g' FROM numbers(2)"),
    );
    let rows = post(
        port,
        "",
        format!("SELECT groupArray((a, s)) FROM (SELECT * FROM {table} ORDER BY a)"),
    )
    .text();
    assert_eq!(
        rows,
        "[(1,'a'),(2,'b'),(3,'c'),(4,'D'),(5,'e'),(6,'f'),(7,'g'),(8,'g')]\n"
    );
}

#[tokio::test]
async fn bodies_and_results_are_compressed() {
    let Some((port, table)) = table("bodies_and_results").await else {
        return;
    };
    let insert = format!("query={}", encode(&format!("INSERT INTO {table} FORMAT TSV")));
    for (index, encoding) in ["gzip", "zstd", "lz4"].iter().enumerate() {
        // The server's own answer is the compressed body of the next insert.
        let headers = format!("{SERVICE}Accept-Encoding: {encoding}\r\n");
        let sql = format!("SELECT number + {index} * 1000, 'x' FROM numbers(1000)");
        let answer = send(port, "POST", "/", &headers, sql.as_bytes());
        assert_eq!(answer.header("content-encoding"), Some(*encoding));
        let headers = format!("{SERVICE}Content-Encoding: {encoding}\r\n");
        let inserted = send(port, "POST", &format!("/?{insert}"), &headers, &answer.body);
        assert_eq!(inserted.status, 200, "{encoding}: {}", inserted.text());
    }
    let native = post(port, "compress=1", "SELECT number + 3000, 'x' FROM numbers(1000)");
    assert_eq!(
        post(port, &format!("{insert}&decompress=1"), &native.body).status,
        200
    );
    assert_eq!(
        post(port, "", format!("SELECT count(), uniqExact(a) FROM {table}")).text(),
        "4000\t4000\n"
    );
    let mut broken = native.body.clone();
    broken[30] ^= 1;
    let answer = post(port, &format!("{insert}&decompress=1"), &broken);
    assert_eq!(
        answer.header("x-clickhouse-exception-code"),
        Some("271"),
        "{}",
        answer.text()
    );
}

#[tokio::test]
async fn a_body_that_breaks_off_inserts_nothing() {
    let Some((port, table)) = table("a_body_that_breaks_off").await else {
        return;
    };
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let target = format!("/?query={}", encode(&format!("INSERT INTO {table} FORMAT TSV")));
    let head =
        format!("POST {target} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n{SERVICE}\r\n1\ta\n2\tb\n");
    stream.write_all(head.as_bytes()).unwrap();
    drop(stream);
    // The insert is over when no statement runs any more.
    let running = format!("SELECT count() FROM system.processes WHERE query LIKE 'INSERT INTO {table}%'");
    while post(port, "", &running).text() != "0\n" {
        std::thread::yield_now();
    }
    assert_eq!(
        post(port, "", format!("SELECT count() FROM {table}")).text(),
        "0\n"
    );
}

#[test]
fn results_of_many_blocks_are_one_document() {
    let Some(port) = testing::server_port("results_of_many_blocks") else {
        return;
    };
    let rows = 300_000;
    for (format, lines) in [
        ("TSV", rows),
        ("TSVWithNames", rows + 1),
        ("CSVWithNamesAndTypes", rows + 2),
        ("JSONEachRow", rows),
        ("JSONCompactEachRowWithNamesAndTypes", rows + 2),
    ] {
        let sql =
            format!("SELECT number FROM numbers({rows}) SETTINGS max_block_size = 1000 FORMAT {format}");
        let answer = post(port, "", sql);
        assert_eq!(
            answer.body.iter().filter(|&&b| b == b'\n').count(),
            lines,
            "{format}"
        );
    }
    let json = post(
        port,
        "",
        format!("SELECT number FROM numbers({rows}) FORMAT JSON"),
    );
    let document: serde_json::Value = serde_json::from_slice(&json.body).unwrap();
    assert_eq!(document["rows"], rows);
}

#[test]
fn a_client_that_leaves_stops_its_statement() {
    let Some(port) = testing::server_port("a_client_that_leaves") else {
        return;
    };
    let sql = "SELECT count() FROM numbers(1000000000000) WHERE NOT ignore(number, 'left behind')";
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let target = format!("/?query={}", encode(sql));
    stream
        .write_all(format!("GET {target} HTTP/1.1\r\nHost: x\r\n{SERVICE}\r\n").as_bytes())
        .unwrap();
    let running = "SELECT count() FROM system.processes WHERE query LIKE '%left behind%' AND query NOT LIKE '%processes%'";
    while post(port, "", running).text() != "1\n" {
        std::thread::yield_now();
    }
    drop(stream);
    let started = Instant::now();
    while post(port, "", running).text() != "0\n" {
        assert!(
            started.elapsed() < Duration::from_secs(20),
            "the statement still runs"
        );
        std::thread::yield_now();
    }
}
