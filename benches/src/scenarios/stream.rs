//! `load stream`: as fast as the server takes it.

use std::thread;
use std::time::Instant;

use marginstream_benches::events::{EventSpec, Lines, Spread, generate};

use super::send_stream;
use crate::cli::{ServerArgs, StreamArgs};
use crate::client::Client;
use crate::error::LoadError;
use crate::input::{read_file, shares};
use crate::report::{self, CpuReading, Work};
use crate::server::Server;
use crate::verify::{verify, wait_until_counted};

pub(super) fn run(server: &ServerArgs, args: &StreamArgs) -> Result<(), LoadError> {
    let lines = load(args)?;
    let sent = lines.totals;
    let server = Server::start(server)?;
    eprintln!(
        "server is process {}; sending {} events",
        server.pid(),
        sent.num_events
    );
    let mut analyst = server.analyst()?;
    let shares = shares(&lines.bytes, args.connections.into());
    let mut senders = Vec::with_capacity(shares.len());
    for share in shares {
        senders.push((server.sender()?, share));
    }
    let before = CpuReading::now(&server)?;
    let start = Instant::now();
    let accepted = send_all(senders)?;
    let acknowledged = start.elapsed();
    let queryable = wait_until_counted(&mut analyst, sent)?.duration_since(start);
    CpuReading::now(&server)?.print_since(&before, Work::Events(sent.num_events));
    if accepted != sent.num_events {
        return Err(LoadError::Mismatch {
            place: "the sum of the answers",
            counted: format!("{accepted} accepted events"),
            sent: format!("{} events", sent.num_events),
        });
    }
    report::line(
        "events",
        format_args!(
            "{} on {} connections, {} bytes each",
            sent.num_events,
            args.connections,
            lines.bytes.len() as u64 / sent.num_events.max(1)
        ),
    );
    for (name, time) in [
        ("until acknowledged", acknowledged),
        ("until queryable in roll-ups", queryable),
    ] {
        let secs = time.as_secs_f64();
        let rate = sent.num_events as f64 / secs;
        report::line(name, format_args!("{rate:.0} events/s ({secs:.2} s)"));
    }
    report::footprint(&server, sent.num_events)?;
    verify(&mut analyst, sent)
}

fn load(args: &StreamArgs) -> Result<Lines, LoadError> {
    if let Some(path) = &args.file {
        return read_file(path);
    }
    Ok(generate(EventSpec {
        seed: args.seed,
        num_events: args.events,
        num_customers: args.customers,
        spread: Spread::Skewed,
    }))
}

/// Sends each share on its connection, all at a time, and returns the number of accepted events.
fn send_all(senders: Vec<(Client, &[u8])>) -> Result<u64, LoadError> {
    thread::scope(|scope| {
        let threads: Vec<_> = senders
            .into_iter()
            .map(|(mut sender, share)| scope.spawn(move || send_stream(&mut sender, share)))
            .collect();
        let mut accepted = 0;
        for thread in threads {
            accepted += thread.join().map_err(|_| LoadError::Panicked)??;
        }
        Ok(accepted)
    })
}
