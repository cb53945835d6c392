//! Tests of the event log through its public interface.

mod contract;
mod crash;
mod damage;
mod disk_full;
mod local;
mod support;
