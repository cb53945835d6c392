//! Starts, kills and asks the real binary.

use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::{self, Answer};

/// Longest time that a start may take.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// Returns a command of the binary under test, with no settings of the caller's.
pub(crate) fn marginstream() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_marginstream"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("MARGINSTREAM_")) {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

pub(crate) fn run(command: &mut Command) -> Output {
    command.output().unwrap()
}

/// An address that nobody listens on at the moment.
pub(crate) fn free_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

/// A data directory with an organization, and perhaps a server on it.
pub(crate) struct Site {
    _root: tempfile::TempDir,
    pub(crate) data: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) clickhouse: SocketAddr,
    pub(crate) email: String,
    pub(crate) password: String,
    pub(crate) api_key: String,
    starts: AtomicUsize,
    child: std::sync::Mutex<Option<Child>>,
}

impl Site {
    /// Makes a directory and its organization; starts nothing.
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        let output = run(marginstream()
            .args([
                "admin",
                "bootstrap",
                "--org",
                "Acme",
                "--email",
                "owner@acme.test",
                "--tier",
                "pro",
                "--json",
            ])
            .arg("--data")
            .arg(&data));
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let owner: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |member: &str| owner[member].as_str().unwrap().to_owned();
        Self {
            data,
            listen: free_address(),
            clickhouse: free_address(),
            email: text("email"),
            password: text("password"),
            api_key: text("apiKey"),
            starts: AtomicUsize::new(0),
            child: std::sync::Mutex::new(None),
            _root: root,
        }
    }

    pub(crate) fn started() -> Self {
        let site = Self::new();
        site.start(&[]);
        site
    }

    /// The command that starts a server here, without limits on rates.
    pub(crate) fn standalone(&self) -> Command {
        let mut command = marginstream();
        command
            .arg("standalone")
            .arg("--data")
            .arg(&self.data)
            .args([
                "--listen",
                &self.listen.to_string(),
                "--clickhouse-listen",
                &self.clickhouse.to_string(),
            ])
            .args([
                "--ingest-per-ip-per-min",
                "0",
                "--api-per-ip-per-min",
                "0",
                "--requests-per-key-per-min",
                "0",
            ]);
        command
    }

    /// Starts a server with more variables, and waits until it answers or ends.
    pub(crate) fn start(&self, variables: &[(&str, &str)]) {
        let started = self.try_start(variables);
        assert!(started, "the server did not start:\n{}", self.log());
    }

    /// Starts a server; false where it ended before it answered.
    pub(crate) fn try_start(&self, variables: &[(&str, &str)]) -> bool {
        self.starts.fetch_add(1, Ordering::Relaxed);
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        let mut command = self.standalone();
        command
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .stderr(log);
        *self.child.lock().unwrap() = Some(command.spawn().unwrap());
        let deadline = Instant::now() + START_TIMEOUT;
        while Instant::now() < deadline {
            if self.has_ended() {
                return false;
            }
            if http::send(self.listen, "GET", "/api/health", &[], b"")
                .is_ok_and(|answer| answer.status == 200)
            {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("the server did not answer in time:\n{}", self.log());
    }

    pub(crate) fn num_starts(&self) -> usize {
        self.starts.load(Ordering::Relaxed)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.child
            .lock()
            .unwrap()
            .as_mut()
            .is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    /// Kills the server with SIGKILL.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            child.kill().ok();
            child.wait().unwrap();
        }
    }

    /// Stops the server with SIGTERM, and waits for its end.
    pub(crate) fn stop(&self) {
        let mut child = self.child.lock().unwrap().take().unwrap();
        assert!(
            run(Command::new("kill").arg(child.id().to_string()))
                .status
                .success()
        );
        let status = child.wait().unwrap();
        assert!(status.success(), "{status}:\n{}", self.log());
    }

    fn log_path(&self) -> PathBuf {
        self.data.with_file_name("server.log")
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Sends a request with the API key.
    pub(crate) fn with_key(&self, path: &str, content_type: &str, body: &[u8]) -> io::Result<Answer> {
        let headers = [
            ("X-NullSpend-Key", &*self.api_key),
            ("Content-Type", content_type),
        ];
        http::send(self.listen, "POST", path, &headers, body)
    }

    pub(crate) fn post_event(&self, event: &Value) -> io::Result<Answer> {
        self.with_key(
            "/api/cost-events",
            "application/json",
            event.to_string().as_bytes(),
        )
    }

    pub(crate) fn stream(&self, lines: &[u8]) -> io::Result<Answer> {
        self.with_key("/api/cost-events/stream", "application/x-ndjson", lines)
    }

    /// Signs the owner in and returns the cookie.
    pub(crate) fn sign_in(&self) -> String {
        let body = json!({"email": self.email, "password": self.password}).to_string();
        let headers = [("Content-Type", "application/json")];
        let answer = http::send(self.listen, "POST", "/api/auth/login", &headers, body.as_bytes())
            .unwrap()
            .expect(200);
        answer
            .header("set-cookie")
            .unwrap()
            .split(';')
            .next()
            .unwrap()
            .to_owned()
    }

    /// Sends a request with a session.
    pub(crate) fn with_session(&self, cookie: &str, method: &str, path: &str, body: &[u8]) -> Answer {
        let headers = [("Cookie", cookie), ("Content-Type", "application/json")];
        http::send(self.listen, method, path, &headers, body).unwrap()
    }

    pub(crate) fn get(&self, cookie: &str, path: &str) -> Answer {
        self.with_session(cookie, "GET", path, b"")
    }

    /// Maps a customer's tag value to a Stripe customer.
    pub(crate) fn map(&self, cookie: &str, tag_value: &str, stripe_customer: &str) {
        let body = json!({"stripeCustomerId": stripe_customer, "tagValue": tag_value}).to_string();
        self.with_session(cookie, "POST", "/api/customer-mappings", body.as_bytes())
            .expect(201);
    }

    /// Runs SQL as the analyst, and returns the rows as JSON objects.
    pub(crate) fn sql(&self, query: &str) -> Vec<Value> {
        let password = fs::read_to_string(self.data.join("clickhouse-analyst.password")).unwrap();
        let headers = [
            ("X-ClickHouse-User", "analyst"),
            ("X-ClickHouse-Key", password.trim()),
        ];
        let path = "/?default_format=JSONEachRow&output_format_json_quote_64bit_integers=0";
        let answer = http::send(self.clickhouse, "POST", path, &headers, query.as_bytes())
            .unwrap()
            .expect(200);
        answer
            .text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Waits until so many events are counted, in the roll-up that is written last.
    pub(crate) fn wait_for_rows(&self, num_events: u64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let counted = self.sql("SELECT toUInt64(sum(requests)) AS n FROM cost_by_customer_month")[0]["n"]
                .as_u64()
                .unwrap();
            if counted >= num_events {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "{counted} of {num_events} events are counted:\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(30));
        }
    }

    /// Runs `marginstream reconcile` and asserts that it finds nothing.
    pub(crate) fn assert_reconciled(&self) {
        let output = run(marginstream()
            .args(["reconcile", "--json"])
            .arg("--data")
            .arg(&self.data));
        let report = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success(),
            "{report}{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let report: Value = serde_json::from_str(&report).unwrap();
        for table in report["tables"].as_array().unwrap() {
            assert_eq!(table["differences"], 0, "{table}");
        }
    }

    /// Runs an operator command on this data directory.
    pub(crate) fn command(&self, arguments: &[&str], files: &[&Path]) -> Output {
        run(marginstream()
            .args(arguments)
            .arg("--data")
            .arg(&self.data)
            .args(files))
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.kill();
    }
}
