//! Which segments may go, and their removal.

use std::time::Duration;

use tracing::{info, warn};

use super::files;
use super::partition::PartitionLog;
use super::segment::Segment;
use crate::LogError;

/// How long a topic's records are kept; no limit where absent.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retention {
    pub(super) max_bytes: Option<u64>,
    pub(super) max_age: Option<Duration>,
    /// Whether nothing goes that a group has not processed.
    pub(super) waits_for_groups: bool,
}

/// What the rule needs to know of one segment.
#[derive(Debug, Clone, Copy)]
struct Extent {
    /// The offset after its last record.
    end: u64,
    bytes: u64,
    last_timestamp_ms: i64,
}

impl Retention {
    /// Returns how many of `sealed`, from the first on, have passed a limit and end at or before `processed`.
    fn num_expired(&self, sealed: &[Extent], active_bytes: u64, processed: u64, now_ms: i64) -> usize {
        let mut kept_bytes = active_bytes + sealed.iter().map(|extent| extent.bytes).sum::<u64>();
        let oldest_ms = self
            .max_age
            .map(|age| now_ms.saturating_sub_unsigned(age.as_millis().try_into().unwrap_or(u64::MAX)));
        let mut num_expired = 0;
        for extent in sealed {
            let is_over = self.max_bytes.is_some_and(|max_bytes| kept_bytes > max_bytes);
            let is_old = oldest_ms.is_some_and(|oldest_ms| extent.last_timestamp_ms < oldest_ms);
            if extent.end > processed || !(is_over || is_old) {
                break;
            }
            kept_bytes -= extent.bytes;
            num_expired += 1;
        }
        num_expired
    }
}

/// Removes the segments of `log` that passed a limit and lie wholly below `processed`, the smallest
/// offset that any group has committed. Without a group (`None`) all stay. Where groups are not waited
/// for, `processed` does not matter.
pub(super) fn apply(log: &PartitionLog, retention: Retention, processed: Option<u64>, now_ms: i64) {
    let may_go_below = if retention.waits_for_groups {
        processed
    } else {
        Some(u64::MAX)
    };
    let Some(processed) = may_go_below else { return };
    let segments = log.segments();
    let extents: Vec<Extent> = segments
        .windows(2)
        .map(|pair| extent(&pair[0], &pair[1]))
        .collect();
    let active_bytes = segments.last().map_or(0, |active| active.len());
    let num_expired = retention.num_expired(&extents, active_bytes, processed, now_ms);
    if num_expired == 0 {
        return;
    }
    log.forget_segments(num_expired);
    // Oldest first: whatever a crash leaves still follows without a gap. A file that stays is found at the next start.
    let removed = segments[..num_expired].iter().try_for_each(|segment| {
        std::fs::remove_file(&segment.path).map_err(LogError::io("remove", &segment.path))
    });
    match removed.and_then(|()| files::sync_dir(&log.dir)) {
        Ok(()) => {
            info!(log = %log.id, num_segments = num_expired, earliest = log.earliest(), "old segments removed")
        }
        Err(error) => warn!(%error, log = %log.id, "old segments not removed"),
    }
}

fn extent(segment: &Segment, next: &Segment) -> Extent {
    Extent {
        end: next.base,
        bytes: segment.len(),
        last_timestamp_ms: segment.last_timestamp_ms(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEALED: [Extent; 3] = [
        Extent {
            end: 10,
            bytes: 100,
            last_timestamp_ms: 1000,
        },
        Extent {
            end: 20,
            bytes: 100,
            last_timestamp_ms: 2000,
        },
        Extent {
            end: 30,
            bytes: 100,
            last_timestamp_ms: 3000,
        },
    ];

    #[test]
    fn removes_what_is_over_the_bytes() {
        let retention = Retention {
            max_bytes: Some(250),
            max_age: None,
            waits_for_groups: true,
        };
        assert_eq!(retention.num_expired(&SEALED, 50, 30, 0), 1);
        assert_eq!(retention.num_expired(&SEALED, 51, 30, 0), 2);
    }

    #[test]
    fn removes_what_is_over_the_age() {
        let retention = Retention {
            max_bytes: None,
            max_age: Some(Duration::from_secs(1)),
            waits_for_groups: true,
        };
        assert_eq!(retention.num_expired(&SEALED, 0, 30, 3000), 1);
        assert_eq!(retention.num_expired(&SEALED, 0, 30, 9000), 3);
        let forever = Retention {
            max_bytes: None,
            max_age: Some(Duration::MAX),
            waits_for_groups: true,
        };
        assert_eq!(forever.num_expired(&SEALED, 0, 30, 9000), 0);
    }

    #[test]
    fn keeps_what_a_group_has_not_processed() {
        let retention = Retention {
            max_bytes: Some(0),
            max_age: None,
            waits_for_groups: true,
        };
        assert_eq!(retention.num_expired(&SEALED, 0, 19, 0), 1);
        assert_eq!(retention.num_expired(&SEALED, 0, 0, 0), 0);
    }
}
