//! The engine, its HTTP interface and the client, together.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

mod arrow_types;
mod client;
mod http;
