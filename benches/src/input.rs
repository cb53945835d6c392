//! What is sent: a file's lines, and shares of lines.

use std::collections::HashSet;
use std::path::Path;

use marginstream_benches::events::{Lines, Totals};
use serde::Deserialize;

use crate::error::LoadError;

/// What counts of a line.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Counted<'a> {
    provider: &'a str,
    idempotency_key: &'a str,
    cost_microdollars: u64,
}

/// Reads a file of events, one JSON object a line. A repeated pair of provider and key counts once.
///
/// # Errors
/// [`LoadError::File`] and [`LoadError::Json`].
pub(crate) fn read_file(path: &Path) -> Result<Lines, LoadError> {
    let bytes = std::fs::read(path).map_err(|source| LoadError::File {
        action: "read",
        path: path.to_path_buf(),
        source,
    })?;
    let totals = totals_of(&bytes)?;
    Ok(Lines { bytes, totals })
}

fn totals_of(bytes: &[u8]) -> Result<Totals, LoadError> {
    let mut seen = HashSet::new();
    let mut totals = Totals::default();
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    for line in lines {
        let event: Counted<'_> = serde_json::from_slice(line).map_err(LoadError::json("an event"))?;
        if seen.insert((event.provider, event.idempotency_key)) {
            totals.add(Totals {
                num_events: 1,
                cost_microdollars: event.cost_microdollars,
            });
        }
    }
    Ok(totals)
}

/// Cuts lines into at most `num_shares` shares of whole lines and about the same size.
pub(crate) fn shares(bytes: &[u8], num_shares: usize) -> Vec<&[u8]> {
    let share_bytes = bytes.len().div_ceil(num_shares.max(1));
    let mut shares = Vec::with_capacity(num_shares);
    let mut rest = bytes;
    while !rest.is_empty() {
        let line_end = rest
            .iter()
            .skip(share_bytes.saturating_sub(1))
            .position(|byte| *byte == b'\n');
        let end = line_end.map_or(rest.len(), |at| share_bytes.max(1) + at);
        let (share, others) = rest.split_at(end);
        shares.push(share);
        rest = others;
    }
    debug_assert!(
        shares.len() <= num_shares.max(1),
        "every share but the last is whole"
    );
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_whole_lines_and_lose_nothing() {
        let lines: Vec<u8> = (0..100)
            .flat_map(|n| format!("{}\n", "x".repeat(n % 13)).into_bytes())
            .collect();
        for num_shares in 1..20 {
            let shares = shares(&lines, num_shares);
            assert!(shares.len() <= num_shares);
            assert!(shares.iter().all(|share| share.ends_with(b"\n")));
            assert_eq!(shares.concat(), lines);
        }
        assert!(shares(b"", 3).is_empty());
    }

    #[test]
    fn a_repeated_event_counts_once() {
        let line = |key: &str, cost: u64| {
            format!("{{\"idempotencyKey\":\"{key}\",\"provider\":\"p\",\"costMicrodollars\":{cost}}}\n")
        };
        let text = line("a", 5) + &line("b", 7) + &line("a", 5);
        let totals = totals_of(text.as_bytes()).unwrap();
        assert_eq!((totals.num_events, totals.cost_microdollars), (2, 12));
    }
}
