//! `load freshness`: how long an acknowledged event takes into the margin table while a stream runs.
//!
//! Single events of one customer, each of one microdollar, are sent one after the other. A table that
//! shows a cost of n for that customer therefore shows the first n of them.

use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use marginstream_benches::events::{EventSpec, Lines, Spread, Totals, generate};
use serde_json::{Value, json};

use super::{
    JSON, NDJSON, SINGLE_PATH, STREAM_PATH, fetch_margins, map_customer, map_customers, read_accepted,
    read_table,
};
use crate::cli::{FreshnessArgs, ServerArgs};
use crate::client::Client;
use crate::error::LoadError;
use crate::latency::Latencies;
use crate::report::{self, CpuReading, Work};
use crate::server::Server;
use crate::verify::verify;

const PROBE: &str = "probe";
/// How often the stream is fed.
const FEED_INTERVAL: Duration = Duration::from_millis(5);
/// The stream runs alone for this long, so that what is timed is its steady state.
const WARM_UP: Duration = Duration::from_secs(1);
/// Longest wait for one event to show.
const PATIENCE: Duration = Duration::from_secs(60);

/// Times of the events that were timed, and of the looks at the table.
#[derive(Default)]
struct Seen {
    freshness: Vec<Duration>,
    looks: Vec<Duration>,
}

pub(super) fn run(server: &ServerArgs, args: &FreshnessArgs) -> Result<(), LoadError> {
    let lines = generate(EventSpec {
        seed: args.seed,
        num_events: args.rate * args.secs,
        num_customers: args.customers,
        spread: Spread::Skewed,
    });
    let server = Server::start(server)?;
    let mut reader = server.reader(&server.sign_in()?)?;
    map_customers(&mut reader, args.customers)?;
    map_customer(&mut reader, PROBE, "cus_probe")?;
    eprintln!(
        "server is process {}; streaming for {} s",
        server.pid(),
        args.secs
    );
    let (mut stream, mut prober) = (server.sender()?, server.sender()?);
    let before = CpuReading::now(&server)?;
    let (acknowledge, acknowledged) = mpsc::channel();
    let (streamed, num_probes, seen) = thread::scope(|scope| {
        let streaming = scope.spawn(|| feed(&mut stream, &lines, Duration::from_secs(args.secs)));
        let probing = scope.spawn(|| probe(&mut prober, args, acknowledge));
        let looking = scope.spawn(move || look(&mut reader, args, &acknowledged));
        let streamed = streaming.join().map_err(|_| LoadError::Panicked)?;
        let num_probes = probing.join().map_err(|_| LoadError::Panicked)?;
        let seen = looking.join().map_err(|_| LoadError::Panicked)?;
        Ok((streamed?, num_probes?, seen?))
    })?;
    let mut sent = lines.totals;
    sent.add(Totals {
        num_events: num_probes,
        cost_microdollars: num_probes,
    });
    CpuReading::now(&server)?.print_since(&before, Work::Events(sent.num_events));
    let rate = lines.totals.num_events as f64 / streamed.as_secs_f64();
    report::line(
        "stream",
        format_args!(
            "{} events at {}/s, {rate:.0}/s reached",
            lines.totals.num_events, args.rate
        ),
    );
    report::line("acknowledged until in the table", Latencies::new(seen.freshness));
    report::line("one look at the table", Latencies::new(seen.looks));
    report::footprint(&server, sent.num_events)?;
    verify(&mut server.analyst()?, sent)
}

/// Sends all lines as one request over `duration`, and returns how long it took to its answer.
fn feed(stream: &mut Client, lines: &Lines, duration: Duration) -> Result<Duration, LoadError> {
    let bytes = &*lines.bytes;
    let start = Instant::now();
    let mut written = stream.begin(STREAM_PATH, NDJSON, bytes.len());
    let mut done = 0;
    while done < bytes.len() && written.is_ok() {
        let share = (start.elapsed().as_secs_f64() / duration.as_secs_f64()).min(1.0);
        let due = (bytes.len() as f64 * share) as usize;
        written = stream.write(&bytes[done..due]);
        done = due;
        thread::sleep(FEED_INTERVAL);
    }
    let answer = stream.finish("the stream", written)?;
    let elapsed = start.elapsed();
    let accepted = read_accepted(&answer)?;
    if accepted == lines.totals.num_events {
        return Ok(elapsed);
    }
    Err(LoadError::Mismatch {
        place: "the stream's answer",
        counted: format!("{accepted} accepted events"),
        sent: format!("{} events", lines.totals.num_events),
    })
}

/// Sends events of one microdollar while the stream runs, reports when each is acknowledged, and
/// returns how many.
fn probe(prober: &mut Client, args: &FreshnessArgs, acknowledged: Sender<Instant>) -> Result<u64, LoadError> {
    thread::sleep(WARM_UP);
    let start = Instant::now();
    let num_probes = (args.probes * args.secs)
        .saturating_sub(args.probes * WARM_UP.as_secs())
        .max(1);
    for index in 0..num_probes {
        let due = start + Duration::from_secs_f64(index as f64 / args.probes as f64);
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let event = json!({"idempotencyKey": format!("probe-{index}"), "provider": "openai", "model": "gpt-4o",
            "inputTokens": 1, "outputTokens": 1, "costMicrodollars": 1, "customer": PROBE});
        prober.send("POST", SINGLE_PATH, JSON, event.to_string().as_bytes())?;
        // Its receiver ends early only where the looks failed, which is reported there.
        acknowledged.send(Instant::now()).ok();
    }
    Ok(num_probes)
}

/// Looks at the table until every event that was acknowledged has shown.
fn look(
    reader: &mut Client,
    args: &FreshnessArgs,
    acknowledged: &Receiver<Instant>,
) -> Result<Seen, LoadError> {
    let mut seen = Seen::default();
    // Waits for the first event; an end without one means that sending failed.
    while let Ok(acknowledged_at) = acknowledged.recv() {
        let mut waiting = vec![acknowledged_at];
        while !waiting.is_empty() {
            let before = Instant::now();
            let num_visible = visible(&read_table(&fetch_margins(reader)?)?);
            let now = Instant::now();
            seen.looks.push(now - before);
            waiting.extend(acknowledged.try_iter());
            let num_new = num_visible
                .saturating_sub(seen.freshness.len())
                .min(waiting.len());
            let shown = waiting.drain(..num_new);
            // One that was acknowledged only during the look was visible at once.
            seen.freshness
                .extend(shown.map(|acknowledged_at| now.saturating_duration_since(acknowledged_at)));
            let oldest = waiting.first().map_or(Duration::ZERO, Instant::elapsed);
            if oldest > PATIENCE {
                return Err(LoadError::TimedOut {
                    what: "an acknowledged event is not in the margin table".to_owned(),
                    secs: PATIENCE.as_secs(),
                });
            }
            thread::sleep(Duration::from_millis(args.poll_ms));
        }
    }
    Ok(seen)
}

/// Returns how many of the timed events a table shows.
fn visible(table: &Value) -> usize {
    let rows = table["customers"].as_array().into_iter().flatten();
    let cost = rows
        .filter(|row| row["tagValue"] == PROBE)
        .find_map(|row| row["costMicrodollars"].as_u64());
    usize::try_from(cost.unwrap_or(0)).unwrap_or(usize::MAX)
}
