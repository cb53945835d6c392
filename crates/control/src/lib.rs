//! The control store: what needs uniqueness and transactions (architecture §5).
//!
//! Organizations, users, memberships, API keys, sessions, settings, customer mappings, and the
//! outbox that carries changes to the warehouse's dimension tables. SQLite today; every statement
//! keeps to the SQL and the types that Postgres takes too.
//!
//! Reads go through a pool of read-only connections, writes through one connection whose
//! transactions take the write lock when they begin (`BEGIN IMMEDIATE`). No transaction reads
//! first and asks for the write lock later, so none fails with `SQLITE_BUSY` because another
//! writer came between. A second process waits for the lock, up to five seconds. A read that
//! starts after a write was acknowledged sees it, on every connection.

mod api_keys;
mod bootstrap;
mod error;
mod mappings;
mod migrations;
mod orgs;
mod outbox;
mod password;
mod row;
mod secret;
mod sessions;
mod sqlite;
mod store;

pub use api_keys::{CURRENT_API_VERSION, ResolvedApiKey};
pub use bootstrap::{BootstrapRequest, Bootstrapped};
pub use error::ControlError;
pub use orgs::Org;
pub use outbox::{DIMENSIONS, OutboxEntry};
pub use password::MIN_PASSWORD_CHARS;
pub use secret::{ApiKeySecret, GeneratedPassword, SecretHash, SessionToken};
pub use sessions::Session;
pub use store::ControlStore;
