//! Named points at which a crash test kills the process.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

/// The variable that names the point: `<name>`, or `<name>:<n>` for its n-th pass, from 1.
pub const CRASH_AT_VARIABLE: &str = "MARGINSTREAM_CRASH_AT";

const UNREAD: u8 = 0;
const OFF: u8 = 1;
const ARMED: u8 = 2;

static STATE: AtomicU8 = AtomicU8::new(UNREAD);
static TARGET: OnceLock<Target> = OnceLock::new();

/// Kills the process with SIGKILL, so that nothing is flushed and no destructor runs, if
/// [`CRASH_AT_VARIABLE`] names this point and pass. The variable is read once; where it is unset, a
/// call costs one atomic load.
pub fn crash_point(name: &'static str) {
    if STATE.load(Ordering::Relaxed) != OFF {
        crash_if_named(name);
    }
}

#[cold]
fn crash_if_named(name: &str) {
    if STATE.load(Ordering::Acquire) == UNREAD {
        read_target();
    }
    if TARGET.get().is_some_and(|target| target.is_hit(name)) {
        kill();
    }
}

fn read_target() {
    let text = std::env::var(CRASH_AT_VARIABLE).unwrap_or_default();
    let state = match Target::parse(&text) {
        Some(target) => {
            TARGET.get_or_init(|| target);
            ARMED
        }
        None => OFF,
    };
    STATE.store(state, Ordering::Release);
}

/// A point, and how many passes of it are still to come.
#[derive(Debug)]
struct Target {
    name: String,
    at_pass: u64,
    passes: AtomicU64,
}

impl Target {
    fn parse(text: &str) -> Option<Self> {
        let (name, at_pass) = match text.rsplit_once(':') {
            Some((name, pass)) => (name, pass.parse().ok()?),
            None => (text, 1),
        };
        (!name.is_empty() && at_pass > 0).then(|| Self {
            name: name.to_owned(),
            at_pass,
            passes: AtomicU64::new(0),
        })
    }

    fn is_hit(&self, name: &str) -> bool {
        self.name == name && self.passes.fetch_add(1, Ordering::Relaxed).saturating_add(1) == self.at_pass
    }
}

fn kill() -> ! {
    let killed = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    // The signal may take effect a moment after the call; this thread does nothing meanwhile.
    while killed.is_ok() {
        std::thread::park();
    }
    std::process::abort()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_passes_of_its_own_point() {
        let target = Target::parse("after-intent:3").unwrap();
        let hits: Vec<_> = (0..5).map(|_| target.is_hit("after-intent")).collect();
        assert_eq!(hits, [false, false, true, false, false]);
        assert!(!target.is_hit("other"));
        assert!(Target::parse("after-intent").unwrap().is_hit("after-intent"));
    }

    #[test]
    fn a_text_that_names_no_point_is_off() {
        for text in ["", ":1", "point:0", "point:x"] {
            assert!(Target::parse(text).is_none(), "{text}");
        }
        crash_point("unset");
        assert_eq!(STATE.load(Ordering::Acquire), OFF);
    }
}
