//! What a batch of each topic becomes: rows per table, and what is remembered once they are
//! durable.

mod cost_events;
mod dimensions;
mod invoices;

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, RecordBatch, StringArray, TimestampMillisecondArray, UInt32Array, UInt64Array,
};
use arrow::datatypes::{Field, Schema};
use arrow::error::ArrowError;
use event_log::AppendRecord;
use known_events::KnownEvents;
use schemas::id::EventId;
use schemas::topic;
use warehouse::Warehouse;

use crate::batch::Batch;
use crate::dead_letter::DeadLetters;
use crate::error::ProcessorError;
use crate::stats::TopicCounts;

/// The rows that one batch adds to one table.
#[derive(Debug)]
pub(crate) struct TableInsert {
    pub(crate) table: &'static str,
    pub(crate) rows: RecordBatch,
}

/// Everything that one batch writes. Preparing the same batch again yields the same.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) inserts: Vec<TableInsert>,
    pub(crate) counts: TopicCounts,
    /// Ids of the new cost events.
    pub(crate) new_ids: Vec<EventId>,
    /// What could not be counted, for topic [`topic::DEAD_LETTERS`]; the inserts have it too.
    pub(crate) dead_letters: DeadLetters,
    /// Cost events that belong to other partitions of this topic, to be appended there. A replay
    /// appends them again; as copies of the same events they are duplicates then.
    pub(crate) moved: Vec<AppendRecord>,
}

impl Prepared {
    /// Completes a plan's rows with the dead letters and the ledger.
    fn new(
        batch: &Batch,
        mut inserts: Vec<TableInsert>,
        dead_letters: DeadLetters,
        mut counts: TopicCounts,
        new_ids: Vec<EventId>,
    ) -> Result<Self, ProcessorError> {
        counts.dead_lettered = dead_letters.len();
        counts.consumed = counts.inserted + counts.duplicates + counts.dead_lettered + counts.moved;
        counts.batches = 1;
        inserts.push(TableInsert {
            table: "dead_letters",
            rows: dead_letters.rows()?,
        });
        inserts.push(TableInsert {
            table: "batches",
            rows: ledger_row(batch, counts)?,
        });
        Ok(Self {
            inserts,
            counts,
            new_ids,
            dead_letters,
            moved: Vec::new(),
        })
    }
}

/// One topic's way from records to rows.
#[derive(Debug)]
pub(crate) enum Plan {
    CostEvents(cost_events::CostEventPlan),
    Invoices(invoices::InvoicePlan),
    Dimensions,
}

impl Plan {
    pub(crate) fn for_topic(name: &str, warehouse: &Warehouse, known: &Arc<KnownEvents>) -> Self {
        match name {
            topic::COST_EVENTS => Self::CostEvents(cost_events::CostEventPlan::new(
                warehouse.clone(),
                Arc::clone(known),
            )),
            topic::INVOICES => Self::Invoices(invoices::InvoicePlan::new(warehouse.clone())),
            _ => Self::Dimensions,
        }
    }

    pub(crate) async fn prepare(&self, batch: Arc<Batch>) -> Result<Prepared, ProcessorError> {
        match self {
            Self::CostEvents(plan) => plan.prepare(batch).await,
            Self::Invoices(plan) => plan.prepare(batch).await,
            Self::Dimensions => dimensions::prepare(&batch),
        }
    }

    /// Gets ready to judge the records of `partition`, whose owner this process has become.
    pub(crate) async fn load(&self, partition: u32) -> Result<(), ProcessorError> {
        match self {
            Self::CostEvents(plan) => plan.load(partition).await,
            Self::Invoices(_) | Self::Dimensions => Ok(()),
        }
    }

    /// Remembers what is durable now.
    pub(crate) fn written(&self, prepared: &Prepared) {
        if let Self::CostEvents(plan) = self {
            plan.written(prepared);
        }
    }
}

/// Makes a batch of required columns.
pub(crate) fn table(columns: Vec<(&'static str, ArrayRef)>) -> Result<RecordBatch, ArrowError> {
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, column)| Field::new(*name, column.data_type().clone(), false))
        .collect();
    RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns.into_iter().map(|(_, column)| column).collect(),
    )
}

fn texts<'a>(values: impl IntoIterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn times(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from_iter_values(values).with_timezone("UTC"))
}

fn ledger_row(batch: &Batch, counts: TopicCounts) -> Result<RecordBatch, ArrowError> {
    let number = |value: u64| Arc::new(UInt64Array::from(vec![value])) as ArrayRef;
    table(vec![
        ("topic", texts([&*batch.topic_partition.topic])),
        (
            "log_partition",
            Arc::new(UInt32Array::from(vec![batch.topic_partition.partition])),
        ),
        ("start_offset", number(batch.start)),
        ("end_offset", number(batch.end)),
        ("consumed", number(counts.consumed)),
        ("inserted", number(counts.inserted)),
        ("duplicates", number(counts.duplicates)),
        ("dead_lettered", number(counts.dead_lettered)),
        ("moved", number(counts.moved)),
        ("oldest_received_at", times([batch.oldest_timestamp_ms()])),
    ])
}
