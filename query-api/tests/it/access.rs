use axum::http::Method;
use schemas::access::Tier;
use serde_json::json;

use crate::support::{App, Tenant};

const EVENT: &str = "6f1a53c6-0b0e-5b7d-9a55-7d0f4c1ea201";
const GATED: [(Method, &str); 5] = [
    (Method::GET, "/api/margins"),
    (Method::GET, "/api/margins/globex"),
    (Method::GET, "/api/customer-mappings"),
    (Method::POST, "/api/customer-mappings"),
    (Method::DELETE, "/api/customer-mappings?id=x"),
];
const UNGATED: [(Method, &str); 3] = [
    (Method::GET, "/api/cost-events"),
    (Method::GET, "/api/cost-events/not-an-id"),
    (Method::GET, "/api/cost-events/attribution"),
];

async fn call(app: &App, tenant: &Tenant, method: &Method, path: &str) -> (u16, String) {
    let answer = match *method {
        Method::GET => app.get(tenant, path).await,
        Method::DELETE => app.delete(tenant, path).await,
        _ => app.post(tenant, path, "{}").await,
    };
    let message = answer.json()["error"]["message"]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    (answer.status, message)
}

#[tokio::test]
async fn nothing_is_open_without_a_session() {
    let Some(app) = App::start("access_anonymous").await else {
        return;
    };
    let acme = app.tenant("Acme", Tier::Pro).await;
    for (method, path) in GATED.into_iter().chain(UNGATED) {
        let anonymous = app.send(method.clone(), path, &[], "").await;
        let forged = app
            .send(method.clone(), path, &[("cookie", "ns-session=abc")], "")
            .await;
        let by_key = app
            .send(method.clone(), path, &[("x-nullspend-key", &acme.key)], "")
            .await;
        for answer in [anonymous, forged, by_key] {
            assert_eq!(
                (answer.status, answer.error().1.as_str()),
                (401, "authentication_required"),
                "{method} {path}"
            );
        }
    }
}

#[tokio::test]
async fn roles_come_before_tiers_and_tiers_before_parameters() {
    let Some(app) = App::start("access_order").await else {
        return;
    };
    let acme = app.tenant("Acme", Tier::Free).await;
    for role in ["viewer", "member", "admin", "owner"] {
        app.set_role(&acme, role).await;
        for (method, path) in GATED {
            let (status, message) = call(&app, &acme, &method, path).await;
            let expected = if method != Method::GET && matches!(role, "viewer" | "member") {
                "This action requires the admin role or higher."
            } else if path.contains("mappings") {
                "Customer mappings require the Pro plan or higher. Upgrade at /app/billing."
            } else {
                "Margins require the Pro plan or higher. Upgrade at /app/billing."
            };
            assert_eq!(
                (status, message.as_str()),
                (403, expected),
                "{role} {method} {path}"
            );
        }
        assert_eq!(
            call(&app, &acme, &Method::GET, "/api/margins/%zz?period=x")
                .await
                .0,
            403
        );
        for ((method, path), status) in UNGATED.into_iter().zip([200, 400, 400]) {
            assert_eq!(call(&app, &acme, &method, path).await.0, status, "{role} {path}");
        }
    }
    app.set_tier(&acme, "pro").await;
    for role in ["viewer", "member", "admin", "owner"] {
        app.set_role(&acme, role).await;
        let may_write = matches!(role, "admin" | "owner");
        for ((method, path), status) in GATED.into_iter().zip([200, 404, 200, 400, 400]) {
            let expected = if method != Method::GET && !may_write {
                403
            } else {
                status
            };
            assert_eq!(
                call(&app, &acme, &method, path).await.0,
                expected,
                "{role} {method} {path}"
            );
        }
    }
    app.set_role(&acme, "constructor").await;
    for (method, path) in GATED.into_iter().chain(UNGATED) {
        assert_eq!(call(&app, &acme, &method, path).await.0, 403, "{method} {path}");
    }
}

#[tokio::test]
async fn keys_read_the_event_list_only_where_the_organization_allows_it() {
    let Some(app) = App::start("access_keys").await else {
        return;
    };
    let acme = app.tenant("Acme", Tier::Free).await;
    let by_key = async |path: &str| {
        app.send(Method::GET, path, &[("x-nullspend-key", &acme.key)], "")
            .await
            .status
    };
    assert_eq!(by_key("/api/cost-events").await, 401);
    app.control
        .set_setting(acme.org, "allowApiKeyReads", "true")
        .await
        .unwrap();
    assert_eq!(by_key("/api/cost-events").await, 200);
    for session_only in [
        &format!("/api/cost-events/{EVENT}"),
        "/api/cost-events/attribution?groupBy=env",
        "/api/margins",
    ] {
        assert_eq!(by_key(session_only).await, 401, "{session_only}");
    }
}

#[tokio::test]
async fn organizations_never_see_each_other() {
    let Some(app) = App::start("access_isolation").await else {
        return;
    };
    let acme = app.tenant("Acme", Tier::Pro).await;
    let other = app.tenant("Other", Tier::Pro).await;
    for tenant in [&acme, &other] {
        app.map(tenant, "cus_1", "globex").await;
    }
    app.add_cost(&acme, &[("2026-04", "globex", "m", 7, 1)]).await;
    app.add_revenue(&acme, &[("2026-04", "cus_1", 10)]).await;
    let org = acme.org.0;
    app.sql(&format!(
        "INSERT INTO stripe_customer_names VALUES ('{org}', 'cus_1', '2026-04-01 00:00:00', 'Globex', '', 1)"
    ))
    .await;
    app.sql(&format!("INSERT INTO cost_events (event_id, org_id, created_at, tags, cost_microdollars) VALUES ('{EVENT}', '{org}', now64(3), map('env', 'prod'), 7)")).await;
    app.sql(&format!("INSERT INTO cost_event_ids (event_id, org_id, created_at) SELECT event_id, org_id, created_at FROM cost_events WHERE org_id = '{org}'")).await;
    app.sql(&format!("INSERT INTO cost_by_hour (org_id, hour, customer_id, cost_microdollars, requests) VALUES ('{org}', now64(3), 'globex', 7, 1)")).await;
    app.sql(&format!("INSERT INTO cost_by_tag_day (org_id, day, tag_key, tag_value, cost_microdollars, requests) VALUES ('{org}', now64(3), 'env', 'prod', 7, 1)")).await;

    let event = format!("/api/cost-events/{EVENT}");
    assert_eq!(app.get(&acme, &event).await.status, 200);
    assert_eq!(app.get(&other, &event).await.error().2, "Cost event not found.");
    for (tenant, rows) in [(&acme, 1), (&other, 0)] {
        let page = app.get(tenant, "/api/cost-events").await.data();
        assert_eq!(page.as_array().unwrap().len(), rows);
        for group_by in ["customer", "api_key", "env"] {
            let data = app
                .get(
                    tenant,
                    &format!("/api/cost-events/attribution?groupBy={group_by}"),
                )
                .await
                .data();
            assert_eq!(
                (&data["totalGroups"], &data["totals"]["totalRequests"]),
                (&json!(rows), &json!(rows)),
                "{group_by}"
            );
        }
        let table = app.get(tenant, "/api/margins?period=2026-04").await.data();
        assert_eq!(table["customers"].as_array().unwrap().len(), rows);
        let detail = app.get(tenant, "/api/margins/globex?period=2026-04").await.data();
        assert_eq!(detail["costMicrodollars"], 7 * rows);
        assert_eq!(detail["customerName"].is_null(), rows == 0);
    }
    let id = app.get(&acme, "/api/customer-mappings").await.data()[0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        app.delete(&other, &format!("/api/customer-mappings?id={id}"))
            .await
            .status,
        404
    );
    assert_eq!(
        app.get(&acme, "/api/customer-mappings")
            .await
            .data()
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
