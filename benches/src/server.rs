//! The server under test: its data directory, its process, its accounts.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;

use crate::cli::ServerArgs;
use crate::client::Client;
use crate::error::LoadError;

const START_TIMEOUT: Duration = Duration::from_secs(90);
/// Lines of the server's log that an error shows.
const LOG_TAIL_LINES: usize = 20;
/// No rate limits: they are not what is measured.
const NO_LIMITS: [&str; 8] = [
    "--ingest-per-ip-per-min=0",
    "--api-per-ip-per-min=0",
    "--requests-per-key-per-min=0",
    "--events-per-key-per-min=0",
    "--sign-in-per-account-per-min=0",
    "--sign-in-per-ip-per-min=0",
    "--listen=127.0.0.1:0",
    "--clickhouse-listen=127.0.0.1:0",
];

/// What `admin bootstrap --json` prints.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Account {
    email: String,
    password: String,
    api_key: String,
}

/// A running server, killed and removed when dropped.
#[derive(Debug)]
pub(crate) struct Server {
    binary: PathBuf,
    root: TempDir,
    account: Account,
    child: Child,
    api: SocketAddr,
    clickhouse: SocketAddr,
    analyst_password: String,
}

impl Server {
    /// Starts a server on an empty data directory with one organization, and waits until it answers.
    ///
    /// # Errors
    /// [`LoadError`]; nothing is left running then.
    pub(crate) fn start(args: &ServerArgs) -> Result<Self, LoadError> {
        let binary = find_binary(args)?;
        let root = match &args.dir {
            Some(dir) => tempfile::tempdir_in(dir),
            None => tempfile::tempdir(),
        };
        let root = root.map_err(LoadError::io("make a data directory"))?;
        let data = root.path().join("data");
        let account = bootstrap(&binary, &data)?;
        let log_path = root.path().join("server.log");
        let log = File::create(&log_path).map_err(LoadError::io("write the server's log"))?;
        let mut command = marginstream(&binary);
        command
            .arg("standalone")
            .arg("--data")
            .arg(&data)
            .args(NO_LIMITS)
            .args(&args.server_args);
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(LoadError::io("start the server"))?;
        let ready = child.stdout.take().and_then(wait_until_ready);
        let password = fs::read_to_string(data.join("clickhouse-analyst.password"));
        let (Some((api, clickhouse)), Ok(password)) = (ready, password) else {
            child.kill().and_then(|()| child.wait()).ok();
            return Err(LoadError::Server {
                what: "the start of the server",
                log: tail(&log_path),
            });
        };
        Ok(Self {
            binary,
            root,
            account,
            child,
            api,
            clickhouse,
            analyst_password: password.trim().to_owned(),
        })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.root.path().join("data")
    }

    /// Connects as a sender of events, with the API key.
    pub(crate) fn sender(&self) -> Result<Client, LoadError> {
        Client::connect(self.api, &[("X-NullSpend-Key", &self.account.api_key)])
    }

    /// Connects to ClickHouse's HTTP interface as the analyst.
    pub(crate) fn analyst(&self) -> Result<Client, LoadError> {
        let headers = [
            ("X-ClickHouse-User", "analyst"),
            ("X-ClickHouse-Key", &*self.analyst_password),
        ];
        Client::connect(self.clickhouse, &headers)
    }

    /// Signs the owner in, and returns the cookie of the session.
    pub(crate) fn sign_in(&self) -> Result<String, LoadError> {
        let body = json!({"email": self.account.email, "password": self.account.password}).to_string();
        let answer = Client::connect(self.api, &[])?.send(
            "POST",
            "/api/auth/login",
            "application/json",
            body.as_bytes(),
        )?;
        let cookie = answer
            .header("set-cookie")
            .and_then(|cookie| cookie.split(';').next());
        cookie.map(str::to_owned).ok_or_else(|| LoadError::Malformed {
            what: "the session's cookie",
            text: "the answer to the sign-in".to_owned(),
        })
    }

    /// Connects as a person who signed in.
    pub(crate) fn reader(&self, cookie: &str) -> Result<Client, LoadError> {
        Client::connect(self.api, &[("Cookie", cookie)])
    }

    /// Imports Stripe invoices, one JSON object a line, while the server runs.
    pub(crate) fn import_invoices(&self, lines: &str) -> Result<(), LoadError> {
        let path = self.root.path().join("invoices.ndjson");
        fs::write(&path, lines).map_err(LoadError::io("write the invoices"))?;
        let mut command = marginstream(&self.binary);
        command
            .args(["invoices", "import", "--data"])
            .arg(self.data_dir())
            .arg(&path);
        run(&mut command, "the import of invoices").map(|_| ())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait()) {
            eprintln!("warning: cannot end the server, process {}: {error}", self.pid());
        }
    }
}

fn find_binary(args: &ServerArgs) -> Result<PathBuf, LoadError> {
    let path = match &args.binary {
        Some(path) => path.clone(),
        None => std::env::current_exe()
            .map_err(LoadError::io("find this program"))?
            .with_file_name("marginstream"),
    };
    path.canonicalize().map_err(|source| LoadError::File {
        action: "find the server's program",
        path,
        source,
    })
}

/// Returns a command without the caller's settings.
fn marginstream(binary: &Path) -> Command {
    let mut command = Command::new(binary);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MARGINSTREAM_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

fn bootstrap(binary: &Path, data: &Path) -> Result<Account, LoadError> {
    let mut command = marginstream(binary);
    command
        .args([
            "admin",
            "bootstrap",
            "--org",
            "Load",
            "--email",
            "owner@load.test",
        ])
        .args(["--tier", "pro", "--json", "--data"])
        .arg(data);
    let output = run(&mut command, "the bootstrap")?;
    serde_json::from_slice(&output).map_err(LoadError::json("the account"))
}

/// Runs a command to its end and returns what it printed.
fn run(command: &mut Command, what: &'static str) -> Result<Vec<u8>, LoadError> {
    let output = command
        .output()
        .map_err(LoadError::io("run a command of the server"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    Err(LoadError::Server {
        what,
        log: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Waits for the line that names both addresses; none where the server ends or takes too long.
fn wait_until_ready(stdout: ChildStdout) -> Option<(SocketAddr, SocketAddr)> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // The receiver is gone once it has its line; reading on keeps the pipe from filling.
            sender.send(line).ok();
        }
    });
    let line = receiver.recv_timeout(START_TIMEOUT).ok()?;
    parse_ready(&line)
}

fn parse_ready(line: &str) -> Option<(SocketAddr, SocketAddr)> {
    let mut addresses = line.split("http://").skip(1).map(|rest| {
        let end = rest.find([',', ' ', '/']).unwrap_or(rest.len());
        rest[..end].parse().ok()
    });
    Some((addresses.next()??, addresses.next()??))
}

fn tail(path: &Path) -> String {
    let log = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<_> = log.lines().collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_both_addresses_in_the_ready_line() {
        let line = "marginstream is ready: API http://127.0.0.1:8080, ClickHouse http://127.0.0.1:8123 (user analyst)";
        let (api, clickhouse) = parse_ready(line).unwrap();
        assert_eq!((api.port(), clickhouse.port()), (8080, 8123));
        assert_eq!(parse_ready("error"), None);
    }
}
