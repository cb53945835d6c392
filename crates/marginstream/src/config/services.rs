//! What the distributed services can be told.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::{BackendArgs, BatchConfig, HttpArgs, LimitArgs, RetentionArgs};

/// Everything that `marginstream ingest` can be told.
#[derive(Debug, Clone, Args)]
pub struct IngestConfig {
    /// Where the data is.
    #[command(flatten)]
    pub backends: BackendArgs,
    /// How long cost events stay.
    #[command(flatten)]
    pub retention: RetentionArgs,
    /// The public port.
    #[command(flatten)]
    pub http: HttpArgs,
    /// Rates that callers may not exceed, on this node.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Everything that `marginstream query-api` can be told.
#[derive(Debug, Clone, Args)]
pub struct QueryApiConfig {
    /// Where the data is.
    #[command(flatten)]
    pub backends: BackendArgs,
    /// The public port.
    #[command(flatten)]
    pub http: HttpArgs,
    /// Rates that callers may not exceed, on this node.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Everything that `marginstream processor` can be told.
#[derive(Debug, Clone, Args)]
pub struct ProcessorConfig {
    /// Where the data is.
    #[command(flatten)]
    pub backends: BackendArgs,
    /// How long cost events stay.
    #[command(flatten)]
    pub retention: RetentionArgs,
    /// The batches.
    #[command(flatten)]
    pub batch: BatchConfig,
    /// Address and port of health and metrics. Port 0 takes a free one.
    #[arg(
        long,
        env = "MARGINSTREAM_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8081",
        help_heading = "HTTP"
    )]
    pub listen: SocketAddr,
    /// How long a stop waits for the batches under way, in seconds. What is left is done by another
    /// processor or at the next start; nothing is lost.
    #[arg(long, env = "MARGINSTREAM_DRAIN_SECS", value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=3600), help_heading = "HTTP")]
    pub drain_secs: u64,
}

impl ProcessorConfig {
    pub(crate) fn drain_deadline(&self) -> Duration {
        Duration::from_secs(self.drain_secs)
    }
}

/// Everything that `marginstream migrate` can be told.
#[derive(Debug, Clone, Args)]
pub struct MigrateConfig {
    /// Where the data is.
    #[command(flatten)]
    pub backends: BackendArgs,
    /// How long cost events stay.
    #[command(flatten)]
    pub retention: RetentionArgs,
}
