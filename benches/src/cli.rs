//! The command line. All counts and times are bounded, so that a run ends.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Measures a marginstream server of its own, on loopback, with rate limits off.
#[derive(Debug, Parser)]
#[command(name = "load", max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) server: ServerArgs,
    #[command(subcommand)]
    pub(crate) scenario: Scenario,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct ServerArgs {
    /// The server's program. Default: `marginstream` beside this one.
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) binary: Option<PathBuf>,
    /// Directory below which the data directory is made, and removed at the end. Default: the
    /// system's for temporary files.
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) dir: Option<PathBuf>,
    /// A further argument of `marginstream standalone`, such as --server-arg=--event-log-partitions=2;
    /// may be given several times.
    #[arg(
        long = "server-arg",
        value_name = "ARGUMENT",
        allow_hyphen_values = true,
        global = true
    )]
    pub(crate) server_args: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Send events as fast as they are taken, as NDJSON streams: events a second until acknowledged and
    /// until counted in the roll-ups, CPU time, memory and disk.
    Stream(StreamArgs),
    /// Send single events at a steady rate: latency of the durable acknowledgement.
    Single(SingleArgs),
    /// Send single events while a stream runs: time from acknowledgement to visible in GET /api/margins.
    Freshness(FreshnessArgs),
    /// Ask for the margin table of many mapped customers: latency of GET /api/margins.
    Margins(MarginsArgs),
}

#[derive(Debug, Args)]
pub(crate) struct StreamArgs {
    /// Events to generate.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000), conflicts_with = "file")]
    pub(crate) events: u64,
    /// NDJSON file to send in place of generated events, read into memory first.
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// Customers that generated events are spread over, roughly Zipf.
    #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub(crate) customers: u64,
    /// Parallel connections; each sends its share as one request.
    #[arg(long, value_name = "COUNT", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub(crate) connections: u16,
    /// Seed of generated events.
    #[arg(long, value_name = "NUMBER", default_value_t = 7)]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct SingleArgs {
    /// Requests a second, over all connections.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=50_000))]
    pub(crate) rate: u64,
    /// How long, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) secs: u64,
    /// Keep-alive connections.
    #[arg(long, value_name = "COUNT", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) connections: u16,
    /// Seed of the events.
    #[arg(long, value_name = "NUMBER", default_value_t = 7)]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct FreshnessArgs {
    /// Events a second of the stream.
    #[arg(long, value_name = "COUNT", default_value_t = 50_000, value_parser = clap::value_parser!(u64).range(1..=500_000))]
    pub(crate) rate: u64,
    /// How long, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=60))]
    pub(crate) secs: u64,
    /// Single events a second whose way is timed.
    #[arg(long, value_name = "COUNT", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=200))]
    pub(crate) probes: u64,
    /// Pause between two looks at the margin table, in milliseconds: what is timed is late by up to
    /// this and the look's own time.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=10_000))]
    pub(crate) poll_ms: u64,
    /// Mapped customers, which the stream's events are spread over, roughly Zipf.
    #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=20_000))]
    pub(crate) customers: u64,
    /// Seed of the stream's events.
    #[arg(long, value_name = "NUMBER", default_value_t = 7)]
    pub(crate) seed: u64,
}

#[derive(Debug, Args)]
pub(crate) struct MarginsArgs {
    /// Mapped customers; each has cost and one paid invoice.
    #[arg(long, value_name = "COUNT", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) customers: u64,
    /// Events behind the table, spread evenly.
    #[arg(long, value_name = "COUNT", default_value_t = 200_000, value_parser = clap::value_parser!(u64).range(1..=10_000_000))]
    pub(crate) events: u64,
    /// Requests that are timed, one after the other, on one keep-alive connection.
    #[arg(long, value_name = "COUNT", default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub(crate) requests: u64,
    /// Seed of events and invoices.
    #[arg(long, value_name = "NUMBER", default_value_t = 7)]
    pub(crate) seed: u64,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn server_arguments_pass_through() {
        let cli = Cli::try_parse_from(["load", "stream", "--server-arg=--event-log-partitions=2"]).unwrap();
        assert_eq!(cli.server.server_args, ["--event-log-partitions=2"]);
    }
}
