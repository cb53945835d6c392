//! What must hold between the tables.

/// A roll-up and the query that it must equal.
pub(crate) struct Check {
    pub(crate) table: &'static str,
    keys: &'static [&'static str],
    values: &'static [&'static str],
    /// Yields the keys and values, named so, from the raw rows; keys may repeat.
    pub(crate) expected: &'static str,
}

impl Check {
    /// Returns the columns of [`Check::difference`].
    pub(crate) fn columns(&self) -> String {
        [self.keys, self.values].concat().join(", ")
    }

    /// Returns the condition under which a row of [`Check::difference`] is a difference.
    pub(super) fn differs(&self) -> String {
        self.values
            .iter()
            .map(|value| format!("{value} != 0"))
            .collect::<Vec<_>>()
            .join(" OR ")
    }

    /// Returns the query of what the table lacks by key: expected minus actual.
    pub(super) fn difference(&self, only_differing: bool) -> String {
        self.difference_to(self.table, only_differing)
    }

    /// As [`Check::difference`], of another table of the same form.
    pub(crate) fn difference_to(&self, table: &str, only_differing: bool) -> String {
        let keys = self.keys.join(", ");
        let plus = self
            .values
            .iter()
            .map(|value| format!("toInt64({value}) AS d_{value}"));
        let minus = self.values.iter().map(|value| format!("-{value}"));
        let sums = self
            .values
            .iter()
            .map(|value| format!("sum(d_{value}) AS {value}"));
        let (plus, minus, sums) = (join(plus), join(minus), join(sums));
        let having = if only_differing {
            format!(" HAVING {}", self.differs())
        } else {
            String::new()
        };
        format!(
            "SELECT {keys}, {sums} FROM (SELECT {keys}, {plus} FROM ({}) UNION ALL SELECT {keys}, {minus} FROM {}) \
             GROUP BY {keys}{having}",
            self.expected, table
        )
    }
}

fn join(parts: impl Iterator<Item = String>) -> String {
    parts.collect::<Vec<_>>().join(", ")
}

pub(crate) const ROLL_UPS: [Check; 4] = [
    Check {
        table: "cost_by_hour",
        keys: &[
            "org_id",
            "hour",
            "customer_id",
            "provider",
            "model",
            "api_key_id",
            "event_type",
            "source",
            "estimated",
        ],
        values: &[
            "cost_microdollars",
            "cost_breakdown_input",
            "cost_breakdown_output",
            "cost_breakdown_cached",
            "cost_breakdown_reasoning",
            "requests",
            "input_tokens",
            "output_tokens",
            "cached_input_tokens",
            "reasoning_tokens",
            "duration_ms",
            "requests_with_duration",
        ],
        expected: "SELECT org_id, toDateTime64(toStartOfHour(created_at), 3, 'UTC') AS hour, customer_id, provider, \
                model, api_key_id, event_type, source, tags['_ns_estimated'] = 'true' AS estimated, \
                sum(e.cost_microdollars) AS cost_microdollars, \
                ifNull(sum(e.cost_breakdown_input), 0) AS cost_breakdown_input, \
                ifNull(sum(e.cost_breakdown_output), 0) AS cost_breakdown_output, \
                ifNull(sum(e.cost_breakdown_cached), 0) AS cost_breakdown_cached, \
                ifNull(sum(e.cost_breakdown_reasoning), 0) AS cost_breakdown_reasoning, \
                count() AS requests, sum(e.input_tokens) AS input_tokens, sum(e.output_tokens) AS output_tokens, \
                sum(e.cached_input_tokens) AS cached_input_tokens, sum(e.reasoning_tokens) AS reasoning_tokens, \
                ifNull(sum(e.duration_ms), 0) AS duration_ms, count(e.duration_ms) AS requests_with_duration \
            FROM cost_events AS e \
            GROUP BY org_id, hour, customer_id, provider, model, api_key_id, event_type, source, estimated",
    },
    Check {
        table: "cost_by_tag_day",
        keys: &["org_id", "day", "tag_key", "tag_value", "estimated"],
        values: &["cost_microdollars", "requests"],
        expected: "SELECT org_id, toDateTime64(toStartOfDay(created_at), 3, 'UTC') AS day, \
                tag.1 AS tag_key, tag.2 AS tag_value, tags['_ns_estimated'] = 'true' AS estimated, \
                sum(e.cost_microdollars) AS cost_microdollars, count() AS requests \
            FROM cost_events AS e ARRAY JOIN CAST(tags, 'Array(Tuple(String, String))') AS tag \
            GROUP BY org_id, day, tag_key, tag_value, estimated",
    },
    Check {
        table: "cost_by_customer_month",
        keys: &["org_id", "month", "customer_id", "model"],
        values: &["cost_microdollars", "requests"],
        expected: "SELECT org_id, toDateTime64(toStartOfMonth(created_at), 3, 'UTC') AS month, customer_id, model, \
                sum(e.cost_microdollars) AS cost_microdollars, count() AS requests \
            FROM cost_events AS e GROUP BY org_id, month, customer_id, model",
    },
    Check {
        table: "revenue_by_month",
        keys: &["org_id", "stripe_customer_id", "month"],
        values: &["revenue_microdollars", "invoices"],
        expected: "SELECT org_id, stripe_customer_id, toDateTime64(toStartOfMonth(created_at), 3, 'UTC') AS month, \
                sum(i.revenue_microdollars) AS revenue_microdollars, count() AS invoices \
            FROM invoices AS i WHERE status = 'paid' AND currency = 'usd' \
            GROUP BY org_id, stripe_customer_id, month",
    },
];

/// A rule of the raw tables: a query of `num_keys` and `differences`.
pub(super) struct Invariant {
    pub(super) table: &'static str,
    pub(super) compared: &'static str,
    pub(super) sql: &'static str,
}

/// What batches of cost events that were written to their end hold, by partition: all rows of those were
/// inserted before, so comparisons that keep to them hold while others are being written.
macro_rules! of_written_batches {
    ($select:literal) => {
        concat!(
            "WITH written AS (SELECT log_partition, max(end_offset) AS end_offset, sum(inserted) AS inserted \
                 FROM batches WHERE topic = 'cost-events' GROUP BY log_partition), \
             ids AS (SELECT event_id, log_partition FROM cost_event_ids AS i \
                 INNER JOIN written USING (log_partition) WHERE i.log_offset < written.end_offset) ",
            $select
        )
    };
}

pub(super) const INVARIANTS: [Invariant; 3] = [
    Invariant {
        table: "cost_events",
        compared: "each event has one row, and one row in cost_event_ids",
        sql: of_written_batches!(
            "SELECT toUInt64(count()) AS num_keys, toUInt64(countIf(in_events != 1 OR in_ids != 1)) AS differences \
             FROM (SELECT event_id, sum(e) AS in_events, sum(i) AS in_ids FROM \
                 (SELECT event_id, 0 AS e, 1 AS i FROM ids UNION ALL SELECT event_id, 1, 0 FROM cost_events) \
                 GROUP BY event_id) \
             WHERE in_ids > 0 OR in_events > 1 OR event_id NOT IN (SELECT event_id FROM cost_event_ids)"
        ),
    },
    Invariant {
        table: "batches",
        compared: "batches do not overlap, and their books balance",
        sql: "SELECT toUInt64(count()) AS num_keys, \
                toUInt64(countIf(consumed != inserted + duplicates + dead_lettered + moved \
                    OR (num_before > 0 AND start_offset < end_before))) AS differences \
            FROM (SELECT *, count() OVER before AS num_before, any(end_offset) OVER before AS end_before \
                FROM batches WINDOW before AS \
                    (PARTITION BY topic, log_partition ORDER BY start_offset ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING))",
    },
    Invariant {
        table: "cost_events",
        compared: "rows are as many as the batches say were inserted",
        sql: of_written_batches!(
            "SELECT toUInt64(count()) AS num_keys, toUInt64(countIf(num_ids != inserted)) AS differences \
             FROM (SELECT log_partition, sum(n) AS num_ids, sum(s) AS inserted FROM \
                 (SELECT log_partition, 1 AS n, 0 AS s FROM ids \
                  UNION ALL SELECT log_partition, 0, inserted FROM written) GROUP BY log_partition)"
        ),
    },
];
