//! `marginstream clickhouse`.

use crate::cli::ClickhouseArgs;
use crate::clickhouse::{self, ANALYST_USER, ClickHouse, reachable};
use crate::commands::print;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::error::{CommandError, Outcome};
use crate::signals::stop_on_signal;
use crate::storage::Storage;

pub(super) async fn run(args: ClickhouseArgs, mut config: Config) -> Result<Outcome, CommandError> {
    config.data.data = args.data.data;
    config.clickhouse.clickhouse_listen = args.listen;
    config.validate()?;
    let stop = stop_on_signal()?;
    // The log's lock proves that no server uses the engine's files.
    let dir = DataDir::prepare(&config.data.data)?;
    let storage = Storage::open_once(dir, &config.event_log).await?;
    let listener = clickhouse::listen(args.listen, "listen").await?;
    let engine = ClickHouse::open(&storage.dir, &config.clickhouse, listener).await?;
    let (warehouse, address) = (engine.warehouse.clone(), engine.address);
    let password = engine.analyst_password_place();
    let serving = tokio::spawn(engine.serve(stop.clone()));
    clickhouse::migrate(&warehouse).await?;
    print(&format!(
        "ClickHouse is ready: http://{} (user {ANALYST_USER}, password {password})",
        reachable(address)
    ))
    .ok();
    serving
        .await
        .map_err(|error| CommandError::Runtime(error.into()))??;
    storage.close().await?;
    Ok(Outcome::Done)
}
