//! `marginstream query-api`: HTTP out of ClickHouse and the control store.

use marginstream_http::{HttpState, internal_router};
use query_api::QueryState;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::{open_control, open_warehouse};
use crate::config::QueryApiConfig;
use crate::error::CommandError;
use crate::serve;
use crate::tasks::{Part, Tasks};

/// Runs until `shutdown`, or until the server fails.
pub(crate) async fn run(config: QueryApiConfig, shutdown: CancellationToken) -> Result<(), CommandError> {
    let listener = serve::listen(config.http.listen).await?;
    let control = open_control(&config.backends).await?;
    let warehouse = open_warehouse(&config.backends).await?;
    let http = HttpState::new(control.clone(), config.limits.http_config(&config.http)?);
    let queries = QueryState::new(http.clone(), warehouse, Vec::new());
    let internal = internal_router(queries.health());
    let router = marginstream_http::apply(query_api::api(queries), &http).merge(internal);
    let address = listener.local_addr().map_err(CommandError::Runtime)?;
    let mut tasks = Tasks::default();
    tasks.spawn(Part::Api, |stop| serve::serve(listener, router, stop));
    info!(%address, "ready");
    let outcome = tasks.run_until(shutdown, config.http.deadlines()).await;
    control.close().await;
    outcome
}
