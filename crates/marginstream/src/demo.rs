//! `marginstream demo`: a season of believable data through the public API, then the margin table.

mod events;
mod names;
mod random;
mod season;
mod send;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Instant;

use chrono::Utc;
use control::{BootstrapRequest, Bootstrapped, ControlStore};
use schemas::access::Tier;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::cli::DemoArgs;
use crate::commands::print;
use crate::config::Config;
use crate::data_dir::DataDir;
use crate::error::{CommandError, Outcome};
use crate::operator::OperatorSession;
use crate::signals::stop_on_signal;
use crate::standalone::Standalone;
use crate::table::Style;
use season::Season;
use send::Demo;

const ORG_NAME: &str = "Demo season";

pub(crate) async fn run(args: DemoArgs, config: Config) -> Result<Outcome, CommandError> {
    let stop = stop_on_signal()?;
    let place = Place::find(&args, &config).await?;
    let stopped = stop.clone();
    let outcome = tokio::select! {
        outcome = show(&args, &place) => outcome,
        () = stopped.cancelled() => Ok(Outcome::Done),
    };
    if args.keep_running && outcome.is_ok() && place.server.is_some() {
        stop.cancelled().await;
    }
    place.leave().await?;
    outcome
}

/// The server that the demo is sent to.
struct Place {
    data: PathBuf,
    url: String,
    /// The demo's own server, if it has one, and what ends it.
    server: Option<(
        tokio::task::JoinHandle<Result<(), CommandError>>,
        CancellationToken,
    )>,
    /// Removed at the end.
    _temporary: Option<TempDir>,
}

impl Place {
    /// Finds the server that runs on the data directory, or starts one.
    async fn find(args: &DemoArgs, config: &Config) -> Result<Self, CommandError> {
        let mut temporary = None;
        let data = match &args.data {
            Some(data) => data.clone(),
            None => {
                let private = std::fs::Permissions::from_mode(0o700);
                let made = tempfile::Builder::new()
                    .prefix("marginstream-demo-")
                    .permissions(private)
                    .tempdir();
                let made = made.map_err(CommandError::file("make a directory in", std::env::temp_dir()))?;
                temporary.insert(made).path().to_path_buf()
            }
        };
        if let Some(status) = running_server(&data, config).await? {
            let url = args.url.clone().unwrap_or(status);
            return Ok(Self {
                data,
                url,
                server: None,
                _temporary: temporary,
            });
        }
        if let Some(url) = &args.url {
            let text = format!(
                "no server runs on {}, so {url} cannot be given a demo; name its data directory",
                data.display()
            );
            return Err(CommandError::Usage(text));
        }
        let mut own = Config::on_free_ports(data.clone())?;
        own.clickhouse.libchdb.clone_from(&config.clickhouse.libchdb);
        // Nobody else calls it.
        own.limits.lift();
        let server = Standalone::start(own).await?;
        let url = server.status.url.clone();
        let stop = CancellationToken::new();
        let running = tokio::spawn(server.run_until(stop.clone()));
        Ok(Self {
            data,
            url,
            server: Some((running, stop)),
            _temporary: temporary,
        })
    }

    /// Stops the demo's own server.
    async fn leave(self) -> Result<(), CommandError> {
        let Some((running, stop)) = self.server else {
            return Ok(());
        };
        stop.cancel();
        running
            .await
            .map_err(|error| CommandError::Runtime(error.into()))?
    }
}

/// Returns the URL of the server that runs on `data`, if one does.
async fn running_server(data: &std::path::Path, config: &Config) -> Result<Option<String>, CommandError> {
    if !data.join("operator.sock").exists() {
        return Ok(None);
    }
    let session = OperatorSession::open_local(data, config.clone()).await?;
    let status = session.status().await;
    session.close().await?;
    Ok(status?.map(|status| status.url))
}

async fn show(args: &DemoArgs, place: &Place) -> Result<Outcome, CommandError> {
    let account = make_account(place).await?;
    let season = Season::generate(args.seed, Utc::now(), args.events);
    let demo = Demo::sign_in(&place.url, &account).await?;
    let started = Instant::now();
    demo.send_mappings(&season).await?;
    let config = Config::on_free_ports(place.data.clone())?;
    demo.send_invoices(&season, OperatorSession::open_local(&place.data, config).await?)
        .await?;
    let sent = demo.send_events(&season, args.seed).await?;
    let elapsed = started.elapsed();
    let period = season.shown_period();
    let table = demo.wait_for_table(&season, &sent).await?;
    print(&table.render(period, Style::of_stdout()))?;
    print(&format!(
        "\n{} events and {} invoices sent in {:.1} s; the table agrees with them to the microdollar.",
        sent.num_events,
        season.invoices.len(),
        elapsed.as_secs_f64()
    ))?;
    if place.server.is_none() || args.keep_running {
        let password = account
            .password
            .as_ref()
            .map_or("(as before)", |password| password.expose());
        print(&format!(
            "{} · e-mail {} · password {password} · {}",
            place.url, account.email, account.org_id
        ))?;
    }
    Ok(Outcome::Done)
}

/// Makes an organization for this demo, with an owner of its own, whose password is therefore new.
async fn make_account(place: &Place) -> Result<Bootstrapped, CommandError> {
    let dir = DataDir::prepare(&place.data)?;
    let control = ControlStore::connect(&dir.control_url()).await?;
    let email = format!(
        "demo-{}@marginstream.example",
        Utc::now().format("%Y%m%d%H%M%S%3f")
    );
    let request = BootstrapRequest {
        org_name: ORG_NAME.to_owned(),
        email,
        tier: Tier::Pro,
    };
    let account = control.bootstrap(request).await;
    control.close().await;
    Ok(account?)
}
