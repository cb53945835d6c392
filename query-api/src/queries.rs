//! Reads of the warehouse: fixed SQL with bound parameters, always within one organization.
//!
//! Sums are taken in 128 bits and narrowed here, so that an amount beyond 64 bits is an error and
//! never a wrong number. A result that is larger than [`MAX_RESULT_ROWS`] is an error too: what is
//! joined here must not be cut off.

pub(crate) mod attribution;
pub(crate) mod cost_events;
pub(crate) mod margins;
pub(crate) mod summary;

use std::time::Instant;

use clickhouse::query::Query;
use clickhouse::{RowOwned, RowRead};
use marginstream_http::ApiError;
use schemas::money::MoneyError;
use schemas::time::TimestampMs;
use warehouse::{Warehouse, WarehouseError};

use crate::metrics::count_query;

/// Largest result of any query; more customers than this are refused.
const MAX_RESULT_ROWS: &str = "5000000";
/// Longest run of any query, in seconds; longer ones are answered 503.
const MAX_EXECUTION_SECS: &str = "30";
/// The times that `DateTime64` holds: 1900-01-01 to 2299-12-31T23:59:59.999, in milliseconds.
const FIRST_TIME_MS: i64 = -2_208_988_800_000;
const LAST_TIME_MS: i64 = 10_413_791_999_999;

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The warehouse did not answer.
    #[error(transparent)]
    Warehouse(#[from] WarehouseError),
    /// An amount does not fit.
    #[error("a sum of the warehouse cannot be used")]
    Money(#[from] MoneyError),
    /// A sum of counts is negative or beyond 64 bits: the roll-ups are broken.
    #[error("the number of requests is out of range")]
    RequestCount,
}

impl From<ReadError> for ApiError {
    fn from(error: ReadError) -> Self {
        let is_retryable = match &error {
            ReadError::Warehouse(error) => error.is_retryable(),
            ReadError::Money(_) | ReadError::RequestCount => false,
        };
        Self::dependency(error, is_retryable)
    }
}

/// Starts a query that may read only. Parameters stand in `sql` as `{name:Type}`.
fn read(warehouse: &Warehouse, sql: &str) -> Query {
    warehouse
        .client()
        .query_raw(sql)
        .with_setting("readonly", "2")
        .with_setting("max_execution_time", MAX_EXECUTION_SECS)
        .with_setting("max_result_rows", MAX_RESULT_ROWS)
        .with_setting("result_overflow_mode", "throw")
}

/// Fetches all rows. `action` names the read in the log and in the metrics.
async fn fetch_all<T: RowOwned + RowRead>(action: &'static str, query: Query) -> Result<Vec<T>, ReadError> {
    let started = Instant::now();
    let rows = query.fetch_all().await;
    count_query(action, started.elapsed(), rows.is_err());
    rows.map_err(|source| WarehouseError::from_client(action, source).into())
}

/// Brings a time into the warehouse's range, where comparisons keep their outcome: no row lies
/// outside of it.
fn to_stored_ms(at: TimestampMs) -> i64 {
    at.0.clamp(FIRST_TIME_MS, LAST_TIME_MS)
}

pub(crate) fn to_amount(sum: i128) -> Result<i64, ReadError> {
    i64::try_from(sum).map_err(|_| MoneyError::Overflow.into())
}

pub(crate) fn to_request_count(sum: i128) -> Result<u64, ReadError> {
    u64::try_from(sum).map_err(|_| ReadError::RequestCount)
}
