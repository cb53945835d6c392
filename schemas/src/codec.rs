//! Records of the log: encoding and decoding. `docs/records.md` describes them for others.

use std::io::Cursor;

use arrow::array::AsArray;
use arrow::buffer::Buffer;
use arrow::datatypes::Int64Type;
use arrow::error::ArrowError;
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use arrow::record_batch::RecordBatch;

use crate::arrow::{CostEventBuilder, cost_event_schema};
use crate::cost_event::CostEvent;
use crate::id::EventId;
use crate::money::Microdollars;
use crate::reject::RejectReason;
use crate::topic;

/// Why a record cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Rejected {
    /// The stable reason.
    pub reason: RejectReason,
    /// For people: what exactly is wrong.
    pub detail: String,
}

impl Rejected {
    fn new(reason: RejectReason, detail: impl std::fmt::Display) -> Self {
        Self {
            reason,
            detail: detail.to_string(),
        }
    }
}

/// Encodes one event as JSON; members are the table's columns.
///
/// # Errors
/// [`serde_json::Error`], which no event causes.
pub fn encode_event(event: &CostEvent<'_>) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(event)
}

/// Encodes a batch of [`cost_event_schema`] as one Arrow IPC stream.
///
/// # Errors
/// [`ArrowError`] where the batch cannot be written.
pub fn encode_events(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(
        Vec::with_capacity(batch.get_array_memory_size() + 4096),
        &batch.schema(),
    )?;
    writer.write(batch)?;
    writer.into_inner()
}

/// Decodes a record of topic [`topic::COST_EVENTS`] into batches of [`cost_event_schema`].
///
/// # Errors
/// [`Rejected`]: the record as a whole is a dead letter.
pub fn decode_cost_events(content_type: &[u8], value: Buffer) -> Result<Vec<RecordBatch>, Rejected> {
    match content_type {
        b"application/json" => decode_json(&value).map(|batch| vec![batch]),
        b"application/vnd.apache.arrow.stream" => decode_arrow(value),
        other => Err(Rejected::new(
            RejectReason::UnknownContentType,
            format_args!(
                "content type {:?} is neither {} nor {}",
                String::from_utf8_lossy(other),
                topic::JSON,
                topic::ARROW_STREAM
            ),
        )),
    }
}

fn decode_json(value: &[u8]) -> Result<RecordBatch, Rejected> {
    let event: CostEvent<'_> = serde_json::from_slice(value).map_err(|error| {
        let reason = if error.is_data() {
            RejectReason::SchemaMismatch
        } else {
            RejectReason::Undecodable
        };
        Rejected::new(reason, error)
    })?;
    check_event(&event)?;
    let mut builder = CostEventBuilder::with_capacity(1);
    builder
        .append(&event)
        .and_then(|_hash| builder.finish())
        .map_err(|error| Rejected::new(RejectReason::InvalidValue, error))
}

/// Checks what another producer may have got wrong: the identity and the bounds that sums rely on.
fn check_event(event: &CostEvent<'_>) -> Result<(), Rejected> {
    let invalid = |detail: &str| Err(Rejected::new(RejectReason::InvalidValue, detail));
    if event.event_id != EventId::derive(event.org_id, &event.request_id, &event.provider) {
        return invalid("event_id is not derived from org_id, request_id and provider");
    }
    let bounds = 0..=Microdollars::MAX_WIRE;
    let numbers = [
        event.input_tokens,
        event.output_tokens,
        event.cached_input_tokens,
        event.reasoning_tokens,
        event.cost_microdollars,
        event.duration_ms.unwrap_or(0),
    ];
    if !numbers.iter().all(|number| bounds.contains(number)) {
        return invalid("tokens, cost and duration must be in [0, 2^53)");
    }
    if !event.tags.windows(2).all(|pair| pair[0].0 < pair[1].0) {
        return invalid("tags must be sorted by key, each key once");
    }
    Ok(())
}

/// Checks the bounds that sums rely on. That each id is derived as it must be is the producer's duty.
fn check_bounds(batch: &RecordBatch) -> Result<(), Rejected> {
    for name in [
        "input_tokens",
        "output_tokens",
        "cached_input_tokens",
        "reasoning_tokens",
        "cost_microdollars",
        "duration_ms",
    ] {
        let column = batch
            .column_by_name(name)
            .and_then(|column| column.as_primitive_opt::<Int64Type>());
        let smallest = column.and_then(arrow::compute::min).unwrap_or(0);
        let largest = column.and_then(arrow::compute::max).unwrap_or(0);
        if smallest < 0 || largest > Microdollars::MAX_WIRE {
            return Err(Rejected::new(
                RejectReason::InvalidValue,
                format_args!("{name} must be in [0, 2^53)"),
            ));
        }
    }
    Ok(())
}

/// Decodes what anybody may have written: where the decoder panics over it, it is undecodable too.
fn decode_arrow(value: Buffer) -> Result<Vec<RecordBatch>, Rejected> {
    std::panic::catch_unwind(|| decode_arrow_stream(value)).unwrap_or_else(|_panic| {
        Err(Rejected::new(
            RejectReason::Undecodable,
            "the bytes are no whole Arrow stream",
        ))
    })
}

fn decode_arrow_stream(value: Buffer) -> Result<Vec<RecordBatch>, Rejected> {
    let undecodable = |error: ArrowError| Rejected::new(RejectReason::Undecodable, error);
    let mut decoder = StreamDecoder::new();
    let mut rest = value;
    let mut batches = Vec::new();
    while !rest.is_empty() {
        if let Some(batch) = decoder.decode(&mut rest).map_err(undecodable)? {
            if batch.schema() != cost_event_schema() {
                return Err(Rejected::new(
                    RejectReason::SchemaMismatch,
                    "columns are not those of cost_events",
                ));
            }
            check_bounds(&batch)?;
            batches.push(batch);
        }
    }
    decoder.finish().map_err(undecodable)?;
    Ok(batches)
}

/// Decodes a JSON record of another topic.
///
/// # Errors
/// [`Rejected`] where the bytes are no such object.
pub fn decode_record<T: serde::de::DeserializeOwned>(value: &[u8]) -> Result<T, Rejected> {
    serde_json::from_reader(Cursor::new(value)).map_err(|error| {
        let reason = if error.is_data() {
            RejectReason::SchemaMismatch
        } else {
            RejectReason::Undecodable
        };
        Rejected::new(reason, error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost_event::{Overrides, Receipt, WireEvent};
    use crate::id::{ApiKeyId, OrgId};
    use crate::tags::Tags;
    use crate::time::TimestampMs;
    use proptest::prelude::*;

    /// `cost` is set at last, since the wire form refuses negative ones.
    fn event(request_id: &str, cost: i64) -> CostEvent<'static> {
        let body = serde_json::json!({"provider": "openai", "model": "gpt-4o", "inputTokens": 10, "outputTokens": 5,
            "costMicrodollars": 0, "idempotencyKey": request_id, "tags": {"env": "prod"}, "customer": "globex",
            "costBreakdown": {"input": 1, "output": 2, "cached": 0}, "durationMs": 12})
        .to_string();
        let tags = Tags::new();
        let receipt = Receipt {
            org_id: OrgId(uuid::Uuid::from_u128(5)),
            api_key_id: ApiKeyId(uuid::Uuid::from_u128(6)),
            default_tags: &tags,
            received_at: TimestampMs(1_800_000_000_000),
        };
        let event = WireEvent::parse(body.as_bytes())
            .unwrap()
            .resolve(&receipt, &Overrides::default())
            .unwrap();
        let event: CostEvent<'static> = serde_json::from_slice(&encode_event(&event).unwrap()).unwrap();
        CostEvent {
            cost_microdollars: cost,
            ..event
        }
    }

    proptest! {
        /// Whatever a producer writes, it is whole columns or a rejection, and never a panic.
        #[test]
        fn damaged_arrow_is_rejected_or_decodes_to_valid_columns(
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            kept in any::<prop::sample::Index>(),
            is_cut in any::<bool>(),
        ) {
            let mut builder = CostEventBuilder::default();
            for index in 0..5 {
                builder.append(&event(&format!("r{index}"), index)).unwrap();
            }
            let mut bytes = encode_events(&builder.finish().unwrap()).unwrap();
            for (place, value) in damage {
                let place = place.index(bytes.len());
                bytes[place] = value;
            }
            if is_cut {
                bytes.truncate(kept.index(bytes.len()));
            }
            let decoded = decode_cost_events(b"application/vnd.apache.arrow.stream", bytes.into());
            for batch in decoded.unwrap_or_default() {
                for column in batch.columns() {
                    prop_assert!(column.to_data().validate_full().is_ok());
                }
            }
        }

        #[test]
        fn both_forms_decode_to_the_same_rows(costs in prop::collection::vec(0_i64..1_000_000, 1..20)) {
            let mut builder = CostEventBuilder::default();
            let mut singles = Vec::new();
            for (index, cost) in costs.iter().enumerate() {
                let event = event(&format!("r{index}"), *cost);
                builder.append(&event).unwrap();
                let mut alone = CostEventBuilder::default();
                alone.append(&event).unwrap();
                let alone = alone.finish().unwrap();
                prop_assert_eq!(&crate::arrow::cost_event_at(&alone, 0).unwrap(), &event);
                singles.extend(decode_cost_events(b"application/json", encode_event(&event).unwrap().into()).unwrap());
            }
            let bytes = encode_events(&builder.finish().unwrap()).unwrap();
            let many = decode_cost_events(topic::ARROW_STREAM.as_bytes(), bytes.into()).unwrap();
            let joined = arrow::compute::concat_batches(&cost_event_schema(), &singles).unwrap();
            prop_assert_eq!(&many[0], &joined);
        }
    }

    #[test]
    fn rejects_with_a_stable_reason() {
        let good = encode_event(&event("r", 1)).unwrap();
        let reason = |content_type: &[u8], value: &[u8]| {
            decode_cost_events(content_type, value.to_vec().into())
                .unwrap_err()
                .reason
        };
        assert_eq!(reason(b"text/csv", &good), RejectReason::UnknownContentType);
        assert_eq!(reason(b"application/json", b"{"), RejectReason::Undecodable);
        assert_eq!(reason(b"application/json", b"{}"), RejectReason::SchemaMismatch);
        let forged = String::from_utf8(good.clone())
            .unwrap()
            .replace("\"request_id\":\"r\"", "\"request_id\":\"s\"");
        assert_eq!(
            reason(b"application/json", forged.as_bytes()),
            RejectReason::InvalidValue
        );
        let negative = String::from_utf8(good)
            .unwrap()
            .replace("\"cost_microdollars\":1", "\"cost_microdollars\":-1");
        assert_eq!(
            reason(b"application/json", negative.as_bytes()),
            RejectReason::InvalidValue
        );
        assert_eq!(
            reason(topic::ARROW_STREAM.as_bytes(), b"garbage garbage"),
            RejectReason::Undecodable
        );
    }
}
