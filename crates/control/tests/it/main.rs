//! The control store over a real SQLite file, each test in a directory of its own.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod bootstrap;
mod latency;
mod mappings;
mod opening;
mod orgs;
mod outbox;
mod sessions;
mod support;
