//! One operator command's access to the data: through the running server, or by itself.

use std::path::Path;
use std::time::Duration;

use control::{ControlStore, Org};
use hyper::Method;
use processor::dead_letters::{self, DeadLetter, Selection};
use processor::reconcile::{self, ReconcileReport};
use processor::replay::{self, ReplayedTable};
use schemas::id::OrgId;
use schemas::invoice::InvoiceRecord;
use schemas::period::Period;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::margins::fetch_table;
use super::server::{Status, completeness};
use crate::client::Client;
use crate::config::{BackendArgs, Config, RetentionArgs};
use crate::data_dir::DataDir;
use crate::distributed;
use crate::error::CommandError;
use crate::standalone::Engine;
use crate::storage::Storage;

/// How long a command waits for a server that is starting or stopping, or for another command.
const PATIENCE: Duration = Duration::from_secs(20);
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// Who does the work.
#[derive(Debug)]
enum Access {
    /// The server, on its operator socket.
    Server(Client),
    /// This process, which holds the log's lock: there is no server.
    Own(Storage),
    /// This process, beside the services that share these backends.
    Remote(Remote),
}

/// The backends that the commands need, opened when they do.
#[derive(Debug)]
struct Remote {
    backends: BackendArgs,
    retention: RetentionArgs,
}

impl Remote {
    /// Counts what the log holds, which also completes a batch that a crash cut short: what it wrote so
    /// far must be neither repaired nor rebuilt. Nothing else may process meanwhile.
    async fn drain(&self, config: &Config) -> Result<distributed::Held, CommandError> {
        distributed::drain(&self.backends, &self.retention, &config.batch).await
    }
}

/// Access to a data directory, held while one command works.
#[derive(Debug)]
pub(crate) struct OperatorSession {
    access: Access,
    control: Option<ControlStore>,
    config: Config,
}

impl OperatorSession {
    /// Reaches the backends where they are named; else the server of `data`, or takes the data
    /// directory where none runs.
    ///
    /// # Errors
    /// [`CommandError::Busy`] where another process holds the directory and does not answer.
    pub(crate) async fn open(
        data: &Path,
        backends: &BackendArgs,
        config: Config,
    ) -> Result<Self, CommandError> {
        if backends.is_named() {
            Self::open_remote(backends, config).await
        } else {
            Self::open_local(data, config).await
        }
    }

    /// Reaches the server of `data`, or takes the data directory where none runs.
    ///
    /// # Errors
    /// As [`OperatorSession::open`].
    pub(crate) async fn open_local(data: &Path, mut config: Config) -> Result<Self, CommandError> {
        let dir = DataDir::existing(data)?;
        config.data.data = dir.path().to_path_buf();
        let client = Client::of_socket(dir.operator_socket());
        let deadline = Instant::now() + PATIENCE;
        loop {
            match client.get("/status").await {
                Ok(_) => {
                    let control = ControlStore::connect(&dir.control_url()).await?;
                    return Ok(Self {
                        access: Access::Server(client),
                        control: Some(control),
                        config,
                    });
                }
                Err(error) if !error.is_nobody() => return Err(error.into()),
                Err(_) => {}
            }
            match Storage::open_once(dir.clone(), &config.event_log).await {
                Ok(storage) => {
                    let control = storage.control.clone();
                    return Ok(Self {
                        access: Access::Own(storage),
                        control: Some(control),
                        config,
                    });
                }
                Err(CommandError::InUse { data, pid }) if Instant::now() >= deadline => {
                    return Err(CommandError::Busy { data, pid });
                }
                Err(CommandError::InUse { .. }) => sleep(RETRY_DELAY).await,
                Err(error) => return Err(error),
            }
        }
    }

    async fn open_remote(backends: &BackendArgs, config: Config) -> Result<Self, CommandError> {
        let remote = Remote {
            backends: backends.clone(),
            retention: config.event_log.retention.clone(),
        };
        // Not every command needs it.
        let control = match &backends.control {
            Some(_) => Some(distributed::open_control(backends).await?),
            None => None,
        };
        Ok(Self {
            control,
            access: Access::Remote(remote),
            config,
        })
    }

    fn control(&self) -> Result<&ControlStore, CommandError> {
        let missing = || CommandError::Usage("this command needs --control".to_owned());
        self.control.as_ref().ok_or_else(missing)
    }

    /// Returns the organization that `org` names by id, or the only one.
    ///
    /// # Errors
    /// [`CommandError::Usage`] where there is none, or where there are several to choose from.
    pub(crate) async fn choose_org(&self, org: Option<OrgId>) -> Result<OrgId, CommandError> {
        choose_org(&self.control()?.list_orgs().await?, org).map_err(CommandError::Usage)
    }

    /// Publishes states of invoices; durable when it returns. Repeating is safe.
    pub(crate) async fn publish_invoices(&self, records: &[InvoiceRecord]) -> Result<(), CommandError> {
        match &self.access {
            Access::Own(storage) => Ok(ingest::invoices::publish(&*storage.log, records).await?),
            Access::Remote(remote) => {
                let log = distributed::open_log_once(&remote.backends, &remote.retention).await?;
                ingest::invoices::publish(&*log, records).await?;
                Ok(log.shutdown().await?)
            }
            Access::Server(client) => {
                let body =
                    serde_json::to_vec(records).map_err(|error| CommandError::Runtime(error.into()))?;
                let answer = client
                    .send(Method::POST, "/invoices", "application/json", body.into())
                    .await?;
                if answer.status.is_success() {
                    Ok(())
                } else {
                    Ok(answer.json::<()>()?)
                }
            }
        }
    }

    /// Compares the roll-ups with the raw rows, once all that is in the log is counted.
    pub(crate) async fn reconcile(&self, repair: bool) -> Result<ReconcileReport, CommandError> {
        match &self.access {
            Access::Server(client) => {
                let path = format!("/reconcile?repair={repair}");
                Ok(client
                    .send(Method::POST, &path, "", bytes::Bytes::new())
                    .await?
                    .json()?)
            }
            Access::Own(storage) => {
                let engine = Engine::start_and_drain(storage, &self.config).await?;
                let report = reconcile::run(&engine.warehouse, repair, None).await;
                let counted = completeness(&*storage.log, &engine.warehouse).await;
                engine.stop().await?;
                Ok(ReconcileReport {
                    completeness: Some(counted?),
                    ..report?
                })
            }
            Access::Remote(remote) => {
                let warehouse = distributed::open_warehouse(&remote.backends).await?;
                if !repair {
                    let mut report = reconcile::run_beside(&warehouse).await?;
                    if remote.backends.event_log.is_some() {
                        let log = distributed::open_log_once(&remote.backends, &remote.retention).await?;
                        report.completeness = Some(completeness(&*log, &warehouse).await?);
                        log.shutdown().await?;
                    }
                    return Ok(report);
                }
                let held = remote.drain(&self.config).await?;
                let report = reconcile::run(&held.warehouse, repair, Some(held.alone())).await;
                held.release().await?;
                Ok(report?)
            }
        }
    }

    /// Rebuilds the roll-ups, once all that is in the log is counted.
    pub(crate) async fn replay(&self) -> Result<Vec<ReplayedTable>, CommandError> {
        match &self.access {
            Access::Server(client) => {
                let answer = client
                    .send(Method::POST, "/replay", "", bytes::Bytes::new())
                    .await?;
                Ok(answer.json()?)
            }
            Access::Own(storage) => {
                let engine = Engine::start_and_drain(storage, &self.config).await?;
                let tables = replay::run(&engine.warehouse, None).await;
                engine.stop().await?;
                Ok(tables?)
            }
            Access::Remote(remote) => {
                let held = remote.drain(&self.config).await?;
                let tables = replay::run(&held.warehouse, Some(held.alone())).await;
                held.release().await?;
                Ok(tables?)
            }
        }
    }

    /// Returns the selected dead letters.
    pub(crate) async fn dead_letters(&self, selection: &Selection) -> Result<Vec<DeadLetter>, CommandError> {
        match &self.access {
            Access::Server(client) => ask(client, "/dead-letters", selection).await,
            Access::Own(storage) => {
                let engine = Engine::start_and_drain(storage, &self.config).await?;
                let letters = dead_letters::list(&engine.warehouse, selection).await;
                engine.stop().await?;
                Ok(letters?)
            }
            Access::Remote(remote) => {
                let warehouse = distributed::open_warehouse(&remote.backends).await?;
                Ok(dead_letters::list(&warehouse, selection).await?)
            }
        }
    }

    /// Sends the selected dead letters through the log again; returns how many.
    pub(crate) async fn redrive(&self, selection: &Selection) -> Result<u64, CommandError> {
        match &self.access {
            Access::Server(client) => ask(client, "/dead-letters/redrive", selection).await,
            Access::Own(storage) => {
                let engine = Engine::start_and_drain(storage, &self.config).await?;
                let redriven = dead_letters::redrive(&*storage.log, &engine.warehouse, selection).await;
                engine.stop().await?;
                Ok(redriven?)
            }
            Access::Remote(remote) => {
                let log = distributed::open_log_once(&remote.backends, &remote.retention).await?;
                let warehouse = distributed::open_warehouse(&remote.backends).await?;
                let redriven = dead_letters::redrive(&*log, &warehouse, selection).await;
                log.shutdown().await?;
                Ok(redriven?)
            }
        }
    }

    /// Returns the margin table, as `GET /api/margins` shows it under `data`.
    pub(crate) async fn margins(&self, org: OrgId, period: Period) -> Result<Value, CommandError> {
        match &self.access {
            Access::Server(client) => Ok(client
                .get(&format!("/margins?org={org}&period={period}"))
                .await?
                .json()?),
            Access::Own(storage) => {
                let engine = Engine::start_and_drain(storage, &self.config).await?;
                let table = fetch_table(&engine.warehouse, &storage.control, org, period).await;
                engine.stop().await?;
                serde_json::to_value(table?).map_err(|error| CommandError::Runtime(error.into()))
            }
            Access::Remote(remote) => {
                let warehouse = distributed::open_warehouse(&remote.backends).await?;
                let table = fetch_table(&warehouse, self.control()?, org, period).await?;
                serde_json::to_value(table).map_err(|error| CommandError::Runtime(error.into()))
            }
        }
    }

    /// Returns where the server is; none where this process does the work.
    pub(crate) async fn status(&self) -> Result<Option<Status>, CommandError> {
        match &self.access {
            Access::Server(client) => Ok(Some(client.get("/status").await?.json()?)),
            Access::Own(_) | Access::Remote(_) => Ok(None),
        }
    }

    /// Writes out what was published.
    pub(crate) async fn close(self) -> Result<(), CommandError> {
        match self.access {
            Access::Own(storage) => storage.close().await,
            Access::Server(_) | Access::Remote(_) => {
                if let Some(control) = self.control {
                    control.close().await;
                }
                Ok(())
            }
        }
    }
}

/// Asks the server about dead letters.
async fn ask<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    selection: &Selection,
) -> Result<T, CommandError> {
    let body = serde_json::to_value(selection).map_err(|error| CommandError::Runtime(error.into()))?;
    Ok(client.post_json(path, &body).await?.json()?)
}

/// Returns the organization that `wanted` names, or the only one. Personal ones, which users get at their
/// first sign-in, have to be named.
pub(crate) fn choose_org(orgs: &[Org], wanted: Option<OrgId>) -> Result<OrgId, String> {
    let shared: Vec<_> = orgs.iter().filter(|org| !org.is_personal).collect();
    match (wanted, &shared[..]) {
        (Some(wanted), _) if orgs.iter().any(|org| org.id == wanted) => Ok(wanted),
        (Some(wanted), _) => Err(format!("there is no organization {wanted} here")),
        (None, [only]) => Ok(only.id),
        (None, []) => Err("there is no organization yet; run `marginstream admin bootstrap`".to_owned()),
        (None, several) => {
            let names: Vec<_> = several
                .iter()
                .map(|org| format!("{} ({})", org.id, org.name))
                .collect();
            Err(format!(
                "there are several organizations; name one with --org: {}",
                names.join(", ")
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use schemas::time::TimestampMs;

    use super::*;

    fn org(name: &str) -> Org {
        Org {
            id: OrgId::random(),
            name: name.to_owned(),
            slug: name.to_owned(),
            is_personal: false,
            created_at: TimestampMs(0),
            updated_at: TimestampMs(0),
        }
    }

    #[test]
    fn the_organization_may_be_left_out_where_there_is_one() {
        let (one, two) = (org("one"), org("two"));
        assert_eq!(choose_org(std::slice::from_ref(&one), None), Ok(one.id));
        let personal = Org {
            is_personal: true,
            ..org("personal")
        };
        assert_eq!(choose_org(&[personal.clone(), one.clone()], None), Ok(one.id));
        assert_eq!(
            choose_org(&[personal.clone()], Some(personal.id)),
            Ok(personal.id)
        );
        assert_eq!(choose_org(&[one.clone(), two.clone()], Some(two.id)), Ok(two.id));
        assert!(choose_org(&[], None).unwrap_err().contains("admin bootstrap"));
        let several = choose_org(&[one.clone(), two.clone()], None).unwrap_err();
        assert!(
            several.contains(&one.id.to_string()) && several.contains("(two)"),
            "{several}"
        );
        assert!(choose_org(&[one], Some(two.id)).is_err());
    }
}
