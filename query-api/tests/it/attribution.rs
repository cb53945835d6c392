use std::collections::BTreeMap;

use chrono::{Days, NaiveTime, Utc};
use clickhouse::Row;
use schemas::access::Tier;
use schemas::id::ApiKeyId;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{App, Tenant};

#[derive(Debug, Row, Deserialize)]
struct RawEvent {
    #[serde(with = "clickhouse::serde::uuid")]
    api_key_id: Uuid,
    customer_id: String,
    tags: BTreeMap<String, String>,
    cost_microdollars: i64,
    created_at: i64,
}

/// 3,000 events over the last 100 days and their roll-ups. Some lack customer, key and tags; some
/// are estimates; one tag value is empty and one is the word null.
async fn seed(app: &App, tenant: &Tenant, keys: [ApiKeyId; 2]) {
    let (org, [first, second]) = (tenant.org.0, keys);
    app.sql(&format!(
        "INSERT INTO cost_events (event_id, org_id, api_key_id, provider, model, customer_id, tags, cost_microdollars, created_at)
         SELECT generateUUIDv4(), '{org}',
             [toUUID('{}'), toUUID('{}'), toUUID('00000000-0000-0000-0000-000000000000')][1 + number % 3],
             'openai', concat('m', toString(number % 4)),
             ['', 'globex', 'initech', 'hooli'][1 + intDiv(number, 7) % 4],
             mapUpdate(
                 if(number % 5 = 0, map(), map('env', ['prod', 'dev', '', 'null', '=1'][1 + number % 11 % 5])),
                 if(number % 6 = 0, map('_ns_estimated', 'true'), map())),
             (number * 7919) % 100003,
             now64(3, 'UTC') - toIntervalMinute(number * 48)
         FROM numbers(3000)",
        first.0, second.0
    ))
    .await;
    app.sql(&format!(
        "INSERT INTO cost_by_hour (org_id, hour, customer_id, provider, model, api_key_id, estimated, cost_microdollars, requests)
         SELECT org_id, toStartOfHour(created_at), customer_id, provider, model, api_key_id, tags['_ns_estimated'] = 'true',
             sum(cost_microdollars), count()
         FROM cost_events WHERE org_id = '{org}' GROUP BY ALL"
    ))
    .await;
    app.sql(&format!(
        "INSERT INTO cost_by_tag_day (org_id, day, tag_key, tag_value, estimated, cost_microdollars, requests)
         SELECT org_id, toStartOfDay(created_at), tag.1, tag.2, tags['_ns_estimated'] = 'true', sum(cost_microdollars), count()
         FROM cost_events ARRAY JOIN CAST(tags, 'Array(Tuple(String, String))') AS tag
         WHERE org_id = '{org}' GROUP BY ALL"
    ))
    .await;
}

/// Key and id of a group, as the contract defines them, of one event.
type GroupOf<'a> = dyn Fn(&RawEvent) -> (String, Value) + 'a;

/// Computes the groups event by event.
async fn expected_groups(
    app: &App,
    tenant: &Tenant,
    days: u64,
    with_estimates: bool,
    group_of: &GroupOf<'_>,
) -> Vec<Value> {
    let query = app
        .warehouse
        .client()
        .query_raw("SELECT api_key_id, customer_id, tags, cost_microdollars, created_at FROM cost_events WHERE org_id = {org:UUID}")
        .param("org", tenant.org.0);
    let first_day = Utc::now().date_naive() - Days::new(days - 1);
    let from = first_day.and_time(NaiveTime::MIN).and_utc().timestamp_millis();
    let mut sums: BTreeMap<(String, String), (Value, i64, i64)> = BTreeMap::new();
    for event in query.fetch_all::<RawEvent>().await.unwrap() {
        let is_estimate = event
            .tags
            .get("_ns_estimated")
            .is_some_and(|value| value == "true");
        if event.created_at < from || (is_estimate && !with_estimates) {
            continue;
        }
        let (key, id) = group_of(&event);
        let sum = sums.entry((key, id.to_string())).or_insert((id, 0, 0));
        sum.1 += event.cost_microdollars;
        sum.2 += 1;
    }
    let mut groups: Vec<_> = sums.into_iter().collect();
    groups.sort_by_key(|(_, (_, cost, _))| -cost);
    let group = |((key, _), (id, cost, count)): ((String, String), (Value, i64, i64))| {
        let average = (2 * cost + count).div_euclid(2 * count);
        json!({"key": key, "keyId": id, "totalCostMicrodollars": cost, "requestCount": count, "avgCostMicrodollars": average})
    };
    groups.into_iter().map(group).collect()
}

fn by_tag(event: &RawEvent) -> (String, Value) {
    (
        event
            .tags
            .get("env")
            .cloned()
            .unwrap_or_else(|| "(none)".to_owned()),
        Value::Null,
    )
}

fn by_customer(event: &RawEvent) -> (String, Value) {
    let customer = if event.customer_id.is_empty() {
        "(none)"
    } else {
        &event.customer_id
    };
    (customer.to_owned(), Value::Null)
}

fn by_key(event: &RawEvent) -> (String, Value) {
    if event.api_key_id.is_nil() {
        return ("(no key)".to_owned(), Value::Null);
    }
    (
        "default".to_owned(),
        json!(format!("ns_key_{}", event.api_key_id)),
    )
}

#[tokio::test]
async fn groups_are_the_sums_over_raw_events() {
    let Some(app) = App::start("attribution_sums").await else {
        return;
    };
    let acme = app.tenant("Acme", Tier::Free).await;
    // Two keys of one name stay apart.
    let second = app.add_key(&acme, "default").await;
    seed(&app, &acme, [acme.key_id, second]).await;
    let groupings: [(&str, &GroupOf<'_>, usize); 3] = [
        ("env", &by_tag, 6),
        ("customer", &by_customer, 4),
        ("api_key", &by_key, 3),
    ];
    for (group_by, group_of, num_groups) in groupings {
        for (period, days) in [("7d", 7), ("30d", 30), ("90d", 90)] {
            for with_estimates in [true, false] {
                let path = format!(
                    "/api/cost-events/attribution?groupBy={group_by}&period={period}&excludeEstimated={}",
                    !with_estimates
                );
                let data = app.get(&acme, &path).await.data();
                let expected = expected_groups(&app, &acme, days, with_estimates, group_of).await;
                assert_eq!(expected.len(), num_groups, "{path}");
                assert_eq!(data["groups"], json!(expected), "{path}");
                let total = |name: &str| {
                    expected
                        .iter()
                        .map(|group| group[name].as_i64().unwrap())
                        .sum::<i64>()
                };
                assert_eq!(
                    data["totals"],
                    json!({"totalCostMicrodollars": total("totalCostMicrodollars"), "totalRequests": total("requestCount")})
                );
                assert_eq!(
                    (&data["period"], &data["groupBy"]),
                    (&json!(period), &json!(group_by))
                );
                assert_eq!(
                    (&data["totalGroups"], &data["hasMore"]),
                    (&json!(num_groups), &json!(false))
                );
            }
        }
    }
}

#[tokio::test]
async fn limits_keep_the_dearest_and_the_totals_of_all() {
    let Some(app) = App::start("attribution_limits").await else {
        return;
    };
    let acme = app.tenant("Acme", Tier::Free).await;
    let second = app.add_key(&acme, "etl").await;
    seed(&app, &acme, [acme.key_id, second]).await;
    for group_by in ["env", "customer", "api_key"] {
        let path = format!("/api/cost-events/attribution?groupBy={group_by}&period=90d");
        let all = app.get(&acme, &path).await.data();
        let groups = all["groups"].as_array().unwrap();
        for limit in 1..=groups.len() {
            let page = app.get(&acme, &format!("{path}&limit={limit}")).await.data();
            assert_eq!(page["groups"], json!(groups[..limit]), "{group_by} {limit}");
            assert_eq!(page["hasMore"], json!(limit < groups.len()), "{group_by} {limit}");
            assert_eq!(
                (&page["totalGroups"], &page["totals"]),
                (&json!(limit), &all["totals"])
            );
        }
    }
}

#[tokio::test]
async fn a_tag_that_nobody_uses_is_one_group() {
    let Some(app) = App::start("attribution_unknown_tag").await else {
        return;
    };
    let acme = app.tenant("Acme", Tier::Free).await;
    let path = "/api/cost-events/attribution?groupBy=team";
    let empty = app.get(&acme, path).await.data();
    assert_eq!(
        empty,
        json!({"groups": [], "period": "30d", "groupBy": "team", "totalGroups": 0, "hasMore": false,
            "totals": {"totalCostMicrodollars": 0, "totalRequests": 0}})
    );
    app.sql(&format!(
        "INSERT INTO cost_by_hour (org_id, hour, cost_microdollars, requests) VALUES ('{}', now64(3), 5, 2)",
        acme.org.0
    ))
    .await;
    let data = app.get(&acme, path).await.data();
    assert_eq!(
        data["groups"],
        json!([{"key": "(none)", "keyId": null, "totalCostMicrodollars": 5, "requestCount": 2, "avgCostMicrodollars": 3}])
    );
}

#[tokio::test]
async fn csv_is_exact_to_the_byte() {
    let Some(app) = App::start("attribution_csv").await else {
        return;
    };
    let acme = app.tenant("Acme", Tier::Free).await;
    let (org, key) = (acme.org.0, acme.key_id.0);
    app.sql(&format!(
        "INSERT INTO cost_by_hour (org_id, hour, customer_id, api_key_id, cost_microdollars, requests) VALUES
         ('{org}', now64(3), 'globex', '{key}', 20, 3), ('{org}', now64(3), '=1+1', '{key}', 1234567, 1),
         ('{org}', now64(3), '', '00000000-0000-0000-0000-000000000000', 4, 1), ('{org}', now64(3), 'a, \"b\"', '{key}', 4, 1)"
    ))
    .await;
    let answer = app
        .get(&acme, "/api/cost-events/attribution?groupBy=customer&format=csv")
        .await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, "text/csv; charset=utf-8")
    );
    let filename = format!(
        "nullspend-attribution-customer-{}.csv",
        Utc::now().format("%Y-%m-%d")
    );
    assert_eq!(
        answer.header("content-disposition"),
        format!("attachment; filename=\"{filename}\"")
    );
    let expected = "key,key_id,total_cost_microdollars,total_cost_usd,request_count,avg_cost_microdollars,avg_cost_usd\n\
        '=1+1,,1234567,1.234567,1,1234567,1.234567\n\
        globex,,20,0.000020,3,7,0.000007\n\
        (none),,4,0.000004,1,4,0.000004\n\
        \"a, \"\"b\"\"\",,4,0.000004,1,4,0.000004";
    assert_eq!(answer.text, expected);
    let by_key = app
        .get(
            &acme,
            "/api/cost-events/attribution?groupBy=api_key&format=csv&limit=1",
        )
        .await
        .text;
    let expected = format!(
        "key,key_id,total_cost_microdollars,total_cost_usd,request_count,avg_cost_microdollars,avg_cost_usd\n\
         default,ns_key_{key},1234591,1.234591,5,246918,0.246918"
    );
    assert_eq!(by_key, expected);
}

#[tokio::test]
async fn bad_parameters_are_refused_all_at_once() {
    let Some(app) = App::start("attribution_invalid").await else {
        return;
    };
    let acme = app.tenant("Acme", Tier::Free).await;
    let answer = app
        .get(
            &acme,
            "/api/cost-events/attribution?groupBy=1&period=1d&excludeEstimated=x&limit=501&format=xml",
        )
        .await;
    assert_eq!(
        (answer.status, answer.error().1.as_str()),
        (400, "validation_error")
    );
    assert_eq!(
        answer.json()["error"]["details"]["issues"]
            .as_array()
            .unwrap()
            .len(),
        5
    );
    let missing = app.get(&acme, "/api/cost-events/attribution").await.json();
    assert_eq!(
        missing["error"]["details"]["issues"],
        json!([{"path": ["groupBy"], "message": "Required"}])
    );
}
