//! `GET /api/cost-events/attribution` (`../spec/cost-events.md` §10).

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use marginstream_http::csv::csv_response;
use marginstream_http::{Access, Api, ApiError, Endpoint, QueryParams, SessionCaller, reply, shape_of};
use schemas::access::Role;
use schemas::api::attribution::Attribution;
use schemas::api::shapes;
use schemas::period::DayWindow;
use schemas::tags;
use schemas::time::TimestampMs;
use serde_json::json;

use crate::attribution::{GroupSum, Sum, name_keys, print_attribution_csv, rank, untagged};
use crate::queries::ReadError;
use crate::queries::attribution::{
    AttributionScope, fetch_by_customer, fetch_by_key, fetch_by_tag_value, fetch_tag_totals, fetch_totals,
};
use crate::state::QueryState;

/// Groups by API key, which is no tag.
const API_KEY: &str = "api_key";
const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 500;
const MAX_GROUP_BY_CHARS: usize = 100;
pub(super) const WINDOWS: [(&str, DayWindow); 3] = [
    ("7d", DayWindow::Days7),
    ("30d", DayWindow::Days30),
    ("90d", DayWindow::Days90),
];

pub(super) fn api() -> Api<QueryState> {
    let get = Endpoint::get(
        "/api/cost-events/attribution",
        Access::Session(Role::Viewer),
        "Returns cost by API key, by customer or by a tag, greatest first.",
    )
    .required_query(
        "groupBy",
        json!({ "type": "string", "pattern": "^[a-zA-Z_][a-zA-Z0-9_-]*$", "maxLength": MAX_GROUP_BY_CHARS }),
        "`api_key`, `customer` or the key of a tag.",
    )
    .query(
        "period",
        json!({ "enum": ["7d", "30d", "90d"] }),
        "The last days; 30 without it.",
    )
    .query(
        "excludeEstimated",
        json!({ "enum": ["true", "false"] }),
        "Leaves estimated costs out.",
    )
    .query("limit", shapes::limit(MAX_LIMIT, DEFAULT_LIMIT), "Most groups.")
    .query("format", json!({ "enum": ["json", "csv"] }), "JSON without it.")
    .answers_data(200, shape_of::<Attribution>())
    .answers_text(200, "text/csv; charset=utf-8");
    Api::new().endpoint(get, get_attribution)
}

async fn get_attribution(
    State(state): State<QueryState>,
    caller: SessionCaller,
    params: QueryParams,
) -> Result<Response, ApiError> {
    let ask = Ask::of(params)?;
    let now = TimestampMs::now();
    let scope = AttributionScope::new(caller.org_id, ask.window, now, ask.exclude_estimated);
    let (groups, totals) = fetch_sums(&state, scope, &ask).await?;
    let (groups, has_more) = rank(groups, usize::try_from(ask.limit).unwrap_or(usize::MAX));
    if ask.is_csv {
        let filename = format!(
            "nullspend-attribution-{}-{}.csv",
            ask.group_by,
            now.to_utc().date_naive()
        );
        return csv_response(
            &filename,
            "text/csv; charset=utf-8",
            print_attribution_csv(&groups),
        );
    }
    let answer = Attribution {
        total_groups: groups.len(),
        groups,
        period: ask.window.as_str(),
        group_by: ask.group_by,
        has_more,
        totals: totals.into(),
    };
    reply::data(StatusCode::OK, &answer)
}

/// Returns groups, of which at least one more than asked for where there are more, and the sum of
/// all events.
async fn fetch_sums(
    state: &QueryState,
    scope: AttributionScope,
    ask: &Ask,
) -> Result<(Vec<GroupSum>, Sum), ApiError> {
    let warehouse = state.warehouse();
    let limit = ask.limit.saturating_add(1);
    match ask.group_by.as_str() {
        API_KEY => {
            let names = state.control().api_key_names(scope.org).await?;
            let (sums, totals) =
                tokio::try_join!(fetch_by_key(warehouse, scope), fetch_totals(warehouse, scope))?;
            Ok((name_keys(sums, &names), totals))
        }
        tags::CUSTOMER => {
            let groups = fetch_by_customer(warehouse, scope, limit);
            Ok(tokio::try_join!(groups, fetch_totals(warehouse, scope))?)
        }
        tag_key => {
            let (mut groups, tagged, totals) = tokio::try_join!(
                fetch_by_tag_value(warehouse, scope, tag_key, limit),
                fetch_tag_totals(warehouse, scope, tag_key),
                fetch_totals(warehouse, scope),
            )?;
            groups.extend(untagged(totals, tagged).map_err(ReadError::from)?);
            Ok((groups, totals))
        }
    }
}

/// What the query string asks for.
#[derive(Debug)]
struct Ask {
    group_by: String,
    window: DayWindow,
    exclude_estimated: bool,
    limit: u32,
    is_csv: bool,
}

impl Ask {
    fn of(mut params: QueryParams) -> Result<Self, ApiError> {
        if params.text("groupBy").is_none() {
            params.reject("groupBy", "Required");
        }
        let ask = Self {
            group_by: params.parse("groupBy", read_group_by).unwrap_or_default(),
            window: params.choice("period", &WINDOWS).unwrap_or_default(),
            exclude_estimated: params
                .choice("excludeEstimated", &[("true", true), ("false", false)])
                .unwrap_or(false),
            limit: params.integer("limit", 1..=MAX_LIMIT, DEFAULT_LIMIT),
            is_csv: params
                .choice("format", &[("json", false), ("csv", true)])
                .unwrap_or(false),
        };
        params.finish().map(|()| ask)
    }
}

/// Matches `^[a-zA-Z_][a-zA-Z0-9_-]*$`, 1 to 100 characters.
fn read_group_by(text: &str) -> Result<String, String> {
    let starts_well = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let is_plain = text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'));
    if starts_well && is_plain && text.len() <= MAX_GROUP_BY_CHARS {
        Ok(text.to_owned())
    } else {
        Err("Expected a letter or underscore, then letters, digits, underscores or hyphens".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(query: &str) -> Result<Ask, ApiError> {
        Ask::of(QueryParams::of(
            &format!("/api/cost-events/attribution?{query}").parse().unwrap(),
        ))
    }

    #[test]
    fn reads_defaults() {
        let ask = ask("groupBy=env").unwrap();
        assert_eq!(
            (ask.group_by.as_str(), ask.window, ask.limit),
            ("env", DayWindow::Days30, 100)
        );
        assert!(!ask.exclude_estimated && !ask.is_csv);
    }

    #[test]
    fn refuses_what_breaks_the_rules() {
        let long = format!("groupBy={}", "a".repeat(101));
        for bad in [
            "",
            "groupBy=",
            "groupBy=1a",
            "groupBy=-a",
            "groupBy=a.b",
            "groupBy=a%20b",
            &long,
            "groupBy=a&period=",
            "groupBy=a&period=1d",
            "groupBy=a&excludeEstimated=1",
            "groupBy=a&limit=0",
            "groupBy=a&limit=501",
            "groupBy=a&format=xml",
            "groupBy=a&format=",
        ] {
            assert!(ask(bad).is_err(), "{bad}");
        }
        assert!(ask(&format!("groupBy={}", "_".repeat(100))).is_ok());
    }
}
