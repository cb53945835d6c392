//! Whether all that was sent is counted, once, in every table.

use std::time::{Duration, Instant};

use marginstream_benches::events::Totals;

use crate::client::Client;
use crate::error::LoadError;

/// Longest wait for what was acknowledged.
const PATIENCE: Duration = Duration::from_secs(120);
/// Short against what is measured; each look costs the server about a millisecond.
const POLL_INTERVAL: Duration = Duration::from_millis(20);
/// Each counts every event once.
const TABLES: [(&str, &str); 4] = [
    (
        "cost_by_hour",
        "SELECT sum(requests), sum(cost_microdollars) FROM cost_by_hour",
    ),
    (
        "cost_by_customer_month",
        "SELECT sum(requests), sum(cost_microdollars) FROM cost_by_customer_month",
    ),
    (
        "cost_by_tag_day",
        "SELECT sum(requests), sum(cost_microdollars) FROM cost_by_tag_day WHERE tag_key = 'customer'",
    ),
    (
        "cost_events",
        "SELECT count(), sum(cost_microdollars) FROM cost_events",
    ),
];

/// Waits until `cost_by_hour` has `sent` events, and returns when it had.
///
/// # Errors
/// [`LoadError::TimedOut`], or that of a query.
pub(crate) fn wait_until_counted(analyst: &mut Client, sent: Totals) -> Result<Instant, LoadError> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let counted = fetch_totals(analyst, TABLES[0].1)?;
        let now = Instant::now();
        if counted.num_events >= sent.num_events {
            return Ok(now);
        }
        if now >= deadline {
            return Err(LoadError::TimedOut {
                what: format!("{} of {} events are counted", counted.num_events, sent.num_events),
                secs: PATIENCE.as_secs(),
            });
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Waits until all is counted, then compares number and cost in every table.
///
/// # Errors
/// [`LoadError::Mismatch`] where an event is missing or counted twice.
pub(crate) fn verify(analyst: &mut Client, sent: Totals) -> Result<(), LoadError> {
    wait_until_counted(analyst, sent)?;
    let show = |totals: Totals| {
        format!(
            "{} events of {} microdollars",
            totals.num_events, totals.cost_microdollars
        )
    };
    let deadline = Instant::now() + PATIENCE;
    for (place, query) in TABLES {
        // One batch's inserts follow each other, so another table may be a moment behind.
        let mut counted = fetch_totals(analyst, query)?;
        while counted.num_events < sent.num_events && Instant::now() < deadline {
            std::thread::sleep(POLL_INTERVAL);
            counted = fetch_totals(analyst, query)?;
        }
        if counted != sent {
            return Err(LoadError::Mismatch {
                place,
                counted: show(counted),
                sent: show(sent),
            });
        }
    }
    Ok(())
}

fn fetch_totals(analyst: &mut Client, query: &str) -> Result<Totals, LoadError> {
    let answer = analyst.send("POST", "/", "text/plain", query.as_bytes())?;
    let text = String::from_utf8_lossy(&answer.body);
    parse_totals(&text).ok_or_else(|| LoadError::Malformed {
        what: "two numbers",
        text: text.into_owned(),
    })
}

fn parse_totals(text: &str) -> Option<Totals> {
    let (num_events, cost_microdollars) = text.trim().split_once('\t')?;
    Some(Totals {
        num_events: num_events.parse().ok()?,
        cost_microdollars: cost_microdollars.parse().ok()?,
    })
}
