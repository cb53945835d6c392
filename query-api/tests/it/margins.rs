use schemas::access::Tier;
use serde_json::{Value, json};

use crate::support::{App, Tenant, escape};

/// Globex loses money, Initech is cost without revenue, Hooli is healthy, Ghost is quiet this
/// month. Umbrella is mapped by nobody.
async fn seed(app: &App) -> Tenant {
    let acme = app.tenant("Acme", Tier::Pro).await;
    for (stripe_id, tag_value) in [
        ("cus_G", "globex"),
        ("cus_I", "initech"),
        ("cus_H", "hooli"),
        ("cus_X", "ghost"),
        ("cus_N", "=neg"),
    ] {
        app.map(&acme, stripe_id, tag_value).await;
    }
    app.add_cost(
        &acme,
        &[
            ("2026-01", "globex", "gpt-4o", 999, 1),
            ("2026-02", "globex", "gpt-4o", 45_000_000, 10),
            ("2026-03", "globex", "gpt-4o", 52_500_000, 10),
            ("2026-04", "globex", "claude-sonnet-4-5", 61_000_000, 4_100),
            ("2026-04", "globex", "gpt-4o-mini", 9_500_000, 22_000),
            ("2026-05", "globex", "gpt-4o", 777, 1),
            ("2026-04", "initech", "gpt-4o", 5, 1),
            ("2026-03", "ghost", "gpt-4o", 5, 1),
            ("2026-04", "hooli", "gpt-4o", 30_000_000, 7),
            ("2026-04", "umbrella", "gpt-4o", 1_000_000_000, 7),
            ("2026-04", "", "gpt-4o", 1_000_000_000, 7),
            ("2026-04", "=neg", "gpt-4o", 15_000, 1),
        ],
    )
    .await;
    // A correction is a negative delta, in a part of its own.
    app.add_cost(&acme, &[("2026-04", "globex", "gpt-4o-mini", -500_000, -1)])
        .await;
    app.add_revenue(
        &acme,
        &[
            ("2026-02", "cus_G", 50_000_000),
            ("2026-03", "cus_G", 50_000_000),
            ("2026-04", "cus_G", 60_000_000),
            ("2026-04", "cus_H", 100_000_000),
            ("2026-04", "cus_U", 900_000_000),
            ("2026-04", "cus_N", 10_000),
        ],
    )
    .await;
    app.add_revenue(&acme, &[("2026-04", "cus_G", -10_000_000)]).await;
    acme
}

async fn add_name(app: &App, tenant: &Tenant, stripe_id: &str, month: &str, name: &str, version: u32) {
    app.sql(&format!(
        "INSERT INTO stripe_customer_names VALUES ('{}', '{stripe_id}', '{month}-01 00:00:00', '{name}', '', {version})",
        tenant.org.0
    ))
    .await;
}

#[tokio::test]
async fn the_table_is_what_one_computes_by_hand() {
    let Some(app) = App::start("margins_table").await else {
        return;
    };
    let acme = seed(&app).await;
    add_name(&app, &acme, "cus_G", "2026-04", "Globex", 2).await;
    let data = app.get(&acme, "/api/margins?period=2026-04").await.data();
    // Revenue 50 + 0 + 100 + 0.01, cost 70 + 0.000005 + 30 + 0.015 dollars: (150.01 - 100.015005) / 150.01.
    assert_eq!(
        data["summary"],
        json!({
            "blendedMarginPercent": 33.33, "totalRevenueMicrodollars": 150_010_000,
            "totalCostMicrodollars": 100_015_005, "criticalCount": 3, "atRiskCount": 0,
            "lastSyncAt": null, "syncStatus": "disconnected", "skippedCurrencies": null
        })
    );
    let customers = data["customers"].as_array().unwrap();
    let tags: Vec<_> = customers
        .iter()
        .map(|row| row["tagValue"].as_str().unwrap())
        .collect();
    assert_eq!(tags, ["=neg", "globex", "initech", "hooli"]);
    assert_eq!(
        customers[1],
        json!({
            "stripeCustomerId": "cus_G", "customerName": "Globex", "avatarUrl": null, "tagValue": "globex",
            "revenueMicrodollars": 50_000_000, "costMicrodollars": 70_000_000, "marginMicrodollars": -20_000_000,
            "marginPercent": -40, "healthTier": "critical",
            "sparkline": [
                {"period": "2026-02", "marginPercent": 10}, {"period": "2026-03", "marginPercent": -5},
                {"period": "2026-04", "marginPercent": -40},
                {"period": "2026-05", "marginPercent": -61.67, "projected": true}
            ],
            "projectedTierWorsening": false, "budgetSuggestionMicrodollars": 25_000_000
        })
    );
    assert_eq!(customers[2]["marginPercent"], 0);
    assert_eq!(customers[2]["sparkline"][2]["marginPercent"], -100);
    assert_eq!(customers[2]["budgetSuggestionMicrodollars"], Value::Null);
    assert_eq!(
        (&customers[3]["healthTier"], &customers[3]["marginPercent"]),
        (&json!("healthy"), &json!(70))
    );
}

#[tokio::test]
async fn names_fall_back_to_the_latest_month_that_has_one() {
    let Some(app) = App::start("margins_names").await else {
        return;
    };
    let acme = app.tenant("Acme", Tier::Pro).await;
    app.map(&acme, "cus_1", "one").await;
    app.add_cost(&acme, &[("2026-04", "one", "m", 1, 1)]).await;
    let name = async || {
        let table =
            app.get(&acme, "/api/margins?period=2026-04").await.data()["customers"][0]["customerName"]
                .clone();
        let detail = app.get(&acme, "/api/margins/one?period=2026-04").await.data()["customerName"].clone();
        assert_eq!(table, detail);
        table
    };
    add_name(&app, &acme, "cus_1", "2026-05", "Future", 9).await;
    add_name(&app, &acme, "cus_1", "2026-04", "", 8).await;
    assert_eq!(name().await, Value::Null);
    add_name(&app, &acme, "cus_1", "2025-06", "Old", 1).await;
    assert_eq!(name().await, "Old");
    add_name(&app, &acme, "cus_1", "2026-03", "Newer", 2).await;
    add_name(&app, &acme, "cus_1", "2026-03", "Newest", 3).await;
    assert_eq!(name().await, "Newest");
    add_name(&app, &acme, "cus_1", "2026-04", "Current", 10).await;
    assert_eq!(name().await, "Current");
}

#[tokio::test]
async fn csv_is_exact_to_the_byte() {
    let Some(app) = App::start("margins_csv").await else {
        return;
    };
    let acme = seed(&app).await;
    add_name(&app, &acme, "cus_G", "2026-04", "Globex, \"Inc.\"", 1).await;
    add_name(&app, &acme, "cus_I", "2026-04", "=HYPERLINK(1)", 1).await;
    let answer = app.get(&acme, "/api/margins?period=2026-04&format=csv").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, "text/csv"));
    assert_eq!(
        answer.header("content-disposition"),
        "attachment; filename=\"margins-2026-04.csv\""
    );
    let expected = "Customer,Stripe ID,Tag Value,Revenue ($),Cost ($),Margin (%),Margin ($),Health Tier\n\
        '=neg,cus_N,'=neg,0.01,0.02,-50.00,-0.01,critical\n\
        \"Globex, \"\"Inc.\"\"\",cus_G,globex,50.00,70.00,-40.00,-20.00,critical\n\
        '=HYPERLINK(1),cus_I,initech,0.00,0.00,0.00,0.00,critical\n\
        hooli,cus_H,hooli,100.00,30.00,70.00,70.00,healthy";
    assert_eq!(answer.text, expected);
    let empty = app
        .get(&acme, "/api/margins?period=2030-01&format=csv")
        .await
        .text;
    assert_eq!(
        empty,
        "Customer,Stripe ID,Tag Value,Revenue ($),Cost ($),Margin (%),Margin ($),Health Tier"
    );
    assert!(
        app.get(&acme, "/api/margins?period=2026-04&format=CSV")
            .await
            .text
            .starts_with('{')
    );
}

#[tokio::test]
async fn detail_shows_months_and_models() {
    let Some(app) = App::start("margins_detail").await else {
        return;
    };
    let acme = seed(&app).await;
    assert_eq!(
        app.get(&acme, "/api/margins/globex?period=2026-04").await.data(),
        json!({
            "stripeCustomerId": "cus_G", "customerName": null, "avatarUrl": null, "tagValue": "globex",
            "healthTier": "critical", "marginPercent": -40,
            "revenueMicrodollars": 50_000_000, "costMicrodollars": 70_000_000,
            "revenueOverTime": [
                {"period": "2026-02", "revenue": 50_000_000, "cost": 45_000_000},
                {"period": "2026-03", "revenue": 50_000_000, "cost": 52_500_000},
                {"period": "2026-04", "revenue": 50_000_000, "cost": 70_000_000}
            ],
            "modelBreakdown": [
                {"model": "claude-sonnet-4-5", "cost": 61_000_000, "requestCount": 4_100},
                {"model": "gpt-4o-mini", "cost": 9_000_000, "requestCount": 21_999}
            ]
        })
    );
    let ghost = app.get(&acme, "/api/margins/ghost?period=2026-04").await.data();
    assert_eq!(
        (&ghost["healthTier"], &ghost["marginPercent"]),
        (&json!("at_risk"), &json!(0))
    );
    assert_eq!(
        app.get(&acme, "/api/margins/%3Dneg?period=2026-04").await.data()["tagValue"],
        "=neg"
    );
    let missing = (
        404,
        "not_found".to_owned(),
        "Customer mapping not found.".to_owned(),
    );
    assert_eq!(app.get(&acme, "/api/margins/umbrella").await.error(), missing);
    assert_eq!(app.get(&acme, "/api/margins/Globex").await.error(), missing);
    for bad in ["/api/margins/%zz", "/api/margins/a%2", "/api/margins/%FF"] {
        assert_eq!(app.get(&acme, bad).await.status, 400, "{bad}");
    }
}

#[tokio::test]
async fn any_text_can_be_a_customer() {
    let Some(app) = App::start("margins_odd_names").await else {
        return;
    };
    let acme = app.tenant("Acme", Tier::Pro).await;
    for (number, tag_value) in [
        "it's",
        "a\\b",
        "a/b",
        "100%",
        "é€😀",
        "{org:UUID}",
        "a`b\"c?",
        "Robert'); DROP",
    ]
    .into_iter()
    .enumerate()
    {
        app.map(&acme, &format!("cus_{number}"), tag_value).await;
        let escaped = tag_value.replace('\\', "\\\\").replace('\'', "\\'");
        app.add_cost(&acme, &[("2026-04", &escaped, "m", 7, 1)]).await;
        let detail = app
            .get(
                &acme,
                &format!("/api/margins/{}?period=2026-04", escape(tag_value)),
            )
            .await
            .data();
        assert_eq!(
            (&detail["tagValue"], &detail["costMicrodollars"]),
            (&json!(tag_value), &json!(7))
        );
    }
    assert_eq!(
        app.get(&acme, "/api/margins?period=2026-04").await.data()["summary"]["totalCostMicrodollars"],
        56
    );
}

#[tokio::test]
async fn periods_are_checked_and_any_month_may_be_asked_for() {
    let Some(app) = App::start("margins_periods").await else {
        return;
    };
    let acme = seed(&app).await;
    let refused = (
        400,
        "validation_error".to_owned(),
        "period must be YYYY-MM format.".to_owned(),
    );
    for bad in ["", "2026-13", "2026-4", "2026-04-01", "april"] {
        for path in ["/api/margins", "/api/margins/globex"] {
            assert_eq!(
                app.get(&acme, &format!("{path}?period={bad}")).await.error(),
                refused,
                "{bad}"
            );
        }
    }
    for empty in ["2030-01", "9999-12", "0001-01", "1899-12", "2299-12"] {
        let data = app
            .get(&acme, &format!("/api/margins?period={empty}"))
            .await
            .data();
        assert_eq!(data["customers"], json!([]), "{empty}");
    }
    assert_eq!(app.get(&acme, "/api/margins").await.status, 200);
}

#[tokio::test]
async fn sums_beyond_64_bits_are_a_500() {
    let Some(app) = App::start("margins_overflow").await else {
        return;
    };
    let acme = app.tenant("Acme", Tier::Pro).await;
    app.map(&acme, "cus_1", "one").await;
    app.add_cost(
        &acme,
        &[
            ("2026-04", "one", "a", i64::MAX, 1),
            ("2026-04", "one", "b", i64::MAX, 1),
        ],
    )
    .await;
    for path in ["/api/margins?period=2026-04", "/api/margins/one?period=2026-04"] {
        assert_eq!(app.get(&acme, path).await.error().1, "internal_error", "{path}");
    }
    app.map(&acme, "cus_2", "two").await;
    app.map(&acme, "cus_3", "three").await;
    app.add_cost(
        &acme,
        &[
            ("2026-08", "two", "a", i64::MAX, 1),
            ("2026-08", "three", "b", 1, 1),
        ],
    )
    .await;
    assert_eq!(app.get(&acme, "/api/margins?period=2026-08").await.status, 500);
}
