//! Cost events, row by row into columns.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, Int64Builder, MapBuilder, MapFieldNames, StringBuilder, TimestampMillisecondBuilder,
    UInt64Builder,
};
use arrow::datatypes::{DataType, Field};
use arrow::error::ArrowError;
use arrow::record_batch::RecordBatch;

use super::{UuidBuilder, cost_event_schema};
use crate::cost_event::CostEvent;

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

    /// Adds an event.
    ///
    /// # Errors
    /// [`ArrowError`] where a column grows beyond 2 GiB of text.
    pub fn append(&mut self, event: &CostEvent<'_>) -> Result<(), ArrowError> {
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
        self.content_hash.append_value(event.content_hash());
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
        Ok(())
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

fn append_texts<const N: usize>(columns: &mut [StringBuilder; N], texts: [&str; N]) {
    for (column, text) in columns.iter_mut().zip(texts) {
        column.append_value(text);
    }
}
