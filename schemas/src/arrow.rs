//! Arrow layouts of the tables: column names, order and types are those of `schemas/clickhouse`.
//!
//! UUIDs are `FixedSizeBinary(16)` in network byte order, texts `Utf8`, times `Timestamp(ms, UTC)`,
//! money `Int64` microdollars.

mod cost_events;
mod uuids;

use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit};

pub use cost_events::{CostEventBuilder, cost_event_at};
pub use uuids::{UuidBuilder, uuid_at};

/// Type of a UUID column.
pub const UUID: DataType = DataType::FixedSizeBinary(16);

/// Type of a time column.
#[must_use]
pub fn timestamp() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, Some(Arc::from("UTC")))
}

fn tags() -> DataType {
    let entry = Fields::from(vec![
        Field::new("keys", DataType::Utf8, false),
        Field::new("values", DataType::Utf8, false),
    ]);
    DataType::Map(
        Arc::new(Field::new("entries", DataType::Struct(entry), false)),
        false,
    )
}

static COST_EVENTS: LazyLock<SchemaRef> = LazyLock::new(|| {
    let required = |name: &str, data_type: DataType| Field::new(name, data_type, false);
    let optional = |name: &str, data_type: DataType| Field::new(name, data_type, true);
    Arc::new(Schema::new(vec![
        required("event_id", UUID),
        required("request_id", DataType::Utf8),
        required("org_id", UUID),
        required("api_key_id", UUID),
        required("provider", DataType::Utf8),
        required("model", DataType::Utf8),
        required("event_type", DataType::Utf8),
        required("source", DataType::Utf8),
        required("input_tokens", DataType::Int64),
        required("output_tokens", DataType::Int64),
        required("cached_input_tokens", DataType::Int64),
        required("reasoning_tokens", DataType::Int64),
        required("cost_microdollars", DataType::Int64),
        optional("cost_breakdown_input", DataType::Int64),
        optional("cost_breakdown_output", DataType::Int64),
        optional("cost_breakdown_cached", DataType::Int64),
        optional("cost_breakdown_reasoning", DataType::Int64),
        optional("cost_breakdown_tool_definition", DataType::Int64),
        optional("duration_ms", DataType::Int64),
        required("session_id", DataType::Utf8),
        required("trace_id", DataType::Utf8),
        required("tool_name", DataType::Utf8),
        required("tool_server", DataType::Utf8),
        required("customer_id", DataType::Utf8),
        required("tags", tags()),
        required("content_hash", DataType::UInt64),
        required("created_at", timestamp()),
        required("received_at", timestamp()),
    ]))
});

/// Returns the layout of `cost_events`, in the table's column order. `content_hash` is
/// [`crate::cost_event::CostEvent::content_hash`]; a nil `api_key_id` means none.
#[must_use]
pub fn cost_event_schema() -> SchemaRef {
    SchemaRef::clone(&COST_EVENTS)
}
