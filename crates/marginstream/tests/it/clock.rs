//! A wall clock that a test moves while processes run (`clock.c`).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::server::run;

/// The clock of the processes that are started with [`Clock::variables`].
pub(crate) struct Clock {
    dir: TempDir,
}

impl Clock {
    /// Builds it; a C compiler is there wherever this product is built.
    pub(crate) fn build() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/clock.c");
        let library = dir.path().join("clock.so");
        let built = run(Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .arg("-ldl"));
        assert!(
            built.status.success(),
            "{}",
            String::from_utf8_lossy(&built.stderr)
        );
        let clock = Self { dir };
        clock.set_hours(0);
        clock
    }

    /// Moves the clock to `hours` from the real time, at once.
    pub(crate) fn set_hours(&self, hours: i64) {
        // In place: the processes have the file mapped.
        let mut file = fs::OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(self.offset_file())
            .unwrap();
        std::io::Write::write_all(&mut file, &(hours * 3_600).to_ne_bytes()).unwrap();
    }

    pub(crate) fn variables(&self) -> [(&'static str, String); 2] {
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        [
            ("LD_PRELOAD", text(self.dir.path().join("clock.so"))),
            ("CLOCK_OFFSET_FILE", text(self.offset_file())),
        ]
    }

    fn offset_file(&self) -> PathBuf {
        self.dir.path().join("offset")
    }
}
