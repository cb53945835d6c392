//! `marginstream standalone`.

use crate::commands::print;
use crate::config::Config;
use crate::error::{CommandError, Outcome};
use crate::metrics;
use crate::signals::stop_on_signal;
use crate::standalone::Standalone;

pub(super) async fn run(config: Config) -> Result<Outcome, CommandError> {
    metrics::install()?;
    let stop = stop_on_signal()?;
    let starting = Standalone::start(config);
    let server = tokio::select! {
        started = starting => started?,
        // What was durable before stays durable: the next start begins anew.
        () = stop.cancelled() => return Ok(Outcome::Done),
    };
    // The server serves on, whoever reads its output or not.
    print(&server.ready).ok();
    server.run_until(stop).await?;
    Ok(Outcome::Done)
}
