//! Pages of lists that are read newest first.

use schemas::time::TimestampMs;
use uuid::Uuid;

use crate::row::stored_id;

/// Returns what the rows of a page lie below: the time and id of the last row of the page before,
/// or without one, more than any row has. No id is stored under the last millisecond of time.
pub(crate) fn bound(after: Option<(TimestampMs, Uuid)>) -> (i64, String) {
    after.map_or((i64::MAX, String::new()), |(at, id)| (at.0, stored_id(id)))
}
