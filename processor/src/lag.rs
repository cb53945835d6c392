//! How far the processor is behind the end of the log, and whether it moves.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use event_log::{EventLog, TopicPartition};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::debug;

use crate::Progress;
use crate::metrics::{LAG, OWNED};

/// How often the end of the log is asked for.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(2);

/// What was found last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lag {
    /// Offsets to process, over all partitions of this process.
    pub num_records: u64,
    /// Since when a partition that has records to process has not moved on: the earliest such time.
    pub stalled_since: Option<Instant>,
}

/// One partition as it was found last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    next: u64,
    stalled_since: Option<Instant>,
}

impl Place {
    /// Follows the partition: it stalls from when it was first found with records and has not moved.
    fn found(before: Option<Self>, next: u64, end: u64, now: Instant) -> Self {
        let stalled_since = match before {
            _ if end <= next => None,
            Some(before) if before.next == next => before.stalled_since.or(Some(now)),
            _ => Some(now),
        };
        Self { next, stalled_since }
    }
}

/// Follows the lag for as long as the future is polled; it never ends by itself.
pub(crate) async fn follow(
    log: Arc<dyn EventLog>,
    group: String,
    mut progress: watch::Receiver<Progress>,
    lag: watch::Sender<Lag>,
) -> Infallible {
    let mut places = BTreeMap::new();
    loop {
        let reached = progress.borrow().clone();
        lag.send_replace(sample(&*log, &group, &reached, &mut places).await);
        // A new partition shows at once.
        let has_others = progress.wait_for(|now| now.len() != reached.len());
        let pause = tokio::time::sleep(SAMPLE_INTERVAL);
        tokio::select! {
            () = pause => {}
            Ok(_) = has_others => {}
        }
    }
}

async fn sample(
    log: &dyn EventLog,
    group: &str,
    reached: &Progress,
    places: &mut BTreeMap<TopicPartition, Place>,
) -> Lag {
    places.retain(|place, _| {
        let is_owned = reached.contains_key(place);
        if !is_owned {
            show(place, 0);
        }
        is_owned
    });
    OWNED.gauge_of(&[]).set(reached.len() as f64);
    let mut lag = Lag::default();
    for (place, next) in reached {
        let end = match log.position(group, place).await {
            Ok(position) => position.end,
            Err(error) => {
                debug!(%error, partition = %place, "end of the log is not known");
                continue;
            }
        };
        let found = Place::found(places.get(place).copied(), *next, end, Instant::now());
        let num_records = end.saturating_sub(*next);
        show(place, num_records);
        lag.num_records += num_records;
        lag.stalled_since = [lag.stalled_since, found.stalled_since]
            .into_iter()
            .flatten()
            .min();
        places.insert(place.clone(), found);
    }
    lag
}

fn show(place: &TopicPartition, num_records: u64) {
    LAG.gauge_of(&[&place.topic, &place.partition.to_string()])
        .set(num_records as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partition_stalls_while_it_has_records_and_does_not_move() {
        let start = Instant::now();
        let at = |secs| start + Duration::from_secs(secs);
        let waits = Place::found(None, 5, 9, at(0));
        assert_eq!(waits.stalled_since, Some(at(0)));
        let stands = Place::found(Some(waits), 5, 12, at(10));
        assert_eq!(stands.stalled_since, Some(at(0)));
        let moves = Place::found(Some(stands), 6, 12, at(20));
        assert_eq!(moves.stalled_since, Some(at(20)));
        let idle = Place::found(Some(moves), 12, 12, at(30));
        assert_eq!(idle.stalled_since, None);
        let anew = Place::found(Some(idle), 12, 13, at(90));
        assert_eq!(anew.stalled_since, Some(at(90)));
    }
}
