//! The scenarios, and the calls that they share.

mod freshness;
mod margins;
mod single;
mod stream;

use marginstream_benches::events::customer_name;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cli::{Cli, Scenario};
use crate::client::{Answer, Client};
use crate::error::LoadError;
use crate::report;

const STREAM_PATH: &str = "/api/cost-events/stream";
const SINGLE_PATH: &str = "/api/cost-events";
const NDJSON: &str = "application/x-ndjson";
const JSON: &str = "application/json";

/// Runs one scenario to its end and prints its figures.
///
/// # Errors
/// [`LoadError`]: the server failed, or did not count exactly what was sent.
pub(crate) fn run(cli: Cli) -> Result<(), LoadError> {
    report::machine("before");
    match &cli.scenario {
        Scenario::Stream(args) => stream::run(&cli.server, args),
        Scenario::Single(args) => single::run(&cli.server, args),
        Scenario::Freshness(args) => freshness::run(&cli.server, args),
        Scenario::Margins(args) => margins::run(&cli.server, args),
    }?;
    report::machine("after");
    report::line("sums", "equal to what was sent, in all tables");
    Ok(())
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
}

/// Sends lines as one request and returns how many the server took as new.
fn send_stream(sender: &mut Client, lines: &[u8]) -> Result<u64, LoadError> {
    let answer = sender.send("POST", STREAM_PATH, NDJSON, lines)?;
    read_accepted(&answer)
}

fn read_accepted(answer: &Answer) -> Result<u64, LoadError> {
    let outcome: StreamAnswer =
        serde_json::from_slice(&answer.body).map_err(LoadError::json("the answer to a stream"))?;
    if outcome.data.rejected == 0 {
        return Ok(outcome.data.accepted);
    }
    Err(LoadError::Mismatch {
        place: "a stream's answer",
        counted: format!("{} rejected events", outcome.data.rejected),
        sent: "nothing that must be rejected".to_owned(),
    })
}

/// Maps the first `num_customers` customers, each to a Stripe customer of its own.
fn map_customers(reader: &mut Client, num_customers: u64) -> Result<(), LoadError> {
    for index in 0..num_customers {
        map_customer(reader, &customer_name(index), &stripe_id(index))?;
    }
    Ok(())
}

fn map_customer(reader: &mut Client, tag_value: &str, stripe_id: &str) -> Result<(), LoadError> {
    let body = json!({"stripeCustomerId": stripe_id, "tagValue": tag_value}).to_string();
    reader.send("POST", "/api/customer-mappings", JSON, body.as_bytes())?;
    Ok(())
}

fn stripe_id(index: u64) -> String {
    format!("cus_{index:014}")
}

/// Asks for the margin table of this month.
fn fetch_margins(reader: &mut Client) -> Result<Answer, LoadError> {
    reader.send("GET", "/api/margins", "", b"")
}

/// Reads the table of an answer to [`fetch_margins`].
fn read_table(answer: &Answer) -> Result<Value, LoadError> {
    let mut body: Value =
        serde_json::from_slice(&answer.body).map_err(LoadError::json("the margin table"))?;
    Ok(body["data"].take())
}
