//! The services as processes of their own, around Kafka, a ClickHouse server and Postgres:
//! `marginstream ingest`, `processor`, `query-api` and `migrate`.
//!
//! Each service waits for its backends at the start, brings their tables and topics to the newest
//! version, and answers `GET /api/health` and `GET /metrics`. A part that ends by itself ends the
//! process, which whoever runs it starts again.

mod backends;
mod drain;
mod ingest;
mod migrate;
mod processor;
mod query_api;

pub(crate) use backends::{open_control, open_log, open_log_once, open_warehouse, refuse_running_processors};
pub(crate) use drain::{Held, drain};
pub(crate) use migrate::migrate;

pub(crate) use ingest::run as run_ingest;
pub(crate) use processor::run as run_processor;
pub(crate) use query_api::run as run_query_api;
