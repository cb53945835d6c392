use axum::http::Method;
use marginstream_http::HealthCheck;

use crate::support::App;

#[tokio::test]
async fn is_public_and_ok_while_all_parts_answer() {
    let Some(app) = App::start("health_ok").await else {
        return;
    };
    let answer = app.send(Method::GET, "/api/health", &[], "").await;
    assert_eq!((answer.status, answer.text.as_str()), (200, r#"{"status":"ok"}"#));
}

#[tokio::test]
async fn a_closed_control_store_is_a_503() {
    let Some(app) = App::start("health_control").await else {
        return;
    };
    app.control.close().await;
    let answer = app.send(Method::GET, "/api/health", &[], "").await;
    assert_eq!(
        (answer.status, answer.text.as_str()),
        (503, r#"{"status":"degraded"}"#)
    );
    let answer = app.send(Method::GET, "/api/health?verbose=1", &[], "").await;
    let components = r#"{"controlStore":{"status":"error"},"warehouse":{"status":"ok"}}"#;
    let expected = format!(r#"{{"status":"degraded","components":{components}}}"#);
    assert_eq!((answer.status, answer.text), (503, expected));
}

#[tokio::test]
async fn a_check_of_the_caller_counts() {
    let check = HealthCheck::new("eventLog", || Box::pin(async { Err("secret reason".into()) }));
    let Some(app) = App::start_with("health_extra", vec![check]).await else {
        return;
    };
    let answer = app.send(Method::GET, "/api/health", &[], "").await;
    assert_eq!(answer.status, 503);
    assert!(!answer.text.contains("secret reason"));
}
