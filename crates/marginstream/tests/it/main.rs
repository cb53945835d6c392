//! The real binary from outside, as its users meet it: over HTTP, on the command line, killed.
//!
//! Each test has a data directory and ports of its own. The oracle (`oracle.rs`) sums what was
//! sent in plain loops and shares no code with the product.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod clients;
mod clock;
mod cluster;
mod cluster_operations;
mod consumers;
mod crash;
mod deployment;
mod duplicates;
mod events;
mod fault_matrix;
mod faults;
mod http;
mod isolation;
mod margins;
mod metrics;
mod openapi;
mod operator;
mod oracle;
mod process;
mod proxy;
mod published_client;
mod records;
mod refusals;
mod server;
mod trace;
