use schemas::access::Tier;
use serde_json::{Value, json};

use crate::support::App;

const PATH: &str = "/api/customer-mappings";

#[tokio::test]
async fn creates_replaces_lists_and_deletes() {
    let Some(app) = App::start("mappings").await else {
        return;
    };
    let acme = app.tenant("Acme", Tier::Pro).await;

    let created = app
        .post(&acme, PATH, r#"{"stripeCustomerId":"cus_1","tagValue":"globex"}"#)
        .await;
    assert_eq!(created.status, 201);
    let created = created.json()["data"].clone();
    assert_eq!(created["orgId"], json!(acme.org.to_string()));
    assert_eq!(created["tagKey"], "customer");
    assert_eq!(
        (&created["matchType"], &created["confidence"]),
        (&json!("manual"), &json!(1))
    );

    let body = r#"{"stripeCustomerId":"cus_1","tagValue":"globex-2","matchType":"auto"}"#;
    let replaced = app.post(&acme, PATH, body).await;
    assert_eq!(replaced.status, 201);
    let replaced = replaced.json()["data"].clone();
    assert_eq!(
        (&replaced["id"], &replaced["createdAt"]),
        (&created["id"], &created["createdAt"])
    );
    assert_eq!(
        (&replaced["matchType"], &replaced["confidence"]),
        (&json!("auto"), &Value::Null)
    );
    assert_eq!(app.get(&acme, PATH).await.data(), json!([replaced]));

    let path = format!("{PATH}?id={}", created["id"].as_str().unwrap());
    assert_eq!(app.delete(&acme, &path).await.data(), json!({"deleted": true}));
    assert_eq!(app.get(&acme, PATH).await.data(), json!([]));
    let gone = (404, "not_found".to_owned(), "Mapping not found.".to_owned());
    assert_eq!(app.delete(&acme, &path).await.error(), gone);
}

#[tokio::test]
async fn a_taken_tag_value_is_a_conflict() {
    let Some(app) = App::start("mappings_conflict").await else {
        return;
    };
    let acme = app.tenant("Acme", Tier::Pro).await;
    app.map(&acme, "cus_1", "globex").await;
    let taken = app
        .post(&acme, PATH, r#"{"stripeCustomerId":"cus_2","tagValue":"globex"}"#)
        .await;
    assert_eq!((taken.status, taken.error().1.as_str()), (409, "conflict"));
    let other_key = r#"{"stripeCustomerId":"cus_2","tagValue":"globex","tagKey":"team"}"#;
    assert_eq!(app.post(&acme, PATH, other_key).await.status, 201);
}

#[tokio::test]
async fn bad_requests_are_refused_with_the_contract_s_messages() {
    let Some(app) = App::start("mappings_invalid").await else {
        return;
    };
    let acme = app.tenant("Acme", Tier::Pro).await;
    for body in [
        r"{}",
        r#"{"stripeCustomerId":"","tagValue":"x"}"#,
        r#"{"stripeCustomerId":"cus_1"}"#,
    ] {
        let answer = app.post(&acme, PATH, body).await;
        let expected = (
            400,
            "validation_error".to_owned(),
            "stripeCustomerId and tagValue are required.".to_owned(),
        );
        assert_eq!(answer.error(), expected);
        assert_eq!(answer.json()["error"]["details"], Value::Null);
    }
    let both = app
        .post(
            &acme,
            PATH,
            r#"{"stripeCustomerId":5,"tagValue":"a\u0007","matchType":"x"}"#,
        )
        .await;
    let paths: Vec<_> = both.json()["error"]["details"]["issues"]
        .as_array()
        .unwrap()
        .iter()
        .map(|issue| issue["path"][0].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        (both.status, paths),
        (
            400,
            vec!["stripeCustomerId".into(), "tagValue".into(), "matchType".into()]
        )
    );
    assert_eq!(app.post(&acme, PATH, "").await.error().1, "invalid_json");
    for query in [
        "",
        "?id=",
        "?id=x",
        "?id=ns_org_0f0e0d0c-0b0a-0908-0706-050403020100",
    ] {
        let answer = app.delete(&acme, &format!("{PATH}{query}")).await;
        assert_eq!(answer.error().2, "id must be a valid UUID.", "{query}");
        assert_eq!(answer.status, 400);
    }
}

#[tokio::test]
async fn a_new_mapping_counts_at_once() {
    let Some(app) = App::start("mappings_at_once").await else {
        return;
    };
    let acme = app.tenant("Acme", Tier::Pro).await;
    app.add_cost(&acme, &[("2026-04", "globex", "gpt-4o", 40, 1)])
        .await;
    let path = "/api/margins?period=2026-04";
    assert_eq!(app.get(&acme, path).await.data()["customers"], json!([]));
    app.map(&acme, "cus_1", "globex").await;
    assert_eq!(
        app.get(&acme, path).await.data()["customers"][0]["costMicrodollars"],
        40
    );
}
