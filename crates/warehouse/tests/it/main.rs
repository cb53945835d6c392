//! The engine, its HTTP interface and the client, together.

mod arrow_types;
mod client;
mod http;
