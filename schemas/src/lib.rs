//! The vocabulary that all services share: ids, money, periods, events, records, table layouts
//! and JSON bodies. Nothing here does I/O.

pub mod access;
pub mod api;
pub mod arrow;
pub mod asyncapi;
pub mod clickhouse;
pub mod codec;
pub mod cost_event;
pub mod dead_letter;
pub mod id;
pub mod invoice;
pub mod mapping;
pub mod margin;
pub mod money;
pub mod period;
pub mod record_schemas;
pub mod reject;
pub mod tags;
pub mod time;
pub mod topic;
