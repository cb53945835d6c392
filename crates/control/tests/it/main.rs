//! The control store over a real SQLite file and a real Postgres server, each test in a directory or
//! a database of its own.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod bootstrap;
mod latency;
mod mappings;
mod opening;
mod orgs;
mod outbox;
mod postgres;
mod services;
mod sessions;
mod sqlite;
mod support;
