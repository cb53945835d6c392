//! Sums for attribution, from roll-ups only.

use clickhouse::Row;
use clickhouse::query::Query;
use schemas::id::{ApiKeyId, OrgId};
use schemas::period::DayWindow;
use schemas::time::TimestampMs;
use serde::Deserialize;
use uuid::Uuid;
use warehouse::Warehouse;

use super::{ReadError, fetch_all, read, to_amount, to_request_count, to_stored_ms};
use crate::attribution::{GroupSum, Sum};

const HOUR_TOTALS: &str = include_str!("hour_totals.sql");
const HOUR_BY_KEY: &str = include_str!("hour_by_key.sql");
const HOUR_BY_CUSTOMER: &str = include_str!("hour_by_customer.sql");
const TAG_TOTALS: &str = include_str!("tag_totals.sql");
const TAG_BY_VALUE: &str = include_str!("tag_by_value.sql");

/// Which events count.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AttributionScope {
    pub(crate) org: OrgId,
    /// First instant of the window, which has no end.
    pub(crate) from: TimestampMs,
    pub(crate) exclude_estimated: bool,
}

impl AttributionScope {
    /// Makes the scope of a window that ends today.
    pub(crate) fn new(org: OrgId, window: DayWindow, now: TimestampMs, exclude_estimated: bool) -> Self {
        let midnight = window
            .first_day(now.to_utc())
            .and_time(chrono::NaiveTime::MIN)
            .and_utc();
        Self {
            org,
            from: TimestampMs(midnight.timestamp_millis()),
            exclude_estimated,
        }
    }

    /// Binds organization and window, for queries that count estimates too.
    pub(super) fn bind_window(self, query: Query) -> Query {
        query
            .param("org", self.org.0)
            .param("from", to_stored_ms(self.from))
    }

    fn bind(self, query: Query) -> Query {
        self.bind_window(query)
            .param("exclude_estimated", u8::from(self.exclude_estimated))
    }
}

#[derive(Debug, Row, Deserialize)]
struct SumRow {
    cost: i128,
    request_count: i128,
}

impl SumRow {
    fn narrow(self) -> Result<Sum, ReadError> {
        Ok(Sum {
            cost_microdollars: to_amount(self.cost)?,
            requests: to_request_count(self.request_count)?,
        })
    }
}

#[derive(Debug, Row, Deserialize)]
struct KeyRow {
    #[serde(with = "clickhouse::serde::uuid")]
    api_key_id: Uuid,
    cost: i128,
    request_count: i128,
}

#[derive(Debug, Row, Deserialize)]
struct ValueRow {
    value: String,
    cost: i128,
    request_count: i128,
}

/// Fetches the sum over all events of the scope.
pub(crate) async fn fetch_totals(warehouse: &Warehouse, scope: AttributionScope) -> Result<Sum, ReadError> {
    fetch_sum("read total cost", scope.bind(read(warehouse, HOUR_TOTALS))).await
}

/// Fetches the sum over all events that carry the tag.
pub(crate) async fn fetch_tag_totals(
    warehouse: &Warehouse,
    scope: AttributionScope,
    tag_key: &str,
) -> Result<Sum, ReadError> {
    let query = scope.bind(read(warehouse, TAG_TOTALS)).param("tag_key", tag_key);
    fetch_sum("read total cost of a tag", query).await
}

/// Fetches the sum of each API key; none stands for events without one.
pub(crate) async fn fetch_by_key(
    warehouse: &Warehouse,
    scope: AttributionScope,
) -> Result<Vec<(Option<ApiKeyId>, Sum)>, ReadError> {
    let rows = fetch_all::<KeyRow>("read cost by API key", scope.bind(read(warehouse, HOUR_BY_KEY))).await?;
    let narrow = |row: KeyRow| {
        let key = Some(row.api_key_id).filter(|id| !id.is_nil()).map(ApiKeyId);
        Ok((
            key,
            SumRow {
                cost: row.cost,
                request_count: row.request_count,
            }
            .narrow()?,
        ))
    };
    rows.into_iter().map(narrow).collect()
}

/// Fetches the dearest customers, at most `limit`; events without one are the group `(none)`.
pub(crate) async fn fetch_by_customer(
    warehouse: &Warehouse,
    scope: AttributionScope,
    limit: u32,
) -> Result<Vec<GroupSum>, ReadError> {
    let query = scope
        .bind(read(warehouse, HOUR_BY_CUSTOMER))
        .param("limit", limit);
    fetch_groups("read cost by customer", query).await
}

/// Fetches the dearest values of a tag, at most `limit`.
pub(crate) async fn fetch_by_tag_value(
    warehouse: &Warehouse,
    scope: AttributionScope,
    tag_key: &str,
    limit: u32,
) -> Result<Vec<GroupSum>, ReadError> {
    let query = scope
        .bind(read(warehouse, TAG_BY_VALUE))
        .param("tag_key", tag_key)
        .param("limit", limit);
    fetch_groups("read cost by tag value", query).await
}

async fn fetch_sum(action: &'static str, query: Query) -> Result<Sum, ReadError> {
    let rows = fetch_all::<SumRow>(action, query).await?;
    rows.into_iter().next().map_or(Ok(Sum::default()), SumRow::narrow)
}

async fn fetch_groups(action: &'static str, query: Query) -> Result<Vec<GroupSum>, ReadError> {
    let rows = fetch_all::<ValueRow>(action, query).await?;
    let narrow = |row: ValueRow| {
        let sum = SumRow {
            cost: row.cost,
            request_count: row.request_count,
        }
        .narrow()?;
        Ok(GroupSum {
            key: row.value,
            key_id: None,
            sum,
        })
    };
    rows.into_iter().map(narrow).collect()
}
