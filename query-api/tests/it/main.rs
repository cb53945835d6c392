//! The router over a real control store and a real warehouse.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod access;
mod attribution;
mod cost_events;
mod customer_mappings;
mod health;
mod margins;
mod support;
