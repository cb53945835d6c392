use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::*;
use crate::tags::Tags;

fn minimal() -> Value {
    json!({"provider": "openai", "model": "gpt-4o", "inputTokens": 1, "outputTokens": 2, "costMicrodollars": 3})
}

fn with(member: &str, value: Value) -> Value {
    let mut body = minimal();
    body[member] = value;
    body
}

fn resolve_with(body: &Value, default_tags: &Tags, overrides: &Overrides) -> CostEvent<'static> {
    let bytes = body.to_string();
    let receipt = Receipt {
        org_id: OrgId(Uuid::from_u128(1)),
        api_key_id: ApiKeyId(Uuid::from_u128(2)),
        default_tags,
        received_at: TimestampMs(1_800_000_000_000),
    };
    let event = WireEvent::parse(bytes.as_bytes())
        .unwrap()
        .resolve(&receipt, overrides)
        .unwrap();
    // Through JSON, to own the texts.
    serde_json::from_str(&serde_json::to_string(&event).unwrap()).unwrap()
}

fn resolve(body: &Value) -> CostEvent<'static> {
    resolve_with(body, &Tags::new(), &Overrides::default())
}

fn paths(body: &Value) -> Vec<Value> {
    match WireEvent::parse(body.to_string().as_bytes()) {
        Ok(_) => Vec::new(),
        Err(InvalidEvent::Issues(issues)) => issues
            .iter()
            .map(|issue| serde_json::to_value(&issue.path).unwrap())
            .collect(),
        Err(InvalidEvent::Json) => vec![json!("json")],
    }
}

#[test]
fn accepts_what_the_table_allows() {
    let max = 9_007_199_254_740_991_i64;
    for body in [
        minimal(),
        with("inputTokens", json!(5.0)),
        with("costMicrodollars", json!(max)),
        with("sessionId", json!("")),
        with("idempotencyKey", json!("")),
        with("provider", json!("é".repeat(100))),
        with("traceId", json!("0".repeat(32))),
        with("eventType", json!("tool")),
        with(
            "costBreakdown",
            json!({"input": -1, "output": 0, "cached": 0, "other": "x"}),
        ),
        with("tags", json!({"a": "", "__proto__": "x"})),
        with("tags", json!({"_ns_estimated": 7})),
        with("metadata", json!(null)),
    ] {
        assert_eq!(paths(&body), Vec::<Value>::new(), "{body}");
    }
    assert!(
        WireEvent::parse(
            br#"{"provider":"p","model":"m","inputTokens":5e0,"outputTokens":0,"costMicrodollars":-0.0}"#
        )
        .is_ok()
    );
}

#[test]
fn names_every_fault_by_its_path() {
    for (body, path) in [
        (with("provider", json!("")), json!(["provider"])),
        (with("provider", json!("é".repeat(101))), json!(["provider"])),
        (with("model", json!(7)), json!(["model"])),
        (with("inputTokens", json!("5")), json!(["inputTokens"])),
        (with("inputTokens", json!(1.5)), json!(["inputTokens"])),
        (with("costMicrodollars", json!(-1)), json!(["costMicrodollars"])),
        (
            with("costMicrodollars", json!(9_007_199_254_740_992_i64)),
            json!(["costMicrodollars"]),
        ),
        (with("durationMs", json!(null)), json!(["durationMs"])),
        (with("customer", json!("")), json!(["customer"])),
        (with("customer", json!("a\u{7}")), json!(["customer"])),
        (with("traceId", json!("A".repeat(32))), json!(["traceId"])),
        (with("eventType", json!({"llm": null})), json!(["eventType"])),
        (with("costBreakdown", json!([1, 2, 3])), json!(["costBreakdown"])),
        (
            with("costBreakdown", json!({"input": 1, "output": 2})),
            json!(["costBreakdown", "cached"]),
        ),
        (with("tags", json!({"a.b": "x"})), json!(["tags"])),
        (with("tags", json!({"a": 1})), json!(["tags", "a"])),
        (with("tags", json!({"a": "x\u{0}"})), json!(["tags", "a"])),
        (with("tags", json!([])), json!(["tags"])),
        (json!(["openai", "gpt-4o", 1, 2, 3]), json!([])),
    ] {
        assert_eq!(paths(&body), vec![path], "{body}");
    }
    assert_eq!(paths(&json!({})).len(), 5, "all missing members are listed");
    assert_eq!(WireEvent::parse(b" "), Err(InvalidEvent::Json));
}

#[test]
fn counts_tags_without_the_reserved_ones() {
    let tags = |n: usize| {
        (0..n)
            .map(|i| (format!("k{i}"), json!("v")))
            .collect::<serde_json::Map<_, _>>()
    };
    let mut ten = tags(10);
    ten.insert("_ns_estimated".into(), json!("true"));
    assert_eq!(paths(&with("tags", Value::Object(ten))), Vec::<Value>::new());
    assert_eq!(
        paths(&with("tags", Value::Object(tags(11)))),
        vec![json!(["tags"])]
    );
    assert_eq!(
        paths(&with("tags", Value::Object(tags(40)))),
        vec![json!(["tags"])]
    );
    assert!(!resolve(&with("tags", json!({"_ns_estimated": "true"}))).is_estimated());
}

#[test]
fn the_last_of_a_repeated_member_counts() {
    let body = br#"{"provider":"a","provider":"b","model":"m","inputTokens":0,"outputTokens":0,"costMicrodollars":0}"#;
    assert_eq!(&*WireEvent::parse(body).unwrap().provider, "b");
}

#[test]
fn customer_is_resolved_and_mirrored() {
    let stated = resolve(&with("customer", json!("globex")));
    assert_eq!(stated.customer_id, "globex");
    assert_eq!(stated.tags, vec![("customer".into(), "globex".into())]);
    let tagged = resolve(&with("tags", json!({"customer": "acme"})));
    assert_eq!(tagged.customer_id, "acme");
    let mut both = with("customer", json!("globex"));
    both["tags"] = json!({"customer": "acme", "env": "prod"});
    let both = resolve(&both);
    assert_eq!(
        both.tags,
        vec![
            ("customer".into(), "globex".into()),
            ("env".into(), "prod".into())
        ]
    );
    assert_eq!(resolve(&with("tags", json!({"customer": ""}))).customer_id, "");
}

#[test]
fn default_tags_fill_what_is_left() {
    let defaults: Tags = [("env".into(), "prod".into()), ("team".into(), "data".into())].into();
    let event = resolve_with(
        &with("tags", json!({"env": "dev"})),
        &defaults,
        &Overrides::default(),
    );
    assert_eq!(
        event.tags,
        vec![("env".into(), "dev".into()), ("team".into(), "data".into())]
    );
    let nine: serde_json::Map<_, _> = (0..9).map(|i| (format!("k{i}"), json!("v"))).collect();
    let full = resolve_with(
        &with("tags", Value::Object(nine)),
        &defaults,
        &Overrides::default(),
    );
    assert_eq!(full.tags.len(), 10);
}

#[test]
fn headers_fill_what_the_body_leaves_out() {
    let overrides = Overrides {
        request_id: Some("from-header".into()),
        customer: Some("header-customer".into()),
        session_id: Some("header-session".into()),
        trace_id: Some("f".repeat(32)),
        tags: [("env".into(), "header".into())].into(),
    };
    let event = resolve_with(
        &with("idempotencyKey", json!("from-body")),
        &Tags::new(),
        &overrides,
    );
    assert_eq!(
        (&*event.request_id, &*event.customer_id),
        ("from-header", "header-customer")
    );
    assert_eq!(
        (&*event.session_id, &*event.trace_id),
        ("header-session", "f".repeat(32).as_str())
    );
    let event = resolve_with(
        &with("customer", json!("body-customer")),
        &Tags::new(),
        &overrides,
    );
    assert_eq!(event.customer_id, "body-customer");
}

#[test]
fn timestamps_are_bounded() {
    let now = TimestampMs(1_800_000_000_000);
    let resolve_at = |at: i64| {
        let body = with("timestamp", json!(TimestampMs(at).to_string())).to_string();
        let tags = Tags::new();
        let receipt = Receipt {
            org_id: OrgId(Uuid::nil()),
            api_key_id: ApiKeyId(Uuid::nil()),
            default_tags: &tags,
            received_at: now,
        };
        WireEvent::parse(body.as_bytes())
            .unwrap()
            .resolve(&receipt, &Overrides::default())
            .map(|e| e.created_at.0)
    };
    let (minute, day) = (60_000, 86_400_000);
    assert_eq!(resolve_at(now.0 + 5 * minute), Ok(now.0 + 5 * minute));
    assert!(resolve_at(now.0 + 5 * minute + 1).is_err());
    assert_eq!(resolve_at(now.0 - 400 * day), Ok(now.0 - 400 * day));
    assert!(resolve_at(now.0 - 400 * day - 1).is_err());
}

#[test]
fn generates_a_request_id_where_none_is_given() {
    let (one, two) = (resolve(&minimal()), resolve(&minimal()));
    assert!(one.request_id.starts_with("sdk_") && one.request_id.len() == 40);
    assert_ne!(one.event_id, two.event_id);
}

#[test]
fn content_hash_ignores_receipt_and_sees_content() {
    let mut event = resolve(&with("idempotencyKey", json!("k")));
    let hash = event.content_hash();
    event.received_at = TimestampMs(5);
    event.api_key_id = None;
    assert_eq!(event.content_hash(), hash);
    event.cost_microdollars += 1;
    assert_ne!(event.content_hash(), hash);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-3_i64..300).prop_map(Value::from),
        "[a-z0-9_\\\\\"é]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("input|output|cached|reasoning|customer|[a-z_.]{0,4}", inner, 0..5)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    /// Reading in one pass and reading by way of a tree accept the same bodies, with the same
    /// result.
    #[test]
    fn both_ways_of_reading_agree(
        member in "provider|model|inputTokens|costMicrodollars|durationMs|sessionId|traceId|eventType|toolName|idempotencyKey|costBreakdown|tags|customer|timestamp",
        value in any_json(),
    ) {
        let body = with(&member, value);
        let text = body.to_string();
        let direct = WireEvent::parse(text.as_bytes());
        let by_tree = WireEvent::from_value(&body).map_err(InvalidEvent::Issues);
        // A tree orders its members by key, so tags may come in another order.
        let sorted = |event: Result<WireEvent<'_>, InvalidEvent>| event.map(|mut event| {
            event.tags.0.sort_by(|a, b| a.0.0.cmp(&b.0.0));
            format!("{event:?}")
        });
        prop_assert_eq!(sorted(direct), sorted(by_tree));
    }
}
