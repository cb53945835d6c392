//! Sends a season to a server, as customers' programs would.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use control::Bootstrapped;
use hyper::Method;
use hyper::StatusCode;
use schemas::id::OrgId;
use schemas::invoice::parse_stripe_invoice;
use schemas::period::Period;
use schemas::time::TimestampMs;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::events::events_of;
use super::season::Season;
use crate::client::{Answer, Client, ClientError};
use crate::error::CommandError;
use crate::operator::OperatorSession;
use crate::progress;
use crate::table::MarginTableView;

/// Size at which a stream is sent, in bytes.
const STREAM_BYTES: usize = 4 << 20;
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How long the demo waits for what it sent to be counted.
const PATIENCE: Duration = Duration::from_secs(120);
/// Longest wait that a server may ask for.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// A demo's account on a server.
pub(super) struct Demo {
    org: OrgId,
    /// Sends the API key.
    sender: Client,
    /// Sends the session's cookie.
    reader: Client,
}

/// What was sent.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) num_events: u64,
    /// Cost of mapped customers by month, in microdollars.
    costs: BTreeMap<Period, i64>,
}

/// The answer to a stream.
#[derive(Debug, Deserialize)]
struct StreamAnswer {
    data: StreamOutcome,
}

#[derive(Debug, Deserialize)]
struct StreamOutcome {
    accepted: u64,
    rejected: u64,
    errors: Vec<Value>,
}

impl Demo {
    pub(super) async fn sign_in(url: &str, account: &Bootstrapped) -> Result<Self, CommandError> {
        let client = Client::of_url(url)?;
        let password = account.password.as_ref().map_or("", |password| password.expose());
        let credentials = json!({ "email": account.email, "password": password });
        let answer = patiently(|| client.post_json("/api/auth/login", &credentials)).await?;
        let cookie = answer
            .headers
            .get("set-cookie")
            .and_then(|value| value.to_str().ok());
        let cookie = cookie
            .and_then(|cookie| cookie.split(';').next())
            .unwrap_or_default()
            .to_owned();
        answer.json::<Value>()?;
        Ok(Self {
            org: account.org_id,
            sender: client
                .clone()
                .with_header("x-nullspend-key", account.api_key.expose())?,
            reader: client.with_header("cookie", &cookie)?,
        })
    }

    pub(super) async fn send_mappings(&self, season: &Season) -> Result<(), CommandError> {
        let mapped: Vec<_> = season
            .customers
            .iter()
            .filter(|customer| customer.is_mapped)
            .collect();
        let bar = progress::bar("mappings", mapped.len() as u64);
        for customer in mapped {
            let body = json!({ "stripeCustomerId": customer.stripe_id, "tagValue": customer.tag });
            let answer = patiently(|| self.reader.post_json("/api/customer-mappings", &body)).await?;
            answer.json::<Value>()?;
            bar.inc(1);
        }
        bar.finish();
        Ok(())
    }

    pub(super) async fn send_invoices(
        &self,
        season: &Season,
        session: OperatorSession,
    ) -> Result<(), CommandError> {
        let bar = progress::bar("invoices", season.invoices.len() as u64);
        let now = TimestampMs(season.now.timestamp_millis());
        let records = season
            .invoices
            .iter()
            .map(|invoice| parse_stripe_invoice(invoice, self.org, now));
        let records: Result<Vec<_>, _> = records.collect();
        let records = records
            .map_err(|invalid| CommandError::Usage(format!("the demo made a broken invoice: {invalid}")))?;
        session.publish_invoices(&records).await?;
        session.close().await?;
        bar.inc(records.len() as u64);
        bar.finish();
        Ok(())
    }

    /// Sends all events as streams of some megabytes each.
    pub(super) async fn send_events(&self, season: &Season, seed: u64) -> Result<Sent, CommandError> {
        let planned = season.spends.iter().map(|spend| spend.num_events).sum();
        let bar = progress::bar("events", planned);
        let mut sent = Sent::default();
        let mut lines = Vec::with_capacity(STREAM_BYTES + 1024);
        let mut num_lines = 0;
        for spend in &season.spends {
            let is_mapped = season.customers[spend.customer].is_mapped;
            for event in events_of(season, spend, seed) {
                serde_json::to_writer(&mut lines, &event)
                    .map_err(|error| CommandError::Runtime(error.into()))?;
                lines.push(b'\n');
                num_lines += 1;
                if is_mapped {
                    *sent.costs.entry(spend.period).or_default() += event.cost_microdollars as i64;
                }
                if lines.len() >= STREAM_BYTES {
                    self.send_stream(std::mem::take(&mut lines).into(), num_lines)
                        .await?;
                    sent.num_events += std::mem::take(&mut num_lines);
                    bar.set_position(sent.num_events);
                }
            }
        }
        self.send_stream(lines.into(), num_lines).await?;
        sent.num_events += num_lines;
        bar.set_position(sent.num_events);
        bar.finish();
        Ok(sent)
    }

    async fn send_stream(&self, lines: Bytes, num_lines: u64) -> Result<(), CommandError> {
        if num_lines == 0 {
            return Ok(());
        }
        const PATH: &str = "/api/cost-events/stream";
        let send = || {
            self.sender
                .send(Method::POST, PATH, "application/x-ndjson", lines.clone())
        };
        let answer: StreamAnswer = patiently(send).await?.json()?;
        let StreamOutcome {
            accepted,
            rejected,
            errors,
        } = answer.data;
        if rejected == 0 {
            return Ok(());
        }
        let first = errors.first().map(Value::to_string).unwrap_or_default();
        Err(CommandError::Usage(format!(
            "the server took {accepted} events and refused {rejected}, the first: {first}"
        )))
    }

    /// Waits until the table of the shown month has every microdollar that was sent.
    pub(super) async fn wait_for_table(
        &self,
        season: &Season,
        sent: &Sent,
    ) -> Result<MarginTableView, CommandError> {
        let period = season.shown_period();
        let (revenue, cost) = (
            season.revenue(period),
            sent.costs.get(&period).copied().unwrap_or(0),
        );
        let spinner = progress::spinner("margins").with_message("waiting until all is counted");
        let deadline = Instant::now() + PATIENCE;
        let path = format!("/api/margins?period={period}");
        loop {
            let mut answer: Value = patiently(|| self.reader.get(&path)).await?.json()?;
            let table = MarginTableView::of_json(answer["data"].take())?;
            let counted = (
                table.summary.total_revenue_microdollars,
                table.summary.total_cost_microdollars,
            );
            if counted == (revenue, cost) {
                spinner.finish_and_clear();
                return Ok(table);
            }
            if Instant::now() >= deadline {
                let text = format!(
                    "sent revenue {revenue} and cost {cost} microdollars, but the table has {counted:?}"
                );
                return Err(CommandError::Usage(text));
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}

/// Sends a request again when the server asks for time.
async fn patiently<F>(send: impl Fn() -> F) -> Result<Answer, ClientError>
where
    F: Future<Output = Result<Answer, ClientError>>,
{
    loop {
        let answer = send().await?;
        if !matches!(
            answer.status,
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        ) {
            return Ok(answer);
        }
        let secs = answer
            .headers
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.parse().ok());
        let Some(wait) = secs
            .map(Duration::from_secs)
            .filter(|wait| *wait <= MAX_RETRY_AFTER)
        else {
            return Ok(answer);
        };
        sleep(wait).await;
    }
}
