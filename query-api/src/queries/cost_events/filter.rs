//! The event list's filters as SQL: fixed text, values only as parameters.

use marginstream_http::Cursor;
use schemas::cost_event::Source;
use schemas::id::{ApiKeyId, EventId, OrgId};
use schemas::time::TimestampMs;

use crate::queries::{FIRST_TIME_MS, LAST_TIME_MS, to_stored_ms};

const COST_EVENTS: &str = include_str!("../cost_events.sql");

/// The first comparison is there for the table's key, which does not understand the second.
const AFTER_CURSOR: &str = "created_at <= fromUnixTimestamp64Milli({cursor_time:Int64}, 'UTC')
    AND (created_at, event_id) < (fromUnixTimestamp64Milli({cursor_time:Int64}, 'UTC'), {cursor_id:UUID})";

/// Request id and provider name one event, whose id follows from them: no scan is needed.
const IS_EVENT: &str = "event_id = {event_id:UUID}
    AND created_at IN (SELECT created_at FROM cost_event_ids WHERE org_id = {org:UUID} AND event_id = {event_id:UUID})";

const HAS_TAGS: &str = "arrayAll((key, value) -> mapContains(tags, key) AND tags[key] = value,
        {tag_keys:Array(String)}, {tag_values:Array(String)})";

const ORDER: &str = "ORDER BY created_at DESC, event_id DESC\nLIMIT {limit:UInt32}\n";

/// Which events a page holds: those that pass all filters that are given, exactly.
#[derive(Debug, Clone, Default)]
pub(crate) struct EventFilter {
    pub(crate) request_id: Option<String>,
    pub(crate) api_key_id: Option<ApiKeyId>,
    pub(crate) model: Option<String>,
    pub(crate) provider: Option<String>,
    pub(crate) source: Option<Source>,
    pub(crate) trace_id: Option<String>,
    pub(crate) session_id: Option<String>,
    pub(crate) customer_id: Option<String>,
    /// Keys and values that the event's tags must have.
    pub(crate) tags: Vec<(String, String)>,
    /// Inclusive.
    pub(crate) from: Option<TimestampMs>,
    /// Exclusive.
    pub(crate) to: Option<TimestampMs>,
    /// The last row of the page before.
    pub(crate) cursor: Option<Cursor<EventId>>,
    /// Most events on the page.
    pub(crate) limit: u32,
}

impl EventFilter {
    /// Returns the query and its parameters, except for the two arrays of tags. It asks for one
    /// row more than the page holds.
    pub(super) fn to_sql(&self, org: OrgId) -> (String, Vec<(&'static str, String)>) {
        let mut sql = COST_EVENTS.to_owned();
        let mut params = vec![
            ("org", org.0.to_string()),
            ("from", self.from.map_or(FIRST_TIME_MS, to_stored_ms).to_string()),
            ("to", self.to.map_or(LAST_TIME_MS, to_stored_ms).to_string()),
            ("limit", self.limit.saturating_add(1).to_string()),
        ];
        for (condition, name, value) in self.single_conditions(org) {
            push_condition(&mut sql, condition);
            params.push((name, value));
        }
        if let Some(cursor) = self.cursor {
            push_condition(&mut sql, AFTER_CURSOR);
            params.push(("cursor_time", to_stored_ms(cursor.created_at).to_string()));
            params.push(("cursor_id", cursor.id.0.to_string()));
        }
        if !self.tags.is_empty() {
            push_condition(&mut sql, HAS_TAGS);
        }
        sql.push_str(ORDER);
        (sql, params)
    }

    /// Returns the conditions of one parameter each, with its name and value.
    fn single_conditions(&self, org: OrgId) -> impl Iterator<Item = (&'static str, &'static str, String)> {
        let event_id = match (&self.request_id, &self.provider) {
            (Some(request_id), Some(provider)) => {
                Some(EventId::derive(org, request_id, provider).0.to_string())
            }
            _ => None,
        };
        [
            (IS_EVENT, "event_id", event_id),
            (
                "request_id = {request_id:String}",
                "request_id",
                self.request_id.clone(),
            ),
            (
                "api_key_id = {api_key_id:UUID}",
                "api_key_id",
                self.api_key_id.map(|id| id.0.to_string()),
            ),
            ("model = {model:String}", "model", self.model.clone()),
            ("provider = {provider:String}", "provider", self.provider.clone()),
            (
                "source = {source:String}",
                "source",
                self.source.map(|source| source.as_str().to_owned()),
            ),
            ("trace_id = {trace_id:String}", "trace_id", self.trace_id.clone()),
            (
                "session_id = {session_id:String}",
                "session_id",
                self.session_id.clone(),
            ),
            (
                "customer_id = {customer_id:String}",
                "customer_id",
                self.customer_id.clone(),
            ),
        ]
        .into_iter()
        .filter_map(|(condition, name, value)| value.map(|value| (condition, name, value)))
    }
}

fn push_condition(sql: &mut String, condition: &str) {
    sql.push_str("    AND ");
    sql.push_str(condition);
    sql.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_never_become_sql_text() {
        let text = || Some("x' OR 1=1 --".to_owned());
        let filter = EventFilter {
            request_id: text(),
            model: text(),
            provider: text(),
            trace_id: text(),
            session_id: text(),
            customer_id: text(),
            tags: vec![("x' OR 1=1 --".to_owned(), "x' OR 1=1 --".to_owned())],
            limit: 25,
            ..EventFilter::default()
        };
        let (sql, params) = filter.to_sql(OrgId::random());
        assert!(!sql.contains("1=1"), "{sql}");
        assert!(params.contains(&("limit", "26".to_owned())));
        assert_eq!(
            params.iter().filter(|(_, value)| value.contains("1=1")).count(),
            6
        );
    }

    #[test]
    fn every_query_is_bounded_and_ordered() {
        let (sql, params) = EventFilter::default().to_sql(OrgId::random());
        assert!(
            sql.ends_with("ORDER BY created_at DESC, event_id DESC\nLIMIT {limit:UInt32}\n"),
            "{sql}"
        );
        for name in ["org", "from", "to", "limit"] {
            assert!(
                params.iter().any(|(bound, _)| *bound == name) && sql.contains(&format!("{{{name}:")),
                "{name}"
            );
        }
        assert!(!sql.contains("cursor"));
    }
}
