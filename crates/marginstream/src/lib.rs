//! The command `marginstream`: composes the services into one process, and does what operators ask.
//!
//! [`run`] is the whole command. Settings: [`config`]. Where data lies and who may touch it:
//! `data_dir.rs` and `operator.rs`.

mod cli;
mod clickhouse;
mod client;
mod commands;
pub mod config;
mod data_dir;
mod demo;
mod distributed;
mod error;
mod health;
mod metrics;
mod operator;
mod progress;
pub mod secret;
mod serve;
mod signals;
mod standalone;
mod storage;
mod table;
mod tasks;

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory, FromArgMatches};
use tracing::warn;

pub use client::ClientError;
pub use error::CommandError;

use cli::{Cli, Command};
use config::environment;
use config::file::{self, FileSettings};
use error::sentence;

/// Where data is kept unless a setting says otherwise.
const DEFAULT_DATA_DIR: &str = "./data";
/// Used where neither a flag nor a variable nor the file sets the level.
const RUST_LOG: &str = "RUST_LOG";

/// Runs the command with these arguments, the program's name first, and returns its exit code. A
/// failure is one sentence on standard error.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    match try_run(arguments.into_iter().collect()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("marginstream: {}", sentence(&error));
            error.exit_code()
        }
    }
}

fn try_run(arguments: Vec<OsString>) -> Result<ExitCode, CommandError> {
    // Once to learn which file to read, and once with that file's values as defaults.
    let matches = match Cli::command().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return show_usage(&error),
    };
    let variables = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let strange = environment::check_environment(&Cli::command(), variables)?;
    let (config_file, data_dir) = file::places(&matches);
    let data_dir = data_dir.as_deref().unwrap_or(Path::new(DEFAULT_DATA_DIR));
    let settings = FileSettings::load(config_file.as_deref(), data_dir)?;
    let matches = match settings.apply(Cli::command()).try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return show_usage(&error),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return show_usage(&error),
    };
    telemetry::init(&log_level(&cli, &matches), cli.telemetry.log_format)?;
    for name in strange {
        warn!(name, "environment variable is no setting");
    }
    let runtime = tokio::runtime::Runtime::new().map_err(CommandError::Runtime)?;
    Ok(runtime.block_on(commands::run(cli.command, &settings))?.into())
}

/// Prints help, the version or what is wrong with the arguments, as clap words it.
fn show_usage(error: &clap::Error) -> Result<ExitCode, CommandError> {
    error.print().map_err(CommandError::Output)?;
    Ok(ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2)))
}

/// Returns the level of log lines. A server tells its life; other commands speak for themselves and
/// log only what is wrong.
fn log_level(cli: &Cli, matches: &ArgMatches) -> String {
    let is_set = matches.value_source("log_level") != Some(ValueSource::DefaultValue);
    // The file's value is a default too, but not the built-in one.
    if is_set || cli.telemetry.log_level != config::DEFAULT_LOG_LEVEL {
        return cli.telemetry.log_level.clone();
    }
    let serves = matches!(
        cli.command,
        Command::Standalone(_)
            | Command::Ingest(_)
            | Command::Processor(_)
            | Command::QueryApi(_)
            | Command::Clickhouse(_)
    );
    let default = if serves {
        cli.telemetry.log_level.as_str()
    } else {
        "warn"
    };
    std::env::var(RUST_LOG)
        .ok()
        .filter(|filter| !filter.is_empty())
        .unwrap_or_else(|| default.to_owned())
}
