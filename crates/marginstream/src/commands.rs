//! What each subcommand does.

mod admin;
mod bootstrap;
mod clickhouse;
mod dead_letters;
mod import;
mod log;
mod margins;
mod reconcile;
mod replay;
mod standalone;

use std::io::Write;

use crate::cli::{AdminCommand, Command, InvoicesCommand, LogCommand};
use crate::config::file::FileSettings;
use crate::demo;
use crate::distributed;
use crate::error::{CommandError, Outcome};
use crate::metrics;
use crate::signals::stop_on_signal;

/// Runs one subcommand. `settings` are those of the configuration file, for the commands that do not
/// have each as a flag.
pub(crate) async fn run(command: Command, settings: &FileSettings) -> Result<Outcome, CommandError> {
    match command {
        Command::Standalone(config) => standalone::run(*config).await,
        Command::Ingest(config) => {
            metrics::install()?;
            distributed::run_ingest(*config, stop_on_signal()?).await?;
            Ok(Outcome::Done)
        }
        Command::Processor(config) => {
            metrics::install()?;
            distributed::run_processor(*config, stop_on_signal()?).await?;
            Ok(Outcome::Done)
        }
        Command::QueryApi(config) => {
            metrics::install()?;
            distributed::run_query_api(*config, stop_on_signal()?).await?;
            Ok(Outcome::Done)
        }
        Command::Migrate(config) => {
            print(&distributed::migrate(&config).await?)?;
            Ok(Outcome::Done)
        }
        Command::Admin(AdminCommand::Bootstrap(args)) => bootstrap::run(args).await,
        Command::Admin(command) => admin::run(command).await,
        Command::Invoices(InvoicesCommand::Import(args)) => import::run(args, settings.resolve()?).await,
        Command::Reconcile(args) => reconcile::run(args, settings.resolve()?).await,
        Command::Replay(args) => replay::run(args, settings.resolve()?).await,
        Command::DeadLetters(command) => dead_letters::run(command, settings.resolve()?).await,
        Command::Margins(args) => margins::run(args, settings.resolve()?).await,
        Command::Demo(args) => demo::run(args, settings.resolve()?).await,
        Command::Clickhouse(args) => clickhouse::run(args, settings.resolve()?).await,
        Command::Log(LogCommand::Repair(data)) => log::repair(&data.data).await,
        Command::Log(LogCommand::UsePartitions(config)) => {
            log::use_partitions(&config, &settings.resolve()?.batch).await
        }
    }
}

/// Prints the answer of a command: what it was run for, so a closed pipe is an error.
pub(crate) fn print(text: &str) -> Result<(), CommandError> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{text}")
        .and_then(|()| output.flush())
        .map_err(CommandError::Output)
}
