//! Checks of the parts of a process, for its health endpoints.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use event_log::{EventLog, TopicPartition};
use ingest::Acceptor;
use marginstream_http::HealthCheck;
use marginstream_http::health::CheckError;
use processor::Lag;
use schemas::topic;
use tokio::sync::watch;

use crate::metrics::free_bytes;

/// How long a failed append counts against the log. Bounded, so that a process that gets no
/// requests while it is not ready becomes ready again.
const FAILURE_COUNTS_FOR: Duration = Duration::from_secs(30);
/// How long the processor may stand while records wait. An operator's command that holds it, as
/// `reconcile` does, counts too.
const MAX_STALL: Duration = Duration::from_secs(60);
/// Below this the warehouse's merges and the log's next segment may fail.
const MIN_FREE_BYTES: u64 = 512 << 20;

/// A component that is not healthy.
#[derive(Debug, thiserror::Error)]
enum Unhealthy {
    #[error("an append failed {0} s ago")]
    AppendFailed(u64),
    #[error("the processor has stood for {secs} s, {num_records} records wait")]
    Stalled { secs: u64, num_records: u64 },
    #[error("the processor has ended")]
    Ended,
    #[error("{0} bytes are left on the disk")]
    DiskFull(u64),
}

/// Checks that the log answers for `group`, and where this process takes events, that it takes
/// them.
pub(crate) fn event_log_check(
    log: Arc<dyn EventLog>,
    group: String,
    acceptor: Option<Arc<Acceptor>>,
) -> HealthCheck {
    let place = TopicPartition::new(topic::COST_EVENTS, 0);
    HealthCheck::new("eventLog", move || {
        let (log, group, place) = (Arc::clone(&log), group.clone(), place.clone());
        let failed_at = acceptor
            .as_ref()
            .and_then(|acceptor| acceptor.last_append_failure());
        Box::pin(async move {
            log.position(&group, &place).await?;
            match failed_at.map(|failed_at| failed_at.elapsed()) {
                Some(age) if age < FAILURE_COUNTS_FOR => {
                    Err(CheckError::from(Unhealthy::AppendFailed(age.as_secs())))
                }
                _ => Ok(()),
            }
        })
    })
}

/// Checks that the processor moves on where records wait. Requests are served without it, so it is
/// no part of readiness.
pub(crate) fn processor_check(lag: watch::Receiver<Lag>) -> HealthCheck {
    let check = HealthCheck::new("processor", move || {
        let outcome = check_lag(&lag);
        Box::pin(async move { outcome.map_err(CheckError::from) })
    });
    check.beyond_readiness()
}

fn check_lag(lag: &watch::Receiver<Lag>) -> Result<(), Unhealthy> {
    if lag.has_changed().is_err() {
        return Err(Unhealthy::Ended);
    }
    let Lag {
        num_records,
        stalled_since,
    } = *lag.borrow();
    match stalled_since.map(|since| since.elapsed()) {
        Some(age) if age > MAX_STALL => Err(Unhealthy::Stalled {
            secs: age.as_secs(),
            num_records,
        }),
        _ => Ok(()),
    }
}

/// Checks that the disk of `path` has space left. Requests are served until it is full, so it is no
/// part of readiness.
pub(crate) fn disk_check(path: Arc<Path>) -> HealthCheck {
    let check = HealthCheck::new("disk", move || {
        let path = Arc::clone(&path);
        Box::pin(async move {
            let left = tokio::task::spawn_blocking(move || free_bytes(&path)).await??;
            if left < MIN_FREE_BYTES {
                return Err(CheckError::from(Unhealthy::DiskFull(left)));
            }
            Ok(())
        })
    });
    check.beyond_readiness()
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[test]
    fn a_processor_that_stands_for_a_minute_is_not_healthy() {
        let (sender, lag) = watch::channel(Lag::default());
        let standing_for = |age: Duration| Lag {
            num_records: 7,
            stalled_since: Instant::now().checked_sub(age),
        };
        assert!(check_lag(&lag).is_ok());
        sender.send_replace(standing_for(MAX_STALL / 2));
        assert!(check_lag(&lag).is_ok());
        sender.send_replace(standing_for(MAX_STALL + Duration::from_millis(1_500)));
        assert_eq!(
            check_lag(&lag).unwrap_err().to_string(),
            "the processor has stood for 61 s, 7 records wait"
        );
        sender.send_replace(Lag::default());
        assert!(check_lag(&lag).is_ok());
        drop(sender);
        assert!(matches!(check_lag(&lag), Err(Unhealthy::Ended)));
    }
}
