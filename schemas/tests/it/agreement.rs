//! A record that is broken in one place is refused by the decoder where the schema refuses it, and
//! taken where the schema takes it.

use schemas::codec::{Rejected, decode_cost_events, decode_record};
use schemas::dead_letter::DeadLetterHeaders;
use schemas::invoice::InvoiceRecord;
use schemas::mapping::MappingChange;
use schemas::record_schemas::{COST_EVENT, DEAD_LETTER_HEADERS, INVOICE, MAPPING_CHANGE};
use schemas::reject::RejectReason;
use schemas::topic;
use serde_json::{Value, json};

use crate::validator::Validator;

/// What a decoder says of a record.
enum Verdict {
    Taken,
    /// Refused for what no schema can say: the derived id, and the order of tags.
    BeyondSchemas,
    Refused(String),
}

fn event() -> Value {
    json!({
        "event_id": "ns_evt_4f81a45e-ed99-58cc-b430-0c8def7d5628", "request_id": "job-1",
        "org_id": "ns_org_00000000-0000-0000-0000-000000000007",
        "api_key_id": "ns_key_00000000-0000-0000-0000-000000000008",
        "provider": "openai", "model": "gpt-4o", "event_type": "llm", "source": "api",
        "input_tokens": 1200, "output_tokens": 300, "cached_input_tokens": 0, "reasoning_tokens": 0,
        "cost_microdollars": 6000, "duration_ms": 840,
        "cost_breakdown": {"input": 3000, "output": 3000, "cached": 0, "reasoning": 1, "toolDefinition": 2},
        "session_id": "", "trace_id": "", "tool_name": "", "tool_server": "", "customer_id": "globex",
        "tags": [["customer", "globex"], ["env", "prod"]],
        "created_at": "2026-03-15T10:00:00.000Z", "received_at": "2026-03-15T10:00:00.120Z",
    })
}

fn invoice() -> Value {
    json!({
        "org_id": "ns_org_00000000-0000-0000-0000-000000000007", "invoice_id": "in_1",
        "state": {
            "stripe_customer_id": "cus_1", "customer_name": "Globex", "customer_email": "", "status": "paid",
            "currency": "usd", "amount_paid": 4900, "created_at": "2026-03-01T00:00:00.000Z",
        },
        "received_at": "2026-03-15T10:00:00.120Z",
    })
}

fn mapping_change() -> Value {
    json!({
        "mapping": {
            "id": "00000000-0000-0000-0000-000000000009", "orgId": "ns_org_00000000-0000-0000-0000-000000000007",
            "stripeCustomerId": "cus_1", "tagKey": "customer", "tagValue": "globex", "matchType": "manual",
            "confidence": 0.9, "createdAt": "2026-03-15T10:00:00.000Z",
        },
        "deleted": false, "version": 3,
    })
}

/// What each member is replaced with: every form that one of them takes, and many that none does.
fn replacements() -> Vec<Value> {
    let texts = [
        "",
        "text",
        "llm",
        "tool",
        "custom",
        "LLM",
        "proxy",
        "mcp",
        "auto",
        "paid",
        "usd",
        "eur",
        "ns_evt_4f81a45e-ed99-58cc-b430-0c8def7d5628",
        "ns_evt_4F81A45E-ED99-58CC-B430-0C8DEF7D5628",
        "ns_evt_4f81a45eed9958ccb4300c8def7d5628",
        "ns_org_00000000-0000-0000-0000-00000000000a",
        "ns_org_00000000-0000-0000-0000-00000000000g",
        "ns_org_00000000-0000-0000-0000-000000000007 ",
        "NS_ORG_00000000-0000-0000-0000-000000000007",
        "ns_key_00000000-0000-0000-0000-000000000007",
        "00000000-0000-0000-0000-00000000000A",
        "{00000000-0000-0000-0000-00000000000a}",
        "{0000000000000000000000000000000a}",
        "urn:uuid:00000000-0000-0000-0000-00000000000a",
        "0000000000000000000000000000000a",
        "2026-03-15T10:00Z",
        "2026-03-15T10:00:00Z",
        "2026-12-31T23:59:60.123456789012Z",
        "2026-03-15T10:00:00.Z",
        "2026-03-15T10:00:00+00:00",
        "2026-03-15T10:00:00z",
        "2026-03-15t10:00:00Z",
        "2026-03-15 10:00:00Z",
        "2026-3-15T10:00:00Z",
        "2026-13-15T10:00:00Z",
        "2026-03-32T10:00:00Z",
        "2026-03-15T24:00:00Z",
        "2026-03-15T10:60:00Z",
        "2026-03-15T10:00:61Z",
        "2026-03-15",
    ];
    let others = [
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(0.5),
        json!(-0.5),
        json!(9_007_199_254_740_991_i64),
        json!(9_007_199_254_740_992_i64),
        json!(922_337_203_685_477_i64),
        json!(922_337_203_685_478_i64),
        json!(-922_337_203_685_478_i64),
        json!(i64::MAX),
        json!(1e30),
        json!([]),
        json!([["a", "b"]]),
        json!([["a", "b"], ["a", "b"]]),
        json!([["b", "a"], ["a", "b"]]),
        json!([["a", "b", "c"]]),
        json!([["a"]]),
        json!([["a", 1]]),
        json!({}),
        json!({"input": -3, "output": 1, "cached": 0}),
        json!({"input": 1, "output": 1, "cached": 0, "reasoning": null, "other": 1}),
        json!({"input": 1, "output": 1}),
        invoice()["state"].clone(),
        mapping_change()["mapping"].clone(),
    ];
    texts.into_iter().map(Value::from).chain(others).collect()
}

/// Returns where the objects in `record` are, as JSON pointers, and their members.
fn members(record: &Value) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![String::new()];
    while let Some(pointer) = open.pop() {
        let object = record.pointer(&pointer).and_then(Value::as_object);
        for (name, value) in object.into_iter().flatten() {
            found.push((pointer.clone(), name.clone()));
            if value.is_object() {
                open.push(format!("{pointer}/{name}"));
            }
        }
    }
    found
}

/// Returns `record` with one member replaced or missing, or with one too many, in every way.
fn variants(record: &Value) -> Vec<Value> {
    let mut variants = vec![record.clone(), json!({}), json!(null), json!("text")];
    for (pointer, name) in members(record) {
        let mut add = |name: &str, value: Option<Value>| {
            let mut variant = record.clone();
            let object = variant
                .pointer_mut(&pointer)
                .and_then(Value::as_object_mut)
                .unwrap();
            match value {
                Some(value) => object.insert(name.to_owned(), value),
                None => object.remove(name),
            };
            variants.push(variant);
        };
        add(&name, None);
        add(&format!("{name}s"), Some(json!(1)));
        for value in replacements() {
            add(&name, Some(value));
        }
    }
    variants
}

fn assert_agreement(file: &str, variants: &[Value], decode: impl Fn(&Value) -> Verdict) {
    let Some(validator) = Validator::of(file) else {
        return;
    };
    let mut num_taken = 0;
    for variant in variants {
        match (decode(variant), validator.check(variant)) {
            (Verdict::Taken, Ok(())) => num_taken += 1,
            (Verdict::Taken, Err(fault)) => panic!("only the schema refuses {variant}: {fault}"),
            (Verdict::Refused(fault), Ok(())) => panic!("only the decoder refuses {variant}: {fault}"),
            (Verdict::BeyondSchemas, _) | (Verdict::Refused(_), Err(_)) => {}
        }
    }
    assert!(
        num_taken > 10 && num_taken * 2 < variants.len(),
        "{num_taken} of {} are taken",
        variants.len()
    );
}

fn verdict(outcome: Result<(), Rejected>) -> Verdict {
    match outcome {
        Ok(()) => Verdict::Taken,
        Err(rejected)
            if rejected.reason == RejectReason::InvalidValue && !rejected.detail.contains("2^53") =>
        {
            Verdict::BeyondSchemas
        }
        Err(rejected) => Verdict::Refused(rejected.detail),
    }
}

#[test]
fn the_schema_of_events_refuses_what_the_decoder_refuses() {
    assert_agreement(COST_EVENT, &variants(&event()), |variant| {
        let bytes = variant.to_string().into_bytes();
        verdict(decode_cost_events(topic::JSON.as_bytes(), bytes.into()).map(drop))
    });
}

#[test]
fn the_schema_of_invoices_refuses_what_the_decoder_refuses() {
    assert_agreement(INVOICE, &variants(&invoice()), |variant| {
        let decoded: Result<InvoiceRecord, _> = decode_record(variant.to_string().as_bytes());
        match decoded.map(|invoice| invoice.state.map(|state| state.revenue())) {
            Ok(Some(Err(overflow))) => Verdict::Refused(overflow.to_string()),
            Ok(_) => Verdict::Taken,
            Err(rejected) => Verdict::Refused(rejected.detail),
        }
    });
}

#[test]
fn the_schema_of_mapping_changes_refuses_what_the_decoder_refuses() {
    assert_agreement(MAPPING_CHANGE, &variants(&mapping_change()), |variant| {
        verdict(decode_record::<MappingChange>(variant.to_string().as_bytes()).map(drop))
    });
}

#[test]
fn the_schema_of_dead_letters_refuses_headers_that_cannot_be_read() {
    let Some(validator) = Validator::of(DEAD_LETTER_HEADERS) else {
        return;
    };
    let good = json!({
        "source-topic": "cost-events", "source-partition": "0", "source-offset": "12", "source-row-index": "0",
        "reason": "undecodable", "detail": "eof",
    });
    assert_eq!(validator.check(&good), Ok(()));
    for (name, _) in good.as_object().unwrap() {
        let mut headers = good.as_object().unwrap().clone();
        headers.remove(name);
        let texts = headers
            .iter()
            .map(|(name, value)| (&**name, value.as_str().unwrap().as_bytes()));
        assert_eq!(DeadLetterHeaders::decode(texts), None, "without {name}");
        assert!(validator.check(&headers.into()).is_err(), "without {name}");
    }
    for (name, value) in [
        ("source-topic", "elsewhere"),
        ("source-partition", "-1"),
        ("source-offset", "twelve"),
        ("source-row-index", ""),
        ("reason", "unknown"),
        ("org-id", "acme"),
        ("value-omitted", "false"),
    ] {
        let mut headers = good.clone();
        headers[name] = value.into();
        assert!(validator.check(&headers).is_err(), "{name}: {value}");
    }
}
