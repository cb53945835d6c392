//! `marginstream margins`.

use chrono::Utc;
use schemas::period::Period;

use crate::cli::MarginsArgs;
use crate::commands::print;
use crate::config::Config;
use crate::error::{CommandError, Outcome};
use crate::operator::OperatorSession;
use crate::table::{MarginTableView, Style};

pub(super) async fn run(args: MarginsArgs, config: Config) -> Result<Outcome, CommandError> {
    let period = args.period.unwrap_or_else(|| Period::containing(Utc::now()));
    let session = OperatorSession::open(&args.data.data, &args.backends, config).await?;
    let table = match session.choose_org(args.org).await {
        Ok(org) => session.margins(org, period).await,
        Err(error) => Err(error),
    };
    let closed = session.close().await;
    let table = table?;
    closed?;
    if args.json {
        print(&table.to_string())?;
    } else {
        let view = MarginTableView::of_json(table)?;
        print(&view.render(period, Style::of_stdout()))?;
    }
    Ok(Outcome::Done)
}
