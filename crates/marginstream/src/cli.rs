//! The command line: names that scripts rely on.

mod admin;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use processor::dead_letters::{MAX_LISTED, Place};
use schemas::access::Tier;
use schemas::id::{InvalidId, OrgId};
use schemas::period::{InvalidPeriod, Period};

use crate::config::{
    BackendArgs, Config, DataConfig, IngestConfig, MigrateConfig, ProcessorConfig, QueryApiConfig,
    TelemetryConfig,
};
use crate::error::EXIT_CODES;

pub(crate) use admin::{
    AdminArgs, AdminCommand, KeysCommand, OrgChoice, OrgsCommand, SecretsCommand, UsersCommand,
};

/// Which customers make money: joins what agents cost with what customers paid.
#[derive(Debug, Parser)]
#[command(name = "marginstream", version, after_help = EXIT_CODES)]
#[command(
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) telemetry: TelemetryConfig,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run everything in this process: ingest, processor, queries, event log, warehouse.
    ///
    /// Ends in order on SIGTERM or SIGINT, having flushed; a second signal ends it at once. Each
    /// setting is a flag, a variable MARGINSTREAM_... and a key of the configuration file.
    #[command(after_help = EXIT_CODES)]
    Standalone(Box<Config>),
    /// Run ingest alone: HTTP in, Kafka out. As many as the load needs, behind a load balancer.
    #[command(after_help = EXIT_CODES)]
    Ingest(Box<IngestConfig>),
    /// Run the processor alone: Kafka in, ClickHouse out. At most as many as there are partitions share
    /// the work.
    #[command(after_help = EXIT_CODES)]
    Processor(Box<ProcessorConfig>),
    /// Run the query API alone: HTTP out of ClickHouse and the control store.
    #[command(after_help = EXIT_CODES)]
    QueryApi(Box<QueryApiConfig>),
    /// Bring topics and tables of the distributed backends to the newest version. The services do so at
    /// their start too.
    Migrate(Box<MigrateConfig>),
    /// Look after organizations, users and API keys.
    #[command(subcommand)]
    Admin(AdminCommand),
    /// Bring in invoices.
    #[command(subcommand)]
    Invoices(InvoicesCommand),
    /// Recompute every roll-up from the raw events, and print the differences, which must be none.
    ///
    /// Works while the server runs, which then holds its processor for as long as it takes, and
    /// while it does not.
    #[command(after_help = EXIT_CODES)]
    Reconcile(ReconcileArgs),
    /// Rebuild every roll-up from the raw events, beside the live tables, and swap them.
    ///
    /// Queries go on meanwhile. Standalone holds its processor; distributed processors must be stopped.
    #[command(after_help = EXIT_CODES)]
    Replay(ReplayArgs),
    /// Look at what could not be counted, and send it through the log again.
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// Print the margin table of a month, worst margin first.
    Margins(MarginsArgs),
    /// Send a season of believable data through the public API, then print the margin table.
    Demo(DemoArgs),
    /// Serve the embedded ClickHouse of a data directory alone, while no server runs on it.
    ///
    /// The engine's other settings are taken from the environment and the configuration file.
    Clickhouse(ClickhouseArgs),
    /// Look after the event log.
    #[command(subcommand)]
    Log(LogCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum InvoicesCommand {
    /// Import Stripe invoices from files: a JSON list, a Stripe list response, or one object a line.
    ///
    /// Works while the server runs and while it does not. Importing a file twice changes nothing: the
    /// latest state of each invoice counts. A broken invoice is named on standard error and the others
    /// go in; the exit code is 3 then.
    #[command(after_help = EXIT_CODES)]
    Import(ImportArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum LogCommand {
    /// Verify every checksum of the event log, and set aside what does not hold, keeping all records
    /// that are intact. Only while no server runs.
    Repair(DataConfig),
    /// Spread cost events over all partitions of their topic, after partitions were added. Only while no
    /// processor runs. Standalone does this by itself.
    UsePartitions(Box<MigrateConfig>),
}

#[derive(Debug, Subcommand)]
pub(crate) enum DeadLettersCommand {
    /// List dead letters, the newest first.
    List(SelectionArgs),
    /// Print dead letters with their bytes.
    Show(SelectionArgs),
    /// Append dead letters to their topics again, byte for byte: what was mended since is counted. An
    /// invoice's state that is sent again counts as its newest.
    Redrive(SelectionArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SelectionArgs {
    #[command(flatten)]
    pub(crate) data: DataConfig,
    #[command(flatten)]
    pub(crate) backends: BackendArgs,
    /// Places to choose, as `list` prints them, such as cost-events:0:1234:0. Default: all.
    #[arg(value_name = "PLACE")]
    pub(crate) places: Vec<Place>,
    /// Only those of this reason, such as schema_mismatch.
    #[arg(long, value_name = "REASON")]
    pub(crate) reason: Option<String>,
    /// Only those of this topic.
    #[arg(long, value_name = "TOPIC", value_parser = ["cost-events", "invoices", "dimensions"])]
    pub(crate) topic: Option<String>,
    /// Also those that were sent again already.
    #[arg(long)]
    pub(crate) with_redriven: bool,
    /// How many at most.
    #[arg(long, value_name = "COUNT", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_LISTED)))]
    pub(crate) limit: u32,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    pub(crate) data: DataConfig,
    #[command(flatten)]
    pub(crate) backends: BackendArgs,
    /// Print what was done as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct BootstrapArgs {
    #[command(flatten)]
    pub(crate) data: DataConfig,
    #[command(flatten)]
    pub(crate) backends: BackendArgs,
    /// Name of the organization, 1 to 50 characters.
    #[arg(long, value_name = "NAME")]
    pub(crate) org: String,
    /// The owner's e-mail address.
    #[arg(long, value_name = "EMAIL")]
    pub(crate) email: String,
    /// The plan: free, pro or enterprise. Margins need pro.
    #[arg(long, value_name = "TIER", default_value = "pro", value_parser = parse_tier)]
    pub(crate) tier: Tier,
    /// Print one JSON object: orgId, email, password (null if the owner had an account), apiKey.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    #[command(flatten)]
    pub(crate) data: DataConfig,
    #[command(flatten)]
    pub(crate) backends: BackendArgs,
    /// The organization's id; may be left out where there is only one.
    #[arg(long, value_name = "ORG_ID", value_parser = parse_org)]
    pub(crate) org: Option<OrgId>,
    /// Files to import; `-` is standard input.
    #[arg(required = true, value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct ReconcileArgs {
    #[command(flatten)]
    pub(crate) data: DataConfig,
    #[command(flatten)]
    pub(crate) backends: BackendArgs,
    /// Add to each roll-up what it lacks.
    #[arg(long)]
    pub(crate) repair: bool,
    /// Print the report as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct MarginsArgs {
    #[command(flatten)]
    pub(crate) data: DataConfig,
    #[command(flatten)]
    pub(crate) backends: BackendArgs,
    /// The organization's id; may be left out where there is only one.
    #[arg(long, value_name = "ORG_ID", value_parser = parse_org)]
    pub(crate) org: Option<OrgId>,
    /// The month, YYYY-MM, in UTC. Default: this month.
    #[arg(long, value_name = "MONTH", value_parser = parse_period)]
    pub(crate) period: Option<Period>,
    /// Print what `GET /api/margins` shows under `data`, as JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Data directory. If a server runs on it, the demo is sent there, in an organization of its own;
    /// else the demo runs its own server on it. Default: a temporary directory, removed at the end.
    #[arg(long, env = "MARGINSTREAM_DATA", value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Base URL of the running server's API. Default: as the server itself says.
    #[arg(long, value_name = "URL")]
    pub(crate) url: Option<String>,
    /// Cost events to send.
    #[arg(long, value_name = "COUNT", default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(1_000..=50_000_000))]
    pub(crate) events: u64,
    /// Seed of the data; the same seed and month give the same data.
    #[arg(long, value_name = "NUMBER", default_value_t = 12)]
    pub(crate) seed: u64,
    /// Keep the demo's own server running after the table, until SIGINT or SIGTERM.
    #[arg(long)]
    pub(crate) keep_running: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ClickhouseArgs {
    #[command(flatten)]
    pub(crate) data: DataConfig,
    /// Address and port of ClickHouse's HTTP interface. Port 0 takes a free one.
    #[arg(
        long,
        env = "MARGINSTREAM_CLICKHOUSE_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8123"
    )]
    pub(crate) listen: SocketAddr,
}

fn parse_tier(text: &str) -> Result<Tier, &'static str> {
    Tier::parse(text).ok_or("must be free, pro or enterprise")
}

fn parse_org(text: &str) -> Result<OrgId, InvalidId> {
    OrgId::parse_lenient(text)
}

fn parse_period(text: &str) -> Result<Period, InvalidPeriod> {
    text.parse()
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
    fn scripts_find_the_names_they_rely_on() {
        for line in [
            "standalone --data d --listen 127.0.0.1:8080 --clickhouse-listen 127.0.0.1:8123",
            "admin bootstrap --data d --org Acme --email a@example.com --tier pro --json",
            "admin bootstrap --org Acme --email a@example.com",
            "admin users create a@example.com",
            "admin users reset-password a@example.com --json",
            "admin orgs set-tier enterprise --org ns_org_5f0c2b1e-8a44-4d0e-9b7b-2f6a1c9d3e10",
            "admin orgs allow-api-key-reads true",
            "admin keys create --email a@example.com --name etl",
            "admin secrets add-key --secret-keys keys",
            "admin secrets rotate",
            "admin keys revoke ns_key_5f0c2b1e-8a44-4d0e-9b7b-2f6a1c9d3e10",
            "invoices import --data d a.json b.ndjson",
            "invoices import --data d --org ns_org_5f0c2b1e-8a44-4d0e-9b7b-2f6a1c9d3e10 -",
            "reconcile",
            "reconcile --repair --data d",
            "demo",
            "clickhouse --data d --listen 127.0.0.1:8123",
            "log repair --data d",
            "log use-partitions --event-log kafka://a:1 --warehouse http://u:p@h:8123/marginstream",
            "ingest --event-log kafka://a:1 --warehouse http://u:p@h:8123/m --control postgres://u:p@h/d",
            "processor --event-log kafka://a:1 --warehouse http://u:p@h:8123/m",
            "query-api --warehouse http://u:p@h:8123/m --control postgres://u:p@h/d",
            "migrate --event-log kafka://a:1 --warehouse http://u:p@h:8123/m --control postgres://u:p@h/d",
            "replay",
            "dead-letters list --reason undecodable --limit 5",
            "dead-letters show cost-events:0:12:0",
            "dead-letters redrive --topic invoices",
            "margins --period 2026-04",
        ] {
            let arguments = std::iter::once("marginstream").chain(line.split(' '));
            assert!(Cli::try_parse_from(arguments).is_ok(), "{line}");
        }
        for line in [
            "",
            "serve",
            "invoices import",
            "admin bootstrap --org x",
            "admin orgs set-tier gold",
            "admin orgs add-member a@example.com --role owner",
            "margins --period 2026-13",
            "dead-letters show nowhere",
        ] {
            let arguments = std::iter::once("marginstream").chain(line.split_whitespace());
            assert!(Cli::try_parse_from(arguments).is_err(), "{line}");
        }
    }
}
