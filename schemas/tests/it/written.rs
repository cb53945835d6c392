//! What this code writes is valid, whatever the values are.

use proptest::prelude::*;
use schemas::codec::{decode_cost_events, encode_event};
use schemas::cost_event::{CostBreakdown, CostEvent, EventType, Source};
use schemas::dead_letter::DeadLetterHeaders;
use schemas::id::{ApiKeyId, EventId, OrgId};
use schemas::invoice::{InvoiceRecord, InvoiceState};
use schemas::mapping::{CustomerMapping, MappingChange, MatchType};
use schemas::money::Microdollars;
use schemas::record_schemas::{COST_EVENT, DEAD_LETTER_HEADERS, INVOICE, MAPPING_CHANGE};
use schemas::reject::RejectReason;
use schemas::time::TimestampMs;
use schemas::topic;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::validator::Validator;

/// Milliseconds of the years that have four digits.
const YEARS: std::ops::Range<i64> = -62_167_219_200_000..253_402_300_800_000;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "\\PC{1,12}", "[\\x00-\\x7f]{1,12}"]
}

fn time() -> impl Strategy<Value = TimestampMs> {
    YEARS.prop_map(TimestampMs)
}

fn uuid() -> impl Strategy<Value = Uuid> {
    any::<u128>().prop_map(Uuid::from_u128)
}

fn breakdown() -> impl Strategy<Value = CostBreakdown> {
    let parts = any::<(i64, i64, i64, Option<i64>, Option<i64>)>();
    parts.prop_map(
        |(input, output, cached, reasoning, tool_definition)| CostBreakdown {
            input,
            output,
            cached,
            reasoning,
            tool_definition,
        },
    )
}

prop_compose! {
    fn event()(
        texts in prop::collection::vec(text(), 8),
        (org_id, api_key_id) in (uuid(), prop::option::of(uuid())),
        numbers in prop::collection::vec(0..=Microdollars::MAX_WIRE, 6),
        (is_timed, cost_breakdown) in (any::<bool>(), prop::option::of(breakdown())),
        tags in prop::collection::btree_map(text(), text(), 0..5),
        (created_at, received_at) in (time(), time()),
        (event_type, source) in (
            prop::sample::select(vec![EventType::Llm, EventType::Tool, EventType::Custom]),
            prop::sample::select(vec![Source::Proxy, Source::Api, Source::Mcp]),
        ),
    ) -> CostEvent<'static> {
        let text = |index: usize| texts[index].clone().into();
        let org_id = OrgId(org_id);
        CostEvent {
            event_id: EventId::derive(org_id, &texts[0], &texts[1]),
            request_id: text(0),
            org_id,
            api_key_id: api_key_id.map(ApiKeyId),
            provider: text(1),
            model: text(2),
            event_type,
            source,
            input_tokens: numbers[0],
            output_tokens: numbers[1],
            cached_input_tokens: numbers[2],
            reasoning_tokens: numbers[3],
            cost_microdollars: numbers[4],
            cost_breakdown,
            duration_ms: is_timed.then_some(numbers[5]),
            session_id: text(3),
            trace_id: text(4),
            tool_name: text(5),
            tool_server: text(6),
            customer_id: text(7),
            tags: tags.into_iter().map(|(key, value)| (key.into(), value.into())).collect(),
            created_at,
            received_at,
        }
    }
}

prop_compose! {
    fn invoice()(
        texts in prop::collection::vec(text(), 5),
        (org_id, is_deleted, amount_paid) in (uuid(), any::<bool>(), -922_337_203_685_477..=922_337_203_685_477_i64),
        (status, currency) in (
            prop::sample::select(vec!["draft", "open", "paid", "uncollectible", "void"]),
            prop::sample::select(vec!["usd", "eur"]),
        ),
        (created_at, received_at) in (time(), time()),
    ) -> InvoiceRecord {
        let state = InvoiceState {
            stripe_customer_id: texts[0].clone(),
            customer_name: texts[1].clone(),
            customer_email: texts[2].clone(),
            status: status.to_owned(),
            currency: currency.to_owned(),
            amount_paid,
            created_at,
        };
        InvoiceRecord {
            org_id: OrgId(org_id),
            invoice_id: texts[3].clone(),
            state: (!is_deleted).then_some(state),
            received_at,
        }
    }
}

prop_compose! {
    fn mapping_change()(
        texts in prop::collection::vec(text(), 3),
        (id, org_id, is_automatic, deleted, version) in (uuid(), uuid(), any::<bool>(), any::<bool>(), any::<u64>()),
        (confidence, created_at) in (prop::option::of(0..=100_u8), time()),
    ) -> MappingChange {
        let mapping = CustomerMapping {
            id,
            org_id: OrgId(org_id),
            stripe_customer_id: texts[0].clone(),
            tag_key: texts[1].clone(),
            tag_value: texts[2].clone(),
            match_type: if is_automatic { MatchType::Auto } else { MatchType::Manual },
            confidence,
            created_at,
        };
        MappingChange { mapping, deleted, version }
    }
}

prop_compose! {
    fn dead_letter_headers()(
        topic in prop::sample::select(topic::PROCESSED.to_vec()),
        reason in prop::sample::select(RejectReason::ALL.to_vec()),
        (detail, content_type) in (text(), text()),
        (partition, offset, row_index) in any::<(u32, u64, u32)>(),
        (org_id, value_omitted) in (prop::option::of(uuid()), any::<bool>()),
    ) -> DeadLetterHeaders {
        DeadLetterHeaders {
            topic: topic.to_owned(),
            partition,
            offset,
            row_index,
            reason: reason.as_str().to_owned(),
            detail,
            org_id: org_id.map(OrgId),
            content_type,
            value_omitted,
        }
    }
}

fn parsed(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap()
}

#[test]
fn every_event_that_is_written_is_valid() {
    let Some(validator) = Validator::of(COST_EVENT) else {
        return;
    };
    proptest!(|(event in event())| {
        let bytes = encode_event(&event).unwrap();
        prop_assert_eq!(validator.check(&parsed(&bytes)), Ok(()));
        prop_assert!(decode_cost_events(topic::JSON.as_bytes(), bytes.into()).is_ok());
    });
}

#[test]
fn every_invoice_that_is_written_is_valid() {
    let Some(validator) = Validator::of(INVOICE) else {
        return;
    };
    proptest!(|(invoice in invoice())| {
        prop_assert_eq!(validator.check(&parsed(&serde_json::to_vec(&invoice).unwrap())), Ok(()));
    });
}

#[test]
fn every_mapping_change_that_is_written_is_valid() {
    let Some(validator) = Validator::of(MAPPING_CHANGE) else {
        return;
    };
    proptest!(|(change in mapping_change())| {
        prop_assert_eq!(validator.check(&parsed(&serde_json::to_vec(&change).unwrap())), Ok(()));
    });
}

#[test]
fn headers_of_every_dead_letter_are_valid() {
    let Some(validator) = Validator::of(DEAD_LETTER_HEADERS) else {
        return;
    };
    proptest!(|(headers in dead_letter_headers())| {
        let headers: Map<String, Value> = headers
            .encode()
            .into_iter()
            .map(|(name, value)| (name, value.into()))
            .collect();
        prop_assert_eq!(validator.check(&headers.into()), Ok(()));
    });
}
