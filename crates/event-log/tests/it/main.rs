//! Tests of the event log through its public interface.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests")]

mod contract;
mod crash;
mod damage;
mod disk_full;
mod kafka;
mod kafka_cluster;
mod kafka_secure;
mod kafka_stopped;
mod local;
mod support;
