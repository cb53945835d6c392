//! An independent validator over the generated schemas: Python's `jsonschema`, in a process of its own.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use schemas::record_schemas::record_schemas;
use serde_json::Value;

/// Answers each line, a record, with one line: what is wrong, or nothing.
const SCRIPT: &str = "
import json, sys
from jsonschema import Draft202012Validator
schema = json.loads(sys.stdin.readline())
Draft202012Validator.check_schema(schema)
validator = Draft202012Validator(schema)
for line in sys.stdin:
    error = next(validator.iter_errors(json.loads(line)), None)
    print('' if error is None else repr(error.message), flush=True)
";

pub(crate) struct Validator {
    talk: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
    child: Child,
}

impl Validator {
    /// Compiles the schema of one of the files; none where the tests' Python is missing, which only CI
    /// does not forgive.
    pub(crate) fn of(file: &str) -> Option<Self> {
        let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/test-venv/bin/python");
        if !python.exists() {
            assert!(
                std::env::var_os("CI").is_none(),
                "deploy/test-venv is missing: run `make test`"
            );
            println!("SKIPPED validation by {file}: deploy/test-venv is missing; run `make test`");
            return None;
        }
        let (_, schema) = record_schemas()
            .into_iter()
            .find(|(name, _)| *name == file)
            .unwrap();
        let mut child = Command::new(python)
            .args(["-c", SCRIPT])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut requests = child.stdin.take().unwrap();
        writeln!(requests, "{schema}").unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap());
        Some(Self {
            talk: Mutex::new((requests, answers)),
            child,
        })
    }

    /// Tells what is wrong with a record.
    pub(crate) fn check(&self, record: &Value) -> Result<(), String> {
        let mut talk = self.talk.lock().unwrap();
        writeln!(talk.0, "{record}").unwrap();
        talk.0.flush().unwrap();
        let mut answer = String::new();
        assert!(
            talk.1.read_line(&mut answer).unwrap() > 0,
            "the validator ended; its reason stands above"
        );
        match answer.trim() {
            "" => Ok(()),
            error => Err(error.to_owned()),
        }
    }
}

impl Drop for Validator {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
