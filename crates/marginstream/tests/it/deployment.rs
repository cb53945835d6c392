//! What tests ask of a deployment, whether it is one process or many.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::{self, Answer};
use crate::server::run;

/// An organization's owner.
pub(crate) struct Owner {
    /// Tokens of the sessions that were started.
    sessions: Mutex<Vec<String>>,
    pub(crate) email: String,
    pub(crate) password: String,
    pub(crate) api_key: String,
}

impl Owner {
    /// Makes an organization with `command`, which names the store.
    pub(crate) fn bootstrap(command: &mut Command) -> Self {
        let output = run(command.args([
            "--org",
            "Acme",
            "--email",
            "owner@acme.test",
            "--tier",
            "pro",
            "--json",
        ]));
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let owner: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |member: &str| owner[member].as_str().unwrap().to_owned();
        Self {
            sessions: Mutex::default(),
            email: text("email"),
            password: text("password"),
            api_key: text("apiKey"),
        }
    }
}

impl Owner {
    fn note_session(&self, cookie: &str) {
        let token = cookie.split_once('=').unwrap().1.to_owned();
        self.sessions.lock().unwrap().push(token);
    }

    /// Asserts that what the processes wrote holds none of the owner's secrets. Called when a deployment
    /// ends, so that every test looks.
    pub(crate) fn assert_secret(&self, log: &str) {
        if std::thread::panicking() {
            return;
        }
        let sessions = self.sessions.lock().unwrap();
        let secrets = sessions.iter().chain([&self.password, &self.api_key]);
        for secret in secrets {
            assert!(!log.contains(secret.as_str()), "a secret was logged:\n{log}");
        }
    }
}

/// A product that runs, with one organization.
pub(crate) trait Deployment {
    fn owner(&self) -> &Owner;

    /// Where cost events are taken.
    fn ingest(&self) -> SocketAddr;

    /// Where queries are answered.
    fn queries(&self) -> SocketAddr;

    /// Where SQL is answered.
    fn clickhouse(&self) -> SocketAddr;

    /// The directory with the analyst's password.
    fn data(&self) -> &Path;

    /// What the processes wrote on standard error.
    fn log(&self) -> String;

    /// Sends a request with the API key.
    fn with_key(&self, path: &str, content_type: &str, body: &[u8]) -> io::Result<Answer> {
        let headers = [
            ("X-NullSpend-Key", &*self.owner().api_key),
            ("Content-Type", content_type),
        ];
        http::send(self.ingest(), "POST", path, &headers, body)
    }

    fn post_event(&self, event: &Value) -> io::Result<Answer> {
        self.with_key(
            "/api/cost-events",
            "application/json",
            event.to_string().as_bytes(),
        )
    }

    fn stream(&self, lines: &[u8]) -> io::Result<Answer> {
        self.with_key("/api/cost-events/stream", "application/x-ndjson", lines)
    }

    /// Signs the owner in and returns the cookie.
    fn sign_in(&self) -> String {
        let body = json!({"email": self.owner().email, "password": self.owner().password}).to_string();
        let headers = [("Content-Type", "application/json")];
        let answer = http::send(
            self.queries(),
            "POST",
            "/api/auth/login",
            &headers,
            body.as_bytes(),
        )
        .unwrap()
        .expect(200);
        let cookie = answer.header("set-cookie").unwrap();
        let cookie = cookie.split(';').next().unwrap().to_owned();
        self.owner().note_session(&cookie);
        cookie
    }

    /// Sends a request with a session.
    fn with_session(&self, cookie: &str, method: &str, path: &str, body: &[u8]) -> Answer {
        let headers = [("Cookie", cookie), ("Content-Type", "application/json")];
        http::send(self.queries(), method, path, &headers, body).unwrap()
    }

    fn get(&self, cookie: &str, path: &str) -> Answer {
        self.with_session(cookie, "GET", path, b"")
    }

    /// Maps a customer's tag value to a Stripe customer.
    fn map(&self, cookie: &str, tag_value: &str, stripe_customer: &str) {
        let body = json!({"stripeCustomerId": stripe_customer, "tagValue": tag_value}).to_string();
        self.with_session(cookie, "POST", "/api/customer-mappings", body.as_bytes())
            .expect(201);
    }

    /// Runs SQL as the analyst, and returns the rows as JSON objects.
    fn sql(&self, query: &str) -> Vec<Value> {
        let password = fs::read_to_string(self.data().join("clickhouse-analyst.password")).unwrap();
        let headers = [
            ("X-ClickHouse-User", "analyst"),
            ("X-ClickHouse-Key", password.trim()),
        ];
        let path = "/?default_format=JSONEachRow&output_format_json_quote_64bit_integers=0";
        let answer = http::send(self.clickhouse(), "POST", path, &headers, query.as_bytes())
            .unwrap()
            .expect(200);
        answer
            .text()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// Waits until so many events are counted, in the roll-up that is written last.
    fn wait_for_rows(&self, num_events: u64) {
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
}
