//! ClickHouse access: the client the services use, migrations, and the embedded engine with its
//! HTTP interface.
//!
//! [`Warehouse`] talks HTTP to a ClickHouse server. [`Engine`] is ClickHouse as a library in this
//! process, and [`serve`] puts ClickHouse's HTTP interface in front of it, so that the same client,
//! `curl` and BI tools work against either.

mod client;
mod engine;
mod error;
mod migrate;
mod server;
mod sql;
#[cfg(feature = "testing")]
pub mod testing;

pub use client::{InsertSummary, Warehouse, WarehouseConfig};
pub use engine::{ANALYST_TABLES, DEFAULT_DATABASE, Engine, EngineConfig, EngineError};
pub use error::WarehouseError;
pub use migrate::{AppliedMigration, Migration};
pub use server::{AnalystLimits, Credentials, ServeError, ServerConfig, Users, router, serve};
