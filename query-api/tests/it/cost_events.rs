use std::collections::HashSet;

use schemas::access::Tier;
use schemas::id::EventId;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{App, Tenant, escape};

const MEMBERS: [&str; 23] = [
    "apiKeyId",
    "budgetStatus",
    "cachedInputTokens",
    "costBreakdown",
    "costMicrodollars",
    "createdAt",
    "customerId",
    "durationMs",
    "estimatedCostMicrodollars",
    "id",
    "inputTokens",
    "keyName",
    "model",
    "outputTokens",
    "provider",
    "reasoningTokens",
    "receivedAt",
    "requestId",
    "sessionId",
    "source",
    "stopReason",
    "tags",
    "traceId",
];

/// 2,000 events, of which 500 share a millisecond; inserted in no order.
async fn add_many(app: &App, tenant: &Tenant) {
    app.sql(&format!(
        "INSERT INTO cost_events (event_id, org_id, request_id, provider, source, created_at, cost_microdollars)
         SELECT generateUUIDv4(), '{}', toString(number), 'openai', 'api',
             toDateTime64('2026-04-12 08:30:15.000', 3, 'UTC') + toIntervalMillisecond(if(number BETWEEN 700 AND 1199, 700, number)),
             number
         FROM numbers(2000) ORDER BY rand()",
        tenant.org.0
    ))
    .await;
}

/// Adds one event with its entry in `cost_event_ids`, and returns its id.
async fn add_event(app: &App, tenant: &Tenant, request_id: &str, columns: &[(&str, &str)]) -> EventId {
    let provider = columns
        .iter()
        .find(|(name, _)| *name == "provider")
        .map_or("openai", |(_, value)| value.trim_matches('\''));
    let id = EventId::derive(tenant.org, request_id, provider);
    let mut names = vec!["event_id", "org_id", "request_id"];
    let mut values = vec![
        format!("'{}'", id.0),
        format!("'{}'", tenant.org.0),
        format!("'{request_id}'"),
    ];
    let defaults = [
        ("provider", "'openai'"),
        ("source", "'api'"),
        ("created_at", "'2026-04-12 08:30:15.042'"),
    ];
    let missing = defaults
        .iter()
        .filter(|(name, _)| columns.iter().all(|(given, _)| given != name));
    for (name, value) in missing.chain(columns) {
        names.push(name);
        values.push((*value).to_owned());
    }
    app.sql(&format!(
        "INSERT INTO cost_events ({}) VALUES ({})",
        names.join(", "),
        values.join(", ")
    ))
    .await;
    app.sql(&format!(
        "INSERT INTO cost_event_ids (org_id, event_id, created_at)
         SELECT org_id, event_id, created_at FROM cost_events WHERE event_id = '{}'",
        id.0
    ))
    .await;
    id
}

fn id_of(event: &Value) -> String {
    event["id"].as_str().unwrap().to_owned()
}

/// Follows the cursor to the end.
async fn walk(app: &App, tenant: &Tenant, query: &str) -> Vec<Value> {
    let mut events = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = app
            .get(tenant, &format!("/api/cost-events?{query}{cursor}"))
            .await
            .json();
        let rows = page["data"].as_array().unwrap();
        events.extend(rows.iter().cloned());
        if page["cursor"].is_null() {
            return events;
        }
        let last = rows.last().unwrap();
        assert_eq!(
            page["cursor"],
            json!({"createdAt": last["createdAt"], "id": last["id"]})
        );
        cursor = format!("&cursor={}", escape(&page["cursor"].to_string()));
    }
}

async fn list(app: &App, tenant: &Tenant, query: &str) -> Vec<String> {
    let page = app.get(tenant, &format!("/api/cost-events?{query}")).await;
    assert_eq!(page.status, 200, "{query}: {}", page.text);
    page.json()["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(id_of)
        .collect()
}

#[tokio::test]
async fn a_walk_returns_each_event_once_newest_first() {
    let Some(app) = App::start("events_walk").await else {
        return;
    };
    let acme = app.tenant("Acme", Tier::Free).await;
    let other = app.tenant("Other", Tier::Free).await;
    add_many(&app, &acme).await;
    add_many(&app, &other).await;
    // 37 does not divide 500, 100 divides 2,000: both kinds of borders.
    let mut walks = Vec::new();
    for limit in [37, 100] {
        let events = walk(&app, &acme, &format!("limit={limit}")).await;
        let times: Vec<_> = events
            .iter()
            .map(|event| event["createdAt"].as_str().unwrap().to_owned())
            .collect();
        assert!(times.is_sorted_by(|newer, older| newer >= older));
        assert_eq!(
            times
                .iter()
                .filter(|time| *time == "2026-04-12T08:30:15.700Z")
                .count(),
            500
        );
        let requests: HashSet<_> = events
            .iter()
            .map(|event| event["requestId"].as_str().unwrap().to_owned())
            .collect();
        assert_eq!((events.len(), requests.len()), (2_000, 2_000));
        walks.push(events);
    }
    assert_eq!(walks[0], walks[1], "the order does not depend on the page size");
}

#[tokio::test]
async fn an_event_shows_all_members() {
    let Some(app) = App::start("events_members").await else {
        return;
    };
    let acme = app.tenant("Acme", Tier::Free).await;
    let key = acme.key_id.0.to_string();
    let id = add_event(
        &app,
        &acme,
        "job-8812",
        &[
            ("api_key_id", &format!("'{key}'")),
            ("provider", "'anthropic'"),
            ("model", "'claude-sonnet-4-5'"),
            ("input_tokens", "910"),
            ("output_tokens", "244"),
            ("cached_input_tokens", "128"),
            ("cost_microdollars", "6390"),
            ("duration_ms", "812"),
            ("session_id", "'nightly-7'"),
            ("customer_id", "'globex'"),
            ("tags", "map('env', 'prod', 'customer', 'globex')"),
            ("received_at", "'2026-04-12 08:30:16.000'"),
            ("cost_breakdown_input", "6000"),
            ("cost_breakdown_output", "400"),
            ("cost_breakdown_cached", "-10"),
            ("cost_breakdown_tool_definition", "3"),
        ],
    )
    .await;
    let expected = json!({
        "id": id.to_string(), "requestId": "job-8812", "apiKeyId": acme.key_id.to_string(),
        "provider": "anthropic", "model": "claude-sonnet-4-5", "inputTokens": 910, "outputTokens": 244,
        "cachedInputTokens": 128, "reasoningTokens": 0, "costMicrodollars": 6390, "durationMs": 812,
        "createdAt": "2026-04-12T08:30:15.042Z", "source": "api", "traceId": null, "sessionId": "nightly-7",
        "tags": {"env": "prod", "customer": "globex"}, "customerId": "globex", "keyName": "default",
        "budgetStatus": null, "stopReason": null, "estimatedCostMicrodollars": null,
        "costBreakdown": {"input": 6000, "output": 400, "cached": -10, "toolDefinition": 3},
        "receivedAt": "2026-04-12T08:30:16.000Z"
    });
    for path_id in [id.to_string(), id.0.to_string(), id.0.to_string().to_uppercase()] {
        assert_eq!(
            app.get(&acme, &format!("/api/cost-events/{path_id}"))
                .await
                .data(),
            expected
        );
    }
    assert_eq!(
        app.get(&acme, "/api/cost-events").await.json(),
        json!({"data": [expected], "cursor": null})
    );

    let bare = add_event(&app, &acme, "bare", &[]).await;
    let event = app.get(&acme, &format!("/api/cost-events/{bare}")).await.data();
    let mut members: Vec<_> = event.as_object().unwrap().keys().cloned().collect();
    members.sort();
    assert_eq!(members, MEMBERS);
    for null in [
        "apiKeyId",
        "keyName",
        "durationMs",
        "traceId",
        "sessionId",
        "customerId",
        "costBreakdown",
    ] {
        assert!(event[null].is_null(), "{null}");
    }
    assert_eq!(event["tags"], json!({}));
}

#[tokio::test]
async fn by_id_tells_malformed_from_unknown() {
    let Some(app) = App::start("events_by_id").await else {
        return;
    };
    let acme = app.tenant("Acme", Tier::Free).await;
    let uuid = Uuid::new_v4();
    for bad in [
        "x".to_owned(),
        format!("ns_key_{uuid}"),
        uuid.simple().to_string(),
        format!("ns_evt_{}", uuid.simple()),
        "%zz".to_owned(),
    ] {
        let refused = (
            400,
            "validation_error".to_owned(),
            "Invalid cost event ID.".to_owned(),
        );
        assert_eq!(
            app.get(&acme, &format!("/api/cost-events/{bad}")).await.error(),
            refused,
            "{bad}"
        );
    }
    let unknown = (404, "not_found".to_owned(), "Cost event not found.".to_owned());
    assert_eq!(
        app.get(&acme, &format!("/api/cost-events/ns_evt_{uuid}"))
            .await
            .error(),
        unknown
    );
}

#[tokio::test]
async fn filters_are_exact_and_combine() {
    let Some(app) = App::start("events_filters").await else {
        return;
    };
    let acme = app.tenant("Acme", Tier::Free).await;
    let key = format!("'{}'", acme.key_id.0);
    let trace = "0123456789abcdef0123456789abcdef";
    let quoted_trace = format!("'{trace}'");
    let first = add_event(
        &app,
        &acme,
        "a",
        &[
            ("api_key_id", &key),
            ("model", "'gpt-4o'"),
            ("trace_id", &quoted_trace),
            ("session_id", "'s1'"),
            ("customer_id", "'it\\'s'"),
            ("tags", "map('env', 'prod', 'empty', '', 'odd', 'a\\'b\\\\c')"),
            ("created_at", "'2026-04-12 08:00:00.000'"),
        ],
    )
    .await
    .to_string();
    let second = add_event(
        &app,
        &acme,
        "a",
        &[
            ("provider", "'anthropic'"),
            ("source", "'mcp'"),
            ("model", "'GPT-4o'"),
            ("tags", "map('env', 'dev')"),
            ("created_at", "'2026-04-12 09:00:00.000'"),
        ],
    )
    .await
    .to_string();
    let both = [second.clone(), first.clone()];
    let key_id = acme.key_id;
    for query in [
        "requestId=a",
        "",
        "requestId=&provider=&model=&apiKeyId=&traceId=&sessionId=&customerId=",
        "from=2026-04-12T08:00:00Z",
        "to=2026-04-12T09:00:00.001Z",
        "from=0001-01-01T00:00:00Z&to=9999-12-31T00:00:00Z",
    ] {
        assert_eq!(list(&app, &acme, query).await, both, "{query}");
    }
    for query in [
        "requestId=a&provider=openai",
        "model=gpt-4o",
        "source=api",
        &format!("apiKeyId={key_id}"),
        &format!("traceId={trace}"),
        "sessionId=s1",
        "customerId=it%27s",
        "tag.env=prod",
        "tag.empty=",
        "tag.env=prod&tag.odd=a%27b%5Cc",
        "to=2026-04-12T09:00:00Z",
        "provider=openai&tag.env=prod&model=gpt-4o",
    ] {
        assert_eq!(list(&app, &acme, query).await, [first.as_str()], "{query}");
    }
    for query in [
        "provider=anthropic",
        "source=mcp",
        "tag.env=dev",
        "from=2026-04-12T08:00:00.001Z",
        "requestId=a&provider=anthropic",
    ] {
        assert_eq!(list(&app, &acme, query).await, [second.as_str()], "{query}");
    }
    for query in [
        "requestId=A",
        "requestId=a&provider=mistral",
        "model=gpt",
        "source=proxy",
        "tag.env=PROD",
        "tag.env=prod&tag.empty=x",
        "tag.missing=",
        "tag.env=",
        "budgetStatus=approved",
        "customerId=it",
        "from=2026-04-13T00:00Z",
        "sessionId=%27",
    ] {
        assert!(list(&app, &acme, query).await.is_empty(), "{query}");
    }
}

#[tokio::test]
async fn bad_parameters_are_refused_all_at_once() {
    let Some(app) = App::start("events_invalid").await else {
        return;
    };
    let acme = app.tenant("Acme", Tier::Free).await;
    let long = "x".repeat(201);
    for bad in [
        "limit=0",
        "limit=101",
        "limit=",
        "limit=1e1",
        "cursor=",
        "cursor=x",
        "cursor=%7B%7D",
        "source=web",
        "source=",
        "budgetStatus=",
        "traceId=ABCDEF",
        "apiKeyId=x",
        "from=2026-04-12",
        "to=",
        &format!("requestId={long}"),
        &format!("sessionId={long}"),
        &format!("apiKeyId={}", Uuid::new_v4()),
    ] {
        let (status, code, _) = app.get(&acme, &format!("/api/cost-events?{bad}")).await.error();
        assert_eq!((status, code.as_str()), (400, "validation_error"), "{bad}");
    }
    let answer = app
        .get(&acme, "/api/cost-events?limit=0&cursor=x&source=web")
        .await
        .json();
    assert_eq!(answer["error"]["details"]["issues"].as_array().unwrap().len(), 3);
    let unknown_row =
        json!({"createdAt": "2026-04-12T08:30Z", "id": EventId::random().to_string()}).to_string();
    assert!(
        list(&app, &acme, &format!("cursor={}", escape(&unknown_row)))
            .await
            .is_empty()
    );
}
