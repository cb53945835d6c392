//! `load margins`: the margin table of many mapped customers.

use std::fmt::Write as _;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use marginstream_benches::events::{EventSpec, Spread, generate};
use marginstream_benches::random::Random;
use serde_json::{Value, json};

use super::{fetch_margins, map_customers, read_table, send_stream, stripe_id};
use crate::cli::{MarginsArgs, ServerArgs};
use crate::client::{Answer, Client};
use crate::error::LoadError;
use crate::latency::Latencies;
use crate::report::{self, CpuReading, Work};
use crate::server::Server;
use crate::verify::verify;

/// Longest wait for invoices to show.
const PATIENCE: Duration = Duration::from_secs(60);
const POLL_INTERVAL: Duration = Duration::from_millis(100);
const MICRODOLLARS_PER_CENT: u64 = 10_000;
/// Invoices are of up to this much, in cents.
const MAX_INVOICE_CENTS: u64 = 100_000;

pub(super) fn run(server: &ServerArgs, args: &MarginsArgs) -> Result<(), LoadError> {
    let lines = generate(EventSpec {
        seed: args.seed,
        num_events: args.events,
        num_customers: args.customers,
        spread: Spread::Even,
    });
    let (invoices, revenue) = invoices(args);
    let server = Server::start(server)?;
    eprintln!(
        "server is process {}; mapping {} customers",
        server.pid(),
        args.customers
    );
    let mut reader = server.reader(&server.sign_in()?)?;
    let mapping = Instant::now();
    map_customers(&mut reader, args.customers)?;
    let mappings_per_sec = args.customers as f64 / mapping.elapsed().as_secs_f64();
    server.import_invoices(&invoices)?;
    send_stream(&mut server.sender()?, &lines.bytes)?;
    verify(&mut server.analyst()?, lines.totals)?;
    let expected = (revenue, lines.totals.cost_microdollars);
    let answer = wait_for_table(&mut reader, expected)?;

    let before = CpuReading::now(&server)?;
    let mut latencies = Vec::new();
    for _ in 0..args.requests {
        let start = Instant::now();
        fetch_margins(&mut reader)?;
        latencies.push(start.elapsed());
    }
    CpuReading::now(&server)?.print_since(&before, Work::Requests(args.requests));
    report::line(
        "customers, events",
        format_args!("{}, {}", args.customers, args.events),
    );
    report::line("mappings made", format_args!("{mappings_per_sec:.0} a second"));
    report::line("table", format_args!("{} bytes of JSON", answer.body.len()));
    report::line("GET /api/margins", Latencies::new(latencies));
    report::footprint(&server, args.events)
}

/// Returns one paid invoice of this month for each customer, and their sum in microdollars.
fn invoices(args: &MarginsArgs) -> (String, u64) {
    let mut random = Random::new(args.seed);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let (mut text, mut total_cents) = (String::new(), 0);
    for index in 0..args.customers {
        let cents = 1 + random.below(MAX_INVOICE_CENTS);
        total_cents += cents;
        let invoice = json!({"id": format!("in_{index:014}"), "object": "invoice", "customer": stripe_id(index),
            "customer_name": format!("Customer {index}"), "amount_paid": cents, "currency": "usd",
            "status": "paid", "created": now.as_secs()});
        let written = writeln!(text, "{invoice}");
        debug_assert!(written.is_ok(), "a string takes all that is written");
    }
    (text, total_cents * MICRODOLLARS_PER_CENT)
}

/// Waits until the table's totals are `expected`, revenue and cost in microdollars.
fn wait_for_table(reader: &mut Client, expected: (u64, u64)) -> Result<Answer, LoadError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = fetch_margins(reader)?;
        let table = read_table(&answer)?;
        let total = |name: &str| table["summary"][name].as_u64();
        let shown = (total("totalRevenueMicrodollars"), total("totalCostMicrodollars"));
        if shown == (Some(expected.0), Some(expected.1)) {
            return Ok(answer);
        }
        if Instant::now() >= deadline {
            let num_rows = table["customers"].as_array().map_or(0, Vec::<Value>::len);
            return Err(LoadError::Mismatch {
                place: "the margin table",
                counted: format!("{shown:?} microdollars in {num_rows} rows"),
                sent: format!("{expected:?}"),
            });
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}
