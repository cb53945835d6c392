//! What the analyst user must not be able to do, and what it must.
//!
//! A secret lies in a file next to the engine's data. Every attack is refused, and neither its
//! answer nor any other ever holds the secret.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use marginstream_warehouse::testing::{ANALYST_USER, SERVICE_USER, skip, users};
use marginstream_warehouse::{Engine, EngineConfig, EngineError, ServerConfig, serve};

const SECRET: &str = "xyzzy-secret-7731";

struct Setup {
    port: u16,
    directory: tempfile::TempDir,
    /// A listener nobody may be made to connect to.
    bait: u16,
}

static SETUP: OnceLock<Option<Setup>> = OnceLock::new();
static BAIT_TAKEN: AtomicU32 = AtomicU32::new(0);

fn setup(test: &str) -> Option<&'static Setup> {
    let setup = SETUP.get_or_init(start).as_ref();
    if setup.is_none() {
        skip(test);
    }
    setup
}

fn start() -> Option<Setup> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("secret.csv"), format!("{SECRET}\n")).unwrap();
    let engine = match Engine::open(EngineConfig::new(directory.path().join("engine"))) {
        Ok(engine) => engine,
        Err(EngineError::LibraryNotFound { .. }) => return None,
        Err(error) => panic!("{error}"),
    };
    let bait = TcpListener::bind("127.0.0.1:0").unwrap();
    let bait_port = bait.local_addr().unwrap().port();
    thread::spawn(move || {
        for _connection in bait.incoming() {
            BAIT_TAKEN.fetch_add(1, Ordering::SeqCst);
        }
    });
    let (sender, receiver) = std::sync::mpsc::channel();
    thread::spawn(move || {
        tokio::runtime::Runtime::new().unwrap().block_on(async move {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            sender.send(listener.local_addr().unwrap().port()).unwrap();
            serve(
                engine,
                listener,
                ServerConfig::new(users()),
                std::future::pending(),
            )
            .await
            .unwrap();
        });
    });
    let setup = Setup {
        port: receiver.recv().unwrap(),
        directory,
        bait: bait_port,
    };
    let secret = setup.path("secret.csv");
    for sql in [
        "CREATE TABLE cost_events (org_id String, cost Int64, tags Map(String, String), created_at DateTime64(3, 'UTC')) \
         ENGINE = MergeTree ORDER BY org_id",
        "INSERT INTO cost_events SELECT 'o' || toString(number % 3), number, map('team', 'a'), \
         toDateTime64('2025-01-01 00:00:00', 3, 'UTC') FROM numbers(100)",
        "CREATE VIEW customer_period_margins AS SELECT org_id, sum(cost) AS cost FROM cost_events GROUP BY org_id",
        "CREATE TABLE private_notes (note String) ENGINE = MergeTree ORDER BY note",
        "INSERT INTO private_notes SELECT 'xyzzy-secret-7731'",
        "CREATE TABLE joined (k String, v String) ENGINE = Join(ANY, LEFT, k)",
        "INSERT INTO joined SELECT 'k', 'xyzzy-secret-7731'",
        &format!("CREATE VIEW leaky AS SELECT * FROM file('{secret}', 'LineAsString')"),
        &format!(
            "CREATE DICTIONARY secrets (id UInt64, line String) PRIMARY KEY id \
             SOURCE(FILE(PATH '{secret}' FORMAT 'CSV')) LAYOUT(FLAT()) LIFETIME(0)"
        ),
        "CREATE FUNCTION read_it AS x -> file(x)",
    ] {
        let (status, body) = ask(setup.port, SERVICE_USER, sql, "");
        assert_eq!(status, 200, "{sql}: {body}");
    }
    Some(setup)
}

impl Setup {
    fn path(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    fn analyst(&self, sql: &str, parameters: &str) -> (u16, String) {
        ask(self.port, ANALYST_USER, sql, parameters)
    }
}

fn ask(port: u16, user: (&str, &str), sql: &str, parameters: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let head = format!(
        "POST /?{parameters} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\
         X-ClickHouse-User: {}\r\nX-ClickHouse-Key: {}\r\n\r\n",
        sql.len(),
        user.0,
        user.1
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(sql.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
    (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
}

/// Statements the analyst must not run. `{f}` is the secret's file, `{d}` its directory, `{b}` the bait.
const ATTACKS: &[&str] = &[
    // Files by table function, in every position.
    "SELECT * FROM file('{f}', 'LineAsString')",
    "SELECT * FROM file('{f}', 'LineAsString', 'line String')",
    "SELECT * FROM `file`('{f}', 'LineAsString')",
    "SELECT * FROM \"file\"('{f}', 'LineAsString')",
    "select * from/**/file/* x */('{f}', 'LineAsString')",
    "SELECT * FROM file -- comment\n('{f}', 'LineAsString')",
    "FROM file('{f}', 'LineAsString') SELECT *",
    "(SELECT * FROM file('{f}', 'LineAsString'))",
    "((((SELECT * FROM file('{f}', 'LineAsString')))))",
    "WITH x AS (SELECT * FROM file('{f}', 'LineAsString')) SELECT * FROM x",
    "WITH (SELECT any(line) FROM file('{f}', 'LineAsString')) AS x SELECT x",
    "WITH RECURSIVE x AS (SELECT line FROM file('{f}', 'LineAsString') UNION ALL SELECT line FROM x WHERE 0) SELECT * FROM x",
    "SELECT (SELECT any(line) FROM file('{f}', 'LineAsString'))",
    "SELECT 1 WHERE 'a' IN (SELECT line FROM file('{f}', 'LineAsString'))",
    "SELECT 1 UNION ALL SELECT length(line) FROM file('{f}', 'LineAsString')",
    "SELECT 'a' INTERSECT SELECT line FROM file('{f}', 'LineAsString')",
    "SELECT 'a' EXCEPT SELECT line FROM file('{f}', 'LineAsString')",
    "SELECT * FROM cost_events AS c JOIN file('{f}', 'LineAsString') AS f ON 1",
    "SELECT * FROM cost_events, file('{f}', 'LineAsString')",
    "SELECT * FROM (SELECT * FROM (SELECT * FROM file('{f}', 'LineAsString')))",
    "SELECT exists(SELECT * FROM file('{f}', 'LineAsString'))",
    "SELECT sum(cost) OVER (ORDER BY (SELECT any(line) FROM file('{f}', 'LineAsString'))) FROM cost_events",
    "SELECT cost FROM cost_events ORDER BY cost LIMIT (SELECT count() FROM file('{f}', 'LineAsString'))",
    "SELECT cost FROM cost_events QUALIFY (SELECT any(line) FROM file('{f}', 'LineAsString')) != ''",
    "SELECT * FROM view(SELECT * FROM file('{f}', 'LineAsString'))",
    "SELECT * FROM viewIfPermitted(SELECT * FROM file('{f}', 'LineAsString') ELSE null('line String'))",
    "SELECT * FROM loop(file('{f}', 'LineAsString')) LIMIT 1",
    "SELECT * FROM fileCluster('default', '{f}', 'LineAsString')",
    "SELECT * FROM filesystem('{d}')",
    "SELECT * FROM sqlite('{f}', 't')",
    "SELECT * FROM deltaLakeLocal('{d}')",
    "SELECT * FROM icebergLocal('{d}')",
    "SELECT * FROM executable('cat', 'LineAsString', 'line String')",
    "SELECT * FROM eval('SELECT * FROM file(''{f}'', ''LineAsString'')')",
    "SELECT * FROM viewExplain('EXPLAIN', '', (SELECT * FROM file('{f}', 'LineAsString')))",
    "SELECT * FROM fuzzQuery('SELECT 1', 500, 8956)",
    // Files by scalar function.
    "SELECT file('{f}')",
    "SELECT `file`('{f}')",
    "SELECT file(concat('{d}', '/secret.csv'))",
    "SELECT arrayMap(x -> file(x), ['{f}'])",
    "SELECT file(c) FROM (SELECT '{f}' AS c)",
    "SELECT * APPLY(file) FROM (SELECT '{f}' AS c)",
    "SELECT * APPLY(x -> file(x)) FROM (SELECT '{f}' AS c)",
    "SELECT COLUMNS('c') APPLY file FROM (SELECT '{f}' AS c)",
    "SELECT * REPLACE(file(c) AS c) FROM (SELECT '{f}' AS c)",
    "WITH file('{f}') AS x SELECT x",
    "SELECT 1 ORDER BY file('{f}')",
    "SELECT count() GROUP BY file('{f}')",
    "SELECT count() HAVING file('{f}') != ''",
    "SELECT sum(1) OVER (PARTITION BY file('{f}'))",
    "SELECT sum(cost) OVER w FROM cost_events WINDOW w AS (PARTITION BY file('{f}'))",
    "SELECT number FROM numbers(length(file('{f}')))",
    "SELECT * FROM values('a String', (file('{f}')))",
    "SELECT a FROM (SELECT 1 AS a) ORDER BY a WITH FILL FROM length(file('{f}')) TO 20",
    "SELECT a, s FROM (SELECT 1 AS a, '' AS s) ORDER BY a WITH FILL TO 3 INTERPOLATE (s AS file('{f}'))",
    "SELECT if(1, file('{f}'), '')",
    "SELECT read_it('{f}')",
    "EXPLAIN SYNTAX SELECT file('{f}')",
    "EXPLAIN QUERY TREE SELECT file('{f}')",
    "SELECT catboostEvaluate('{f}', 1)",
    "SELECT evalMLMethod(file('{f}'), 1)",
    "SELECT * FROM numbers(1) WHERE CASE file('{f}') WHEN 'a' THEN 1 ELSE 0 END",
    // Files by name: the engine's default database shows the host's files as tables.
    "SELECT * FROM '{f}'",
    "SELECT * FROM `{f}`",
    "SELECT * FROM \"{f}\"",
    "SELECT * FROM default.`{f}`",
    "SELECT * FROM `default`.`{f}`",
    "SELECT 1 IN default.`{f}`",
    "SELECT 1 WHERE 1 IN `{f}`",
    "DESCRIBE TABLE `{f}`",
    "DESCRIBE TABLE default.`{f}`",
    "SELECT * FROM 'secret.csv'",
    // The network.
    "SELECT * FROM url('http://127.0.0.1:{b}/x', 'TSV', 'a String')",
    "SELECT * FROM url('http://127.0.0.1:{b}/x')",
    "SELECT * FROM url('file://{f}', 'LineAsString')",
    "SELECT * FROM urlCluster('default', 'http://127.0.0.1:{b}/x', 'TSV', 'a String')",
    "SELECT * FROM s3('http://127.0.0.1:{b}/bucket/key', 'TSV', 'a String')",
    "SELECT * FROM s3Cluster('default', 'http://127.0.0.1:{b}/bucket/key', 'TSV')",
    "SELECT * FROM gcs('http://127.0.0.1:{b}/bucket/key', 'TSV', 'a String')",
    "SELECT * FROM azureBlobStorage('http://127.0.0.1:{b}/', 'c', 'b', 'a', 'a', 'TSV')",
    "SELECT * FROM hdfs('hdfs://127.0.0.1:{b}/x', 'TSV', 'a String')",
    "SELECT * FROM remote('127.0.0.1:{b}', system.one)",
    "SELECT * FROM remote('127.0.0.1', view(SELECT * FROM file('{f}', 'LineAsString')))",
    "SELECT * FROM remoteSecure('127.0.0.1:{b}', 'system', 'one')",
    "SELECT * FROM cluster('default', system.processes)",
    "SELECT * FROM clusterAllReplicas('default', system.processes)",
    "SELECT * FROM mysql('127.0.0.1:{b}', 'd', 't', 'u', 'p')",
    "SELECT * FROM postgresql('127.0.0.1:{b}', 'd', 't', 'u', 'p')",
    "SELECT * FROM mongodb('127.0.0.1:{b}', 'd', 't', 'u', 'p', 'a String')",
    "SELECT * FROM redis('127.0.0.1:{b}', 'a', 'a String')",
    "SELECT * FROM iceberg('http://127.0.0.1:{b}/b/k')",
    "SELECT * FROM deltaLake('http://127.0.0.1:{b}/b/k')",
    "SELECT * FROM jdbc('jdbc:x://127.0.0.1:{b}', 'd', 't')",
    "SELECT * FROM odbc('DSN=x', 'd', 't')",
    "SELECT hasColumnInTable('127.0.0.1:{b}', 'u', 'p', 'd', 't', 'c')",
    "SELECT aiGenerate('x', 'y')",
    "DESCRIBE TABLE url('http://127.0.0.1:{b}/x')",
    "DESCRIBE TABLE file('{f}')",
    "EXPLAIN SELECT * FROM file('{f}', 'LineAsString')",
    "EXPLAIN PIPELINE SELECT * FROM url('http://127.0.0.1:{b}/x')",
    "EXPLAIN ESTIMATE SELECT * FROM file('{f}')",
    "EXPLAIN TABLE OVERRIDE mysql('127.0.0.1:{b}', 'd', 't', 'u', 'p') PARTITION BY x",
    // Detours over what the service created.
    "SELECT * FROM leaky",
    "SELECT * FROM marginstream.leaky",
    "SELECT * FROM dictionary('marginstream.secrets')",
    "SELECT * FROM secrets",
    "SELECT dictGet('marginstream.secrets', 'line', 1)",
    "SELECT dictGetOrNull('secrets', 'line', 1)",
    "SELECT dictHas('marginstream.secrets', 1)",
    "SELECT joinGet('marginstream.joined', 'v', 'k')",
    "SELECT joinGetOrNull(joined, 'v', 'k')",
    "SELECT * FROM private_notes",
    "SELECT * FROM merge('marginstream', 'private.*')",
    "SELECT * FROM merge('private.*')",
    "SELECT * FROM merge(REGEXP('.*'), '.*')",
    "SELECT 1 WHERE 'x' IN private_notes",
    "SELECT * FROM loop(private_notes) LIMIT 1",
    "SELECT * FROM mergeTreeIndex(marginstream, private_notes)",
    "SELECT * FROM mergeTreeProjection(marginstream, private_notes, p)",
    "SHOW CREATE TABLE private_notes",
    "SHOW CREATE DICTIONARY secrets",
    "CHECK TABLE cost_events",
    // Other users and the server.
    "SELECT * FROM system.processes",
    "SELECT * FROM `system`.`processes`",
    "SELECT * FROM system . processes",
    "SELECT 1 WHERE 'x' IN system.processes",
    "SELECT 1 WHERE 'x' IN (system.processes)",
    "SELECT * FROM merge('system', 'processes')",
    "SELECT * FROM system.query_log",
    "SELECT * FROM system.users",
    "SELECT * FROM system.grants",
    "SELECT * FROM system.server_settings",
    "SELECT * FROM system.disks",
    "SELECT * FROM system.parts",
    "SELECT * FROM system.dictionaries",
    "SELECT * FROM system.named_collections",
    "SELECT * FROM system.stack_trace",
    "SELECT * FROM system.errors",
    "SELECT * FROM system.zookeeper WHERE path = '/'",
    "SELECT * FROM system.detached_parts",
    "SELECT * FROM system.backups",
    "SHOW PROCESSLIST",
    "SHOW GRANTS",
    "SHOW ACCESS",
    "SHOW CREATE USER",
    "SHOW USERS",
    "SELECT hostName()",
    "SELECT FQDN()",
    "SELECT getServerSetting('path')",
    "SELECT getSetting('log_comment')",
    "SELECT getMacro('x')",
    "SELECT filesystemAvailable()",
    "SELECT getOSKernelVersion()",
    "SELECT showCertificate()",
    "SELECT demangle('x'), addressToSymbol(1)",
    "SELECT sleep(3)",
    "SELECT sleepEachRow(1) FROM numbers(3)",
    // Writes, settings, control.
    "INSERT INTO cost_events VALUES ('x', 1, map(), now())",
    "INSERT INTO cost_events SELECT * FROM cost_events",
    "INSERT INTO FUNCTION file('{d}/out.csv') SELECT 1",
    "INSERT INTO cost_events FROM INFILE '{f}' FORMAT CSV",
    "SELECT 1 INTO OUTFILE '{d}/out.csv'",
    "SELECT 1 INTO OUTFILE '{d}/out.csv' FORMAT CSV",
    "EXPLAIN SELECT 1 INTO OUTFILE '{d}/out.csv'",
    "CREATE TABLE t (a Int8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE t (a Int8)",
    "CREATE TEMPORARY TABLE t ENGINE = File(CSV, '{f}')",
    "CREATE VIEW w AS SELECT * FROM file('{f}')",
    "CREATE DICTIONARY d (id UInt64) PRIMARY KEY id SOURCE(FILE(PATH '{f}' FORMAT 'CSV')) LAYOUT(FLAT()) LIFETIME(0)",
    "CREATE FUNCTION f AS x -> x",
    "CREATE USER eve",
    "CREATE NAMED COLLECTION c AS a = 1",
    "ATTACH TABLE t (a Int8) ENGINE = File(CSV, '{f}')",
    "ALTER TABLE cost_events DELETE WHERE 1",
    "DELETE FROM cost_events WHERE 1",
    "UPDATE cost_events SET cost = 0 WHERE 1",
    "TRUNCATE TABLE cost_events",
    "DROP TABLE cost_events",
    "RENAME TABLE cost_events TO x",
    "OPTIMIZE TABLE cost_events",
    "GRANT ALL ON *.* TO default",
    "SET readonly = 0",
    "SET ROLE service",
    "SET ROLE ALL",
    "EXECUTE AS default SELECT 1",
    "USE system",
    "SYSTEM SHUTDOWN",
    "SYSTEM FLUSH LOGS",
    "KILL QUERY WHERE 1",
    "BACKUP DATABASE marginstream TO File('{d}/backup.zip')",
    "RESTORE DATABASE marginstream FROM File('{d}/backup.zip')",
    "DETACH TABLE cost_events",
    "UNDROP TABLE x",
    "WATCH v",
    "BEGIN TRANSACTION",
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT 1 SETTINGS max_memory_usage = 0",
    "SELECT * FROM (SELECT 1 SETTINGS max_execution_time = 0)",
    "SELECT 1; DROP TABLE cost_events",
    "SELECT 1; SELECT * FROM file('{f}', 'LineAsString')",
    "SELECT 1;;SET readonly = 0; SELECT 2",
    "SELECT 1 PARALLEL WITH DROP TABLE cost_events",
    "SELECT file('{f}'); nonsense",
    "nonsense; SELECT file('{f}')",
    "graph = 1, file('{f}')",
    "optimize = 0 SELECT file('{f}')",
    "SELECT 1 AS `x\n Literal UInt64_1`, file('{f}')",
    "SELECT\u{00a0}*\u{00a0}FROM\u{00a0}file('{f}', 'LineAsString')",
    "SELECT * FROM f\u{0456}le('{f}', 'LineAsString')",
    "\u{feff}SELECT file('{f}')",
    "SELECT * FROM file($x${f}$x$, 'LineAsString')",
    "SELECT * FROM generateRandom('a String') LIMIT 1",
    "SELECT * FROM input('a String')",
    "SELECT * FROM format(LineAsString, 'x')",
    "SELECT * FROM fuzzJSON('x', query_id = 1)",
    "SELECT * FROM null('a String')",
    "SELECT * FROM zeros(1)",
    "SELECT * FROM arrowstream('x')",
    "SELECT * FROM timeSeriesData('marginstream.x')",
    "SELECT * FROM prometheusQuery('marginstream.x', 'up', now())",
];

#[test]
fn every_attack_is_refused_and_nothing_leaks() {
    let Some(setup) = setup("every_attack_is_refused_and_nothing_leaks") else {
        return;
    };
    let mut failures = Vec::new();
    for attack in ATTACKS {
        let sql = attack
            .replace("{f}", &setup.path("secret.csv"))
            .replace("{d}", setup.directory.path().to_str().unwrap())
            .replace("{b}", &setup.bait.to_string());
        let (status, body) = setup.analyst(&sql, "");
        if status == 200 || body.contains(SECRET) {
            failures.push(format!("{status} {sql}\n  {body}"));
        }
    }
    println!("{} attacks", ATTACKS.len());
    assert!(
        failures.is_empty(),
        "{} got through:\n{}",
        failures.len(),
        failures.join("\n")
    );
    assert_eq!(
        BAIT_TAKEN.load(Ordering::SeqCst),
        0,
        "the engine connected to the bait"
    );
    assert!(!setup.directory.path().join("out.csv").exists());
    let (_, rows) = ask(
        setup.port,
        SERVICE_USER,
        "SELECT count(), sum(cost) FROM cost_events FORMAT JSONCompactEachRow",
        "",
    );
    assert!(rows.contains("100") && rows.contains("4950"), "{rows}");
}

#[test]
fn attacks_by_parameter_are_refused() {
    let Some(setup) = setup("attacks_by_parameter_are_refused") else {
        return;
    };
    let file = setup.path("secret.csv").replace('/', "%2F");
    let attacks = [
        ("SELECT * FROM {t:Identifier}", format!("param_t={file}")),
        ("SELECT * FROM default.{t:Identifier}", format!("param_t={file}")),
        (
            "SELECT * FROM {d:Identifier}.{t:Identifier}",
            format!("param_d=default&param_t={file}"),
        ),
        (
            "SELECT * FROM {d:Identifier}.processes",
            "param_d=system".to_owned(),
        ),
        (
            "SELECT * FROM system.{t:Identifier}",
            "param_t=processes".to_owned(),
        ),
        ("SELECT * FROM {t:Identifier}", "param_t=private_notes".to_owned()),
        ("SELECT * FROM processes", "database=system".to_owned()),
        ("SELECT * FROM `secret.csv`", "database=default".to_owned()),
        ("SELECT * FROM private_notes", "database=marginstream".to_owned()),
        (
            "SELECT 1",
            "readonly=0&allow_introspection_functions=1".to_owned(),
        ),
        ("SELECT 1", "max_execution_time=0".to_owned()),
        ("SELECT 1", "max_memory_usage=99999999999".to_owned()),
        ("SELECT 1", "format_schema=x".to_owned()),
        ("SELECT 1", "format_schema_source=file".to_owned()),
        ("SELECT 1", "additional_table_filters=%7B%7D".to_owned()),
        ("SELECT 1", "implicit_select=1".to_owned()),
        ("SELECT 1", "dialect=prql".to_owned()),
        ("SELECT 1", "role=service".to_owned()),
        ("SELECT 1", "output_format_x%20%3D%201%2C%20readonly=0".to_owned()),
        ("SELECT 1", "default_format=x%20INTO%20OUTFILE".to_owned()),
        (
            "SELECT {x:String} FROM {y:Identifier}(1)",
            "param_x=1&param_y=file".to_owned(),
        ),
    ];
    for (sql, parameters) in attacks {
        let (status, body) = setup.analyst(sql, &parameters);
        assert!(
            status != 200 && !body.contains(SECRET),
            "{sql} with {parameters}: {status} {body}"
        );
    }
}

/// Statements data teams need.
const QUERIES: &[&str] = &[
    "SELECT 1",
    "SELECT version(), timezone(), currentDatabase(), currentUser()",
    "SELECT count() FROM cost_events",
    "SELECT count() FROM marginstream.cost_events;",
    "SELECT org_id, sum(cost) AS cost FROM cost_events GROUP BY org_id ORDER BY cost DESC LIMIT 10",
    "SELECT * FROM customer_period_margins FORMAT JSON",
    "SELECT toStartOfMonth(created_at) AS month, sumIf(cost, org_id = 'o1'), uniqExact(org_id) FROM cost_events GROUP BY month",
    "SELECT tags['team'] AS team, quantile(0.95)(cost), quantilesExact(0.5, 0.9)(cost) FROM cost_events GROUP BY team WITH TOTALS",
    "WITH totals AS (SELECT org_id, sum(cost) AS cost FROM cost_events GROUP BY org_id) SELECT * FROM totals WHERE cost > (SELECT avg(cost) FROM totals)",
    "SELECT org_id, cost, sum(cost) OVER (PARTITION BY org_id ORDER BY cost ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW) FROM cost_events",
    "SELECT a.org_id, b.cost FROM cost_events AS a LEFT JOIN customer_period_margins AS b USING (org_id) LIMIT 5",
    "SELECT * FROM cost_events WHERE org_id IN (SELECT org_id FROM customer_period_margins) LIMIT 3",
    "SELECT CASE WHEN cost > 10 THEN 'high' ELSE 'low' END AS level, count() FROM cost_events GROUP BY level",
    "SELECT CASE org_id WHEN 'o1' THEN 1 ELSE 2 END FROM cost_events LIMIT 1",
    "SELECT cost::String, CAST(cost AS Float64), round(cost / 3, 2), toString(created_at) FROM cost_events LIMIT 1",
    "SELECT arrayMap(x -> x * 2, [1, 2, 3]), mapKeys(tags), splitByChar(',', 'a,b'), JSONExtractString('{\"a\":\"b\"}', 'a') FROM cost_events LIMIT 1",
    "SELECT lower('A'), UPPER('a'), DATE_TRUNC('month', created_at), dateDiff('day', created_at, now()), formatDateTime(created_at, '%F') FROM cost_events LIMIT 1",
    "SELECT created_at + INTERVAL 1 DAY, EXTRACT(YEAR FROM created_at), created_at BETWEEN '2024-01-01' AND '2026-01-01' FROM cost_events LIMIT 1",
    "SELECT * EXCEPT (tags), COLUMNS('^c') FROM cost_events LIMIT 1",
    "SELECT count(*), count(DISTINCT org_id), any(cost), argMax(org_id, cost), groupArray(3)(cost), topK(2)(org_id) FROM cost_events",
    "SELECT row_number() OVER (ORDER BY cost), lagInFrame(cost) OVER (ORDER BY cost), rank() OVER w FROM cost_events WINDOW w AS (ORDER BY org_id)",
    "SELECT org_id, grouping(org_id), sum(cost) FROM cost_events GROUP BY ROLLUP(org_id)",
    "SELECT number FROM numbers(5) UNION ALL SELECT 7",
    "SELECT * FROM values('a Int8, b String', (1, 'x'), (2, 'y'))",
    "SELECT 1 INTERSECT SELECT 1",
    "SELECT day, n FROM (SELECT toDate('2025-01-01') AS day, 1 AS n) ORDER BY day WITH FILL TO toDate('2025-01-05') INTERPOLATE (n AS n)",
    "SELECT x, y FROM (SELECT [1, 2] AS x) ARRAY JOIN x AS y",
    "SELECT * FROM cost_events ORDER BY cost LIMIT 1 BY org_id FORMAT CSVWithNames",
    "SELECT * FROM cost_events FORMAT Native",
    "SELECT * FROM cost_events FORMAT Parquet",
    "SELECT coalesce(NULL, 1), ifNull(NULL, 2), nullIf(1, 1), 1 IS NULL, NOT 1, 5 % 2, -cost FROM cost_events LIMIT 1",
    "/* dashboard */ SELECT 1 -- done",
    "SHOW TABLES",
    "SHOW DATABASES",
    "DESCRIBE TABLE cost_events",
    "DESC cost_events",
    "SHOW CREATE TABLE cost_events",
    "SHOW COLUMNS FROM cost_events",
    "EXISTS TABLE cost_events",
    "EXPLAIN SELECT count() FROM cost_events",
    "EXPLAIN SYNTAX SELECT 1",
    "SELECT name, type FROM system.columns WHERE database = 'marginstream'",
    "SELECT name, engine FROM system.tables WHERE database = currentDatabase()",
    "SELECT name, value, changed, description, type, readonly FROM system.settings",
    "SELECT table_name FROM information_schema.tables",
    "SELECT name FROM system.databases",
    "SELECT name FROM system.functions LIMIT 5",
];

#[test]
fn legitimate_queries_work() {
    let Some(setup) = setup("legitimate_queries_work") else {
        return;
    };
    let mut failures = Vec::new();
    for sql in QUERIES {
        let (status, body) = setup.analyst(sql, "");
        if status != 200 || body.contains("__exception__") {
            failures.push(format!("{status} {sql}\n  {body}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    let (_, tables) = setup.analyst("SELECT groupArray(name) FROM system.tables", "");
    assert!(
        tables.contains("cost_events") && !tables.contains("private_notes"),
        "{tables}"
    );
}

#[test]
fn legitimate_parameters_work() {
    let Some(setup) = setup("legitimate_parameters_work") else {
        return;
    };
    for (sql, parameters) in [
        (
            "SELECT count() FROM cost_events WHERE org_id = {org:String}",
            "param_org=o1",
        ),
        (
            "SELECT count() FROM cost_events",
            "database=marginstream&max_execution_time=5&max_result_rows=10",
        ),
        (
            "SELECT count() FROM cost_events",
            "database=default&readonly=1&session_id=x&wait_end_of_query=1",
        ),
        (
            "SELECT 1.5 AS x",
            "default_format=JSON&output_format_json_quote_64bit_integers=0",
        ),
    ] {
        let (status, body) = setup.analyst(sql, parameters);
        assert_eq!(status, 200, "{sql} with {parameters}: {body}");
    }
}

#[test]
fn limits_hold() {
    let Some(setup) = setup("limits_hold") else { return };
    let (status, body) = setup.analyst("SELECT number FROM numbers(2000000) FORMAT Null", "");
    assert!(status != 200 || body.contains("Code: 396"), "{status} {body}");
    let (status, body) = setup.analyst(
        "SELECT count() FROM numbers(1000000000000)",
        "max_execution_time=1",
    );
    assert!(body.contains("Code: 159"), "{status} {body}");
}
