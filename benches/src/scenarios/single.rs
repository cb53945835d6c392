//! `load single`: one event a request, at a steady rate.

use std::thread;
use std::time::{Duration, Instant};

use marginstream_benches::events::{EventSpec, Spread, generate};

use super::{JSON, SINGLE_PATH};
use crate::cli::{ServerArgs, SingleArgs};
use crate::client::Client;
use crate::error::LoadError;
use crate::latency::Latencies;
use crate::report::{self, CpuReading, Work};
use crate::server::Server;
use crate::verify::verify;

/// Time to get all threads going before the first request is due.
const LEAD: Duration = Duration::from_millis(50);

/// The requests of one connection.
struct Share<'a> {
    sender: Client,
    /// Bodies, with the time at which each is due.
    due: Vec<(Instant, &'a [u8])>,
}

/// Latencies of one connection: since a request was due, and since it was sent.
#[derive(Default)]
struct Measured {
    since_due: Vec<Duration>,
    since_sent: Vec<Duration>,
}

pub(super) fn run(server: &ServerArgs, args: &SingleArgs) -> Result<(), LoadError> {
    let lines = generate(EventSpec {
        seed: args.seed,
        num_events: args.rate * args.secs,
        num_customers: 200,
        spread: Spread::Skewed,
    });
    let bodies: Vec<&[u8]> = lines
        .bytes
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .collect();
    let server = Server::start(server)?;
    eprintln!("server is process {}; sending for {} s", server.pid(), args.secs);
    let mut shares = Vec::with_capacity(args.connections.into());
    for _ in 0..args.connections {
        shares.push(Share {
            sender: server.sender()?,
            due: Vec::new(),
        });
    }
    let before = CpuReading::now(&server)?;
    let start = Instant::now() + LEAD;
    let num_shares = shares.len();
    for (index, body) in bodies.iter().enumerate() {
        let due = start + Duration::from_secs_f64(index as f64 / args.rate as f64);
        shares[index % num_shares].due.push((due, body));
    }
    let measured = send_all(shares)?;
    let secs = start.elapsed().as_secs_f64();
    CpuReading::now(&server)?.print_since(&before, Work::Events(lines.totals.num_events));
    report::line(
        "requests",
        format_args!(
            "{} at {}/s on {} connections, {:.0}/s reached",
            bodies.len(),
            args.rate,
            args.connections,
            bodies.len() as f64 / secs
        ),
    );
    report::line("acknowledged, since due", Latencies::new(measured.since_due));
    report::line("acknowledged, since sent", Latencies::new(measured.since_sent));
    report::footprint(&server, lines.totals.num_events)?;
    verify(&mut server.analyst()?, lines.totals)
}

fn send_all(shares: Vec<Share<'_>>) -> Result<Measured, LoadError> {
    thread::scope(|scope| {
        let threads: Vec<_> = shares
            .into_iter()
            .map(|share| scope.spawn(|| send_share(share)))
            .collect();
        let mut all = Measured::default();
        for thread in threads {
            let measured = thread.join().map_err(|_| LoadError::Panicked)??;
            all.since_due.extend(measured.since_due);
            all.since_sent.extend(measured.since_sent);
        }
        Ok(all)
    })
}

fn send_share(mut share: Share<'_>) -> Result<Measured, LoadError> {
    let mut measured = Measured::default();
    for (due, body) in share.due {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        let sent = Instant::now();
        share.sender.send("POST", SINGLE_PATH, JSON, body)?;
        measured.since_due.push(due.elapsed());
        measured.since_sent.push(sent.elapsed());
    }
    Ok(measured)
}
