//! `GET /api/cost-events` and `GET /api/cost-events/:id` (`../spec/cost-events.md` §5-6).

use axum::extract::{Query, State};
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use marginstream_http::{
    Access, Api, ApiError, Endpoint, ErrorCode, QueryParams, Reader, SessionCaller, reply, shape_of,
};
use schemas::access::Role;
use schemas::api::cost_events::{CostEventPage, CostEventView, EventCursor};
use schemas::api::shapes;
use schemas::cost_event::Source;
use schemas::id::{ApiKeyId, EventId};
use schemas::time::TimestampMs;
use serde_json::json;

use crate::path::decode_last_segment;
use crate::queries::cost_events::{EventFilter, fetch_by_id, fetch_page};
use crate::state::QueryState;

const DEFAULT_LIMIT: u32 = 25;
const MAX_LIMIT: u32 = 100;
/// Longest request and session id, in characters.
const MAX_ID_CHARS: usize = 200;
const SOURCES: [(&str, Source); 3] = [
    ("proxy", Source::Proxy),
    ("api", Source::Api),
    ("mcp", Source::Mcp),
];
const BUDGET_STATUSES: [(&str, ()); 3] = [("skipped", ()), ("approved", ()), ("denied", ())];

pub(super) fn api() -> Api<QueryState> {
    let text = || json!({ "type": "string" });
    let list = Endpoint::get(
        "/api/cost-events",
        Access::Reader,
        "Lists cost events, newest first; all filters must match. `tag.<key>` filters by a tag.",
    )
    .query(
        "limit",
        shapes::limit(MAX_LIMIT, DEFAULT_LIMIT),
        "Most events of a page.",
    )
    .query(
        "cursor",
        shapes::cursor(EventId::PREFIX),
        "The `cursor` of the page before.",
    )
    .query(
        "requestId",
        json!({ "type": "string", "maxLength": MAX_ID_CHARS }),
        "The sender's key.",
    )
    .query(
        "apiKeyId",
        shapes::id_or_empty(ApiKeyId::PREFIX),
        "The API key that sent it.",
    )
    .query("model", text(), "The model.")
    .query("provider", text(), "The provider.")
    .query(
        "source",
        json!({ "enum": ["proxy", "api", "mcp"] }),
        "How it came in.",
    )
    .query(
        "budgetStatus",
        json!({ "enum": ["skipped", "approved", "denied"] }),
        "Of the gateway's events.",
    )
    .query(
        "traceId",
        json!({ "type": "string", "pattern": "^([0-9a-f]{32})?$" }),
        "The trace.",
    )
    .query(
        "sessionId",
        json!({ "type": "string", "maxLength": MAX_ID_CHARS }),
        "The session.",
    )
    .query("customerId", text(), "The customer.")
    .query("from", shapes::timestamp(), "No earlier than this.")
    .query("to", shapes::timestamp(), "Earlier than this.")
    .answers_json(200, shape_of::<CostEventPage>());
    let get = Endpoint::get(
        "/api/cost-events/{id}",
        Access::Session(Role::Viewer),
        "Returns a cost event.",
    )
    .path_parameter(
        "id",
        shapes::id(EventId::PREFIX, true),
        "The event: `ns_evt_…` or a bare UUID.",
    )
    .answers_data(200, shape_of::<CostEventView>());
    Api::new()
        .endpoint(list, list_cost_events)
        .endpoint(get, get_cost_event)
}

async fn list_cost_events(
    State(state): State<QueryState>,
    reader: Reader,
    uri: Uri,
    params: QueryParams,
) -> Result<Response, ApiError> {
    let Some(filter) = filter_of(params, tag_filters(&uri))? else {
        return reply::json(
            StatusCode::OK,
            &CostEventPage {
                data: Vec::new(),
                cursor: None,
            },
        );
    };
    let mut rows = fetch_page(state.warehouse(), reader.org_id(), &filter).await?;
    let key_names = state.control().api_key_names(reader.org_id()).await?;
    let limit = usize::try_from(filter.limit).unwrap_or(usize::MAX);
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let data: Vec<_> = rows.into_iter().map(|row| row.into_view(&key_names)).collect();
    let last = data.last().filter(|_| has_more);
    let cursor = last.map(|event| EventCursor {
        created_at: event.created_at,
        id: event.id,
    });
    reply::json(StatusCode::OK, &CostEventPage { data, cursor })
}

async fn get_cost_event(
    State(state): State<QueryState>,
    caller: SessionCaller,
    uri: Uri,
) -> Result<Response, ApiError> {
    let id = decode_last_segment(&uri)
        .ok()
        .and_then(|id| EventId::parse_lenient(&id).ok());
    let id = id.ok_or_else(|| ApiError::new(ErrorCode::ValidationError, "Invalid cost event ID."))?;
    let event = fetch_by_id(state.warehouse(), caller.org_id, id).await?;
    let event = event.ok_or_else(|| ApiError::not_found("Cost event not found."))?;
    let key_names = state.control().api_key_names(caller.org_id).await?;
    reply::data(StatusCode::OK, &event.into_view(&key_names))
}

/// Reads the filters. None where no event can pass them.
fn filter_of(mut params: QueryParams, tags: Vec<(String, String)>) -> Result<Option<EventFilter>, ApiError> {
    let budget_status = params.choice("budgetStatus", &BUDGET_STATUSES);
    let filter = EventFilter {
        limit: params.integer("limit", 1..=MAX_LIMIT, DEFAULT_LIMIT),
        cursor: params.cursor(),
        request_id: read_text(&mut params, "requestId", is_short),
        api_key_id: params.parse("apiKeyId", read_key_id).flatten(),
        model: read_text(&mut params, "model", |_| Ok(())),
        provider: read_text(&mut params, "provider", |_| Ok(())),
        source: params.choice("source", &SOURCES),
        trace_id: read_text(&mut params, "traceId", is_trace_id),
        session_id: read_text(&mut params, "sessionId", is_short),
        customer_id: read_text(&mut params, "customerId", |_| Ok(())),
        from: read_time(&mut params, "from"),
        to: read_time(&mut params, "to"),
        tags,
    };
    params.finish()?;
    // Only the gateway's events have a budget status, and none of them is stored.
    Ok(budget_status.is_none().then_some(filter))
}

/// An empty text counts as absent.
fn read_text(
    params: &mut QueryParams,
    name: &'static str,
    check: impl FnOnce(&str) -> Result<(), &'static str>,
) -> Option<String> {
    let text = params.parse(name, |text| match non_empty(text) {
        Some(text) => check(text).map(|()| Some(text.to_owned())).map_err(str::to_owned),
        None => Ok(None),
    });
    text.flatten()
}

fn read_key_id(text: &str) -> Result<Option<ApiKeyId>, String> {
    let id = non_empty(text).map(str::parse::<ApiKeyId>).transpose();
    id.map_err(|error| format!("Id {error}"))
}

fn read_time(params: &mut QueryParams, name: &'static str) -> Option<TimestampMs> {
    let parse = |text: &str| {
        TimestampMs::parse_z(text).ok_or_else(|| "Expected a UTC timestamp ending in Z".to_owned())
    };
    params.parse(name, parse)
}

fn non_empty(text: &str) -> Option<&str> {
    Some(text).filter(|text| !text.is_empty())
}

fn is_short(text: &str) -> Result<(), &'static str> {
    if text.chars().count() <= MAX_ID_CHARS {
        Ok(())
    } else {
        Err("Must have at most 200 characters")
    }
}

fn is_trace_id(text: &str) -> Result<(), &'static str> {
    let is_hex = text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    if text.len() == 32 && is_hex {
        Ok(())
    } else {
        Err("Expected 32 lower-case hexadecimal digits")
    }
}

/// Returns the parameters `tag.<key>`; of a repeated one the first counts.
fn tag_filters(uri: &Uri) -> Vec<(String, String)> {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri)
        .map(|Query(pairs)| pairs)
        .unwrap_or_default();
    let mut tags: Vec<(String, String)> = Vec::new();
    for (name, value) in pairs {
        if let Some(key) = name
            .strip_prefix("tag.")
            .filter(|key| tags.iter().all(|(known, _)| known != key))
        {
            tags.push((key.to_owned(), value));
        }
    }
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(query: &str) -> Uri {
        format!("/api/cost-events?{query}").parse().unwrap()
    }

    #[test]
    fn tag_keys_are_taken_literally() {
        let tags = tag_filters(&uri(
            "tag.env=prod&tag.a.b=&tag.env=dev&tagx=1&tag.=empty&tag.c=%E2%82%AC",
        ));
        let expected = [("env", "prod"), ("a.b", ""), ("", "empty"), ("c", "€")];
        assert_eq!(
            tags,
            expected.map(|(key, value)| (key.to_owned(), value.to_owned()))
        );
    }

    #[test]
    fn empty_filters_are_absent_where_the_contract_says_so() {
        let query = "requestId=&apiKeyId=&model=&provider=&traceId=&sessionId=&customerId=";
        let filter = filter_of(QueryParams::of(&uri(query)), Vec::new())
            .unwrap()
            .unwrap();
        assert_eq!(filter.limit, 25);
        assert!(filter.request_id.is_none() && filter.api_key_id.is_none() && filter.trace_id.is_none());
        for bad in [
            "limit=",
            "cursor=",
            "source=",
            "budgetStatus=",
            "from=",
            "to=2026-01-01",
        ] {
            assert!(
                filter_of(QueryParams::of(&uri(bad)), Vec::new()).is_err(),
                "{bad}"
            );
        }
    }

    #[test]
    fn a_budget_status_matches_no_stored_event() {
        let outcome = filter_of(QueryParams::of(&uri("budgetStatus=denied")), Vec::new());
        assert!(outcome.unwrap().is_none());
    }
}
