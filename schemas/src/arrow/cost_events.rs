//! Cost events, row by row into columns.

use std::borrow::Cow;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, Int64Builder, MapBuilder, MapFieldNames, StringBuilder,
    TimestampMillisecondBuilder, UInt64Builder,
};
use arrow::datatypes::{DataType, Field, Int64Type, TimestampMillisecondType};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use super::{UuidBuilder, cost_event_schema, uuid_at};
use crate::cost_event::{CostBreakdown, CostEvent, EventType, Source, TagPairs};
use crate::id::{ApiKeyId, EventId, OrgId};
use crate::time::TimestampMs;

/// Builds a batch of [`cost_event_schema`], in the order of the calls.
#[derive(Debug)]
pub struct CostEventBuilder {
    num_rows: usize,
    text_bytes: usize,
    ids: [UuidBuilder; 3],
    request_id: StringBuilder,
    names: [StringBuilder; 4],
    tokens_and_cost: [Int64Builder; 5],
    breakdown: [Int64Builder; 5],
    duration_ms: Int64Builder,
    contexts: [StringBuilder; 5],
    tags: MapBuilder<StringBuilder, StringBuilder>,
    content_hash: UInt64Builder,
    times: [TimestampMillisecondBuilder; 2],
}

impl Default for CostEventBuilder {
    fn default() -> Self {
        Self::with_capacity(64)
    }
}

impl CostEventBuilder {
    /// Makes room for `rows`.
    #[must_use]
    pub fn with_capacity(rows: usize) -> Self {
        let text = |bytes: usize| StringBuilder::with_capacity(rows, rows * bytes);
        let integer = || Int64Builder::with_capacity(rows);
        let time = || TimestampMillisecondBuilder::with_capacity(rows).with_timezone("UTC");
        let names = MapFieldNames {
            entry: "entries".into(),
            key: "keys".into(),
            value: "values".into(),
        };
        let tags = MapBuilder::with_capacity(Some(names), text(24), text(24), rows)
            .with_keys_field(Field::new("keys", DataType::Utf8, false))
            .with_values_field(Field::new("values", DataType::Utf8, false));
        Self {
            num_rows: 0,
            text_bytes: 0,
            ids: std::array::from_fn(|_| UuidBuilder::with_capacity(rows)),
            request_id: text(32),
            names: std::array::from_fn(|_| text(12)),
            tokens_and_cost: std::array::from_fn(|_| integer()),
            breakdown: std::array::from_fn(|_| integer()),
            duration_ms: integer(),
            contexts: std::array::from_fn(|_| text(16)),
            tags,
            content_hash: UInt64Builder::with_capacity(rows),
            times: std::array::from_fn(|_| time()),
        }
    }

    /// Returns the number of rows so far.
    #[must_use]
    pub const fn num_rows(&self) -> usize {
        self.num_rows
    }

    /// Returns about how many bytes the rows take.
    #[must_use]
    pub const fn num_bytes(&self) -> usize {
        self.text_bytes + self.num_rows * 220
    }

    /// Adds an event and returns its content hash.
    ///
    /// # Errors
    /// [`ArrowError`] where a column grows beyond 2 GiB of text.
    pub fn append(&mut self, event: &CostEvent<'_>) -> Result<u64, ArrowError> {
        let key = event.api_key_id.map_or_else(uuid::Uuid::nil, |key| key.0);
        for (column, id) in self.ids.iter_mut().zip([event.event_id.0, event.org_id.0, key]) {
            column.append(id);
        }
        self.request_id.append_value(&event.request_id);
        let names = [
            &*event.provider,
            &*event.model,
            event.event_type.as_str(),
            event.source.as_str(),
        ];
        append_texts(&mut self.names, names);
        let numbers = [
            event.input_tokens,
            event.output_tokens,
            event.cached_input_tokens,
            event.reasoning_tokens,
            event.cost_microdollars,
        ];
        for (column, number) in self.tokens_and_cost.iter_mut().zip(numbers) {
            column.append_value(number);
        }
        self.append_breakdown(event);
        self.duration_ms.append_option(event.duration_ms);
        let contexts = [
            &*event.session_id,
            &*event.trace_id,
            &*event.tool_name,
            &*event.tool_server,
            &*event.customer_id,
        ];
        append_texts(&mut self.contexts, contexts);
        self.append_tags(event)?;
        let content_hash = event.content_hash();
        self.content_hash.append_value(content_hash);
        for (column, time) in self.times.iter_mut().zip([event.created_at, event.received_at]) {
            column.append_value(time.0);
        }
        self.text_bytes += event.request_id.len()
            + names
                .iter()
                .chain(&contexts)
                .map(|text| text.len())
                .sum::<usize>();
        self.num_rows += 1;
        Ok(content_hash)
    }

    fn append_breakdown(&mut self, event: &CostEvent<'_>) {
        let parts = event.cost_breakdown.map_or([None; 5], |parts| {
            [
                Some(parts.input),
                Some(parts.output),
                Some(parts.cached),
                parts.reasoning,
                parts.tool_definition,
            ]
        });
        for (column, part) in self.breakdown.iter_mut().zip(parts) {
            column.append_option(part);
        }
    }

    fn append_tags(&mut self, event: &CostEvent<'_>) -> Result<(), ArrowError> {
        for (key, value) in &event.tags {
            self.tags.keys().append_value(key);
            self.tags.values().append_value(value);
            self.text_bytes += key.len() + value.len() + 8;
        }
        self.tags.append(true)
    }

    /// Returns the rows as one batch, and starts anew.
    ///
    /// # Errors
    /// [`ArrowError`] where the columns do not fit the schema, which would be a defect here.
    pub fn finish(&mut self) -> Result<RecordBatch, ArrowError> {
        let mut built = std::mem::take(self);
        let [event_id, org_id, api_key_id] = &mut built.ids;
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(event_id.finish()),
            Arc::new(built.request_id.finish()),
            Arc::new(org_id.finish()),
            Arc::new(api_key_id.finish()),
        ];
        columns.extend(
            built
                .names
                .iter_mut()
                .map(|column| Arc::new(column.finish()) as ArrayRef),
        );
        columns.extend(
            built
                .tokens_and_cost
                .iter_mut()
                .map(|column| Arc::new(column.finish()) as ArrayRef),
        );
        columns.extend(
            built
                .breakdown
                .iter_mut()
                .map(|column| Arc::new(column.finish()) as ArrayRef),
        );
        columns.push(Arc::new(built.duration_ms.finish()));
        columns.extend(
            built
                .contexts
                .iter_mut()
                .map(|column| Arc::new(column.finish()) as ArrayRef),
        );
        columns.push(Arc::new(built.tags.finish()));
        columns.push(Arc::new(built.content_hash.finish()));
        columns.extend(
            built
                .times
                .iter_mut()
                .map(|column| Arc::new(column.finish()) as ArrayRef),
        );
        RecordBatch::try_new(cost_event_schema(), columns)
    }
}

/// Returns the event in `row` of a batch of [`cost_event_schema`].
///
/// # Errors
/// [`ArrowError`] where the batch has another layout, or a name that no event type or source has.
pub fn cost_event_at(rows: &RecordBatch, row: usize) -> Result<CostEvent<'_>, ArrowError> {
    let cells = Cells { rows, row };
    let api_key_id = ApiKeyId(cells.uuid("api_key_id")?);
    let part = |name: &str| cells.number(name);
    let cost_breakdown = match (
        part("cost_breakdown_input")?,
        part("cost_breakdown_output")?,
        part("cost_breakdown_cached")?,
    ) {
        (Some(input), Some(output), Some(cached)) => Some(CostBreakdown {
            input,
            output,
            cached,
            reasoning: part("cost_breakdown_reasoning")?,
            tool_definition: part("cost_breakdown_tool_definition")?,
        }),
        _ => None,
    };
    let unknown = |name: &str| ArrowError::SchemaError(format!("{name} holds an unknown name"));
    Ok(CostEvent {
        event_id: EventId(cells.uuid("event_id")?),
        request_id: cells.text("request_id")?,
        org_id: OrgId(cells.uuid("org_id")?),
        api_key_id: (!api_key_id.0.is_nil()).then_some(api_key_id),
        provider: cells.text("provider")?,
        model: cells.text("model")?,
        event_type: EventType::parse(&cells.text("event_type")?).ok_or_else(|| unknown("event_type"))?,
        source: Source::parse(&cells.text("source")?).ok_or_else(|| unknown("source"))?,
        input_tokens: part("input_tokens")?.unwrap_or(0),
        output_tokens: part("output_tokens")?.unwrap_or(0),
        cached_input_tokens: part("cached_input_tokens")?.unwrap_or(0),
        reasoning_tokens: part("reasoning_tokens")?.unwrap_or(0),
        cost_microdollars: part("cost_microdollars")?.unwrap_or(0),
        cost_breakdown,
        duration_ms: part("duration_ms")?,
        session_id: cells.text("session_id")?,
        trace_id: cells.text("trace_id")?,
        tool_name: cells.text("tool_name")?,
        tool_server: cells.text("tool_server")?,
        customer_id: cells.text("customer_id")?,
        tags: cells.tags()?,
        created_at: cells.time("created_at")?,
        received_at: cells.time("received_at")?,
    })
}

/// One row of a batch.
struct Cells<'a> {
    rows: &'a RecordBatch,
    row: usize,
}

impl<'a> Cells<'a> {
    fn column(&self, name: &str) -> Result<&'a ArrayRef, ArrowError> {
        Ok(self.rows.column(self.rows.schema_ref().index_of(name)?))
    }

    fn uuid(&self, name: &str) -> Result<uuid::Uuid, ArrowError> {
        Ok(uuid_at(self.column(name)?.as_fixed_size_binary(), self.row))
    }

    fn text(&self, name: &str) -> Result<Cow<'a, str>, ArrowError> {
        Ok(Cow::Borrowed(
            self.column(name)?.as_string::<i32>().value(self.row),
        ))
    }

    fn number(&self, name: &str) -> Result<Option<i64>, ArrowError> {
        let column = self.column(name)?.as_primitive::<Int64Type>();
        Ok(column.is_valid(self.row).then(|| column.value(self.row)))
    }

    fn time(&self, name: &str) -> Result<TimestampMs, ArrowError> {
        Ok(TimestampMs(
            self.column(name)?
                .as_primitive::<TimestampMillisecondType>()
                .value(self.row),
        ))
    }

    fn tags(&self) -> Result<TagPairs<'a>, ArrowError> {
        let map = self.column("tags")?.as_map();
        let (keys, values) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
        let offsets = map.value_offsets();
        let index = |offset: i32| usize::try_from(offset).unwrap_or(0);
        let entries = index(offsets[self.row])..index(offsets[self.row + 1]);
        Ok(entries
            .map(|entry| (keys.value(entry).into(), values.value(entry).into()))
            .collect())
    }
}

fn append_texts<const N: usize>(columns: &mut [StringBuilder; N], texts: [&str; N]) {
    for (column, text) in columns.iter_mut().zip(texts) {
        column.append_value(text);
    }
}
