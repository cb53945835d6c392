//! The tables of the warehouse, as numbered migrations. A migration that has shipped never
//! changes; each statement can run again after a crash in its middle.

macro_rules! migration {
    ($version:literal, $name:literal) => {
        Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../clickhouse/", $name, ".sql")),
        }
    };
}

/// One numbered step of the schema.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    /// From 1, without gaps.
    pub version: u32,
    /// The file's name.
    pub name: &'static str,
    /// Statements, separated by semicolons.
    pub sql: &'static str,
}

/// All migrations, oldest first.
pub const MIGRATIONS: [Migration; 8] = [
    migration!(1, "0001_cost_events"),
    migration!(2, "0002_cost_rollups"),
    migration!(3, "0003_revenue"),
    migration!(4, "0004_dimensions"),
    migration!(5, "0005_margins"),
    migration!(6, "0006_batches"),
    migration!(7, "0007_log_layouts"),
    migration!(8, "0008_dead_letter_redrives"),
];

/// The tables and views that data teams may read; everything else is private.
pub const DOCUMENTED: [&str; 15] = [
    "batches",
    "cost_by_customer_month",
    "cost_by_hour",
    "cost_by_tag_day",
    "cost_event_ids",
    "cost_events",
    "customer_mappings",
    "customer_period_margins",
    "dead_letter_redrives",
    "dead_letters",
    "invoice_states",
    "invoices",
    "log_layouts",
    "revenue_by_month",
    "stripe_customer_names",
];
