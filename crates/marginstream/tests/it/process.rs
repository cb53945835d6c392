//! One process of a deployment: started, killed, stopped and woken.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::http;
use crate::server::run;

/// Longest time that a start may take.
const START_TIMEOUT: Duration = Duration::from_secs(90);

/// A process that can be started again and again.
pub(crate) struct Process {
    command: Box<dyn Fn() -> Command + Send + Sync>,
    /// Where it answers `GET` once it is up.
    health: (SocketAddr, &'static str),
    log_path: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Process {
    /// Describes a process; starts nothing.
    pub(crate) fn new(
        log_path: PathBuf,
        health: (SocketAddr, &'static str),
        command: impl Fn() -> Command + Send + Sync + 'static,
    ) -> Self {
        Self {
            command: Box::new(command),
            health,
            log_path,
            child: Mutex::new(None),
        }
    }

    /// Starts it with more variables; it may not answer yet.
    pub(crate) fn launch(&self, variables: &[(&str, &str)]) {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&self.log_path)
            .unwrap();
        let mut command = (self.command)();
        command
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        *self.child() = Some(command.spawn().unwrap());
    }

    /// Starts it, and waits until it answers.
    pub(crate) fn start(&self) {
        self.launch(&[]);
        assert!(self.wait_until_up(), "it did not start:\n{}", self.log());
    }

    /// Waits until it answers; false where it ended before.
    pub(crate) fn wait_until_up(&self) -> bool {
        let deadline = Instant::now() + START_TIMEOUT;
        let (address, path) = self.health;
        while Instant::now() < deadline {
            if self.has_ended() {
                return false;
            }
            if http::send(address, "GET", path, &[], b"").is_ok_and(|answer| answer.status < 500) {
                return true;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it did not answer in time:\n{}", self.log());
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.child()
            .as_mut()
            .is_none_or(|child| child.try_wait().unwrap().is_some())
    }

    /// Kills it with SIGKILL, stopped or not.
    pub(crate) fn kill(&self) {
        let child = self.child().take();
        if let Some(mut child) = child {
            child.kill().ok();
            child.wait().unwrap();
        }
    }

    /// Stops it with SIGTERM, and waits for its end in order.
    pub(crate) fn stop(&self) {
        self.signal("TERM");
        let child = self.child().take();
        let status = child.unwrap().wait().unwrap();
        assert!(status.success(), "{status}:\n{}", self.log());
    }

    /// Sends a signal by name, such as `STOP` or `CONT`.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child().as_ref().unwrap().id().to_string();
        let sent = run(Command::new("kill").arg(format!("-{name}")).arg(pid));
        assert!(sent.status.success());
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log_path).unwrap_or_default()
    }

    fn child(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}
