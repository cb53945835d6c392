//! HTTP out of the warehouse and the control store: margins, customer mappings, attribution and
//! cost events (`../spec/margins.md`, `../spec/cost-events.md`).
//!
//! Dashboards read roll-ups only, so the cost of a margin page depends on the number of customers,
//! not of events. Raw events are read by the event list and by id, along the table's key.

mod attribution;
mod cost_summary;
mod customer_mapping;
mod health;
mod margin_csv;
mod margin_table;
mod metrics;
mod path;
mod queries;
mod routes;
mod state;

pub use health::warehouse_check;
pub use margin_table::{MonthlyAmounts, build_margin_table};
pub use metrics::METRICS;
pub use routes::api;
pub use state::QueryState;
