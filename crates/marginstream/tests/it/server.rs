//! Starts, kills and asks the real binary.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::deployment::{Deployment, Owner};
use crate::http;

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
    owner: Owner,
    starts: AtomicUsize,
    child: std::sync::Mutex<Option<Child>>,
}

impl Site {
    /// Makes a directory and its organization; starts nothing.
    pub(crate) fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let data = root.path().join("data");
        let owner = Owner::bootstrap(
            marginstream()
                .args(["admin", "bootstrap"])
                .arg("--data")
                .arg(&data),
        );
        Self {
            data,
            listen: free_address(),
            clickhouse: free_address(),
            owner,
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
        let mut command = self.standalone();
        command.envs(variables.iter().copied());
        self.try_start_command(command)
    }

    /// Starts what [`Site::standalone`] returned, with more arguments, and waits until it answers.
    pub(crate) fn start_command(&self, command: Command) {
        let started = self.try_start_command(command);
        assert!(started, "the server did not start:\n{}", self.log());
    }

    fn try_start_command(&self, mut command: Command) -> bool {
        self.starts.fetch_add(1, Ordering::Relaxed);
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.log_path())
            .unwrap();
        command.stdout(Stdio::null()).stderr(log);
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

impl Deployment for Site {
    fn owner(&self) -> &Owner {
        &self.owner
    }

    fn ingest(&self) -> SocketAddr {
        self.listen
    }

    fn queries(&self) -> SocketAddr {
        self.listen
    }

    fn clickhouse(&self) -> SocketAddr {
        self.clickhouse
    }

    fn data(&self) -> &Path {
        &self.data
    }

    fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.kill();
        self.owner.assert_secret(&self.log());
    }
}
