//! `marginstream replay`.

use processor::replay::ReplayedTable;

use crate::cli::ReplayArgs;
use crate::commands::print;
use crate::config::Config;
use crate::error::{CommandError, Outcome};
use crate::operator::OperatorSession;
use crate::progress;

pub(super) async fn run(args: ReplayArgs, config: Config) -> Result<Outcome, CommandError> {
    let session = OperatorSession::open(&args.data.data, &args.backends, config).await?;
    let spinner = progress::spinner("replay").with_message("rebuilding roll-ups from raw events");
    let tables = session.replay().await;
    spinner.finish_and_clear();
    let closed = session.close().await;
    let tables = tables?;
    closed?;
    print(&if args.json {
        serde_json::to_string(&tables).map_err(|error| CommandError::Output(error.into()))?
    } else {
        to_text(&tables)
    })?;
    Ok(Outcome::Done)
}

fn to_text(tables: &[ReplayedTable]) -> String {
    let lines = tables.iter().map(|table| {
        format!(
            "{:<24} rebuilt, {} rows in place of {}",
            table.table, table.rows_after, table.rows_before
        )
    });
    lines.collect::<Vec<_>>().join("\n")
}
