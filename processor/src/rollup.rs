//! Roll-ups: DataFusion plans over the Arrow rows of one batch, kept as SQL files in `rollups/`.

use std::sync::Arc;

use arrow::array::{
    Array, AsArray, BooleanArray, FixedSizeBinaryArray, Int64Array, RecordBatch, UInt32Array,
};
use arrow::compute::{cast, concat_batches, take};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use arrow::error::ArrowError;
use datafusion::datasource::MemTable;
use datafusion::error::DataFusionError;
use datafusion::execution::context::SessionContext;
use datafusion::prelude::SessionConfig;
use schemas::arrow::cost_event_schema;
use schemas::tags;

use crate::error::ProcessorError;

/// A roll-up: its table, and the query that makes the table's delta.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RollUp {
    pub(crate) table: &'static str,
    pub(crate) sql: &'static str,
}

/// The roll-ups of cost events.
const COST_ROLL_UPS: [RollUp; 3] = [
    RollUp {
        table: "cost_by_hour",
        sql: include_str!("rollups/cost_by_hour.sql"),
    },
    RollUp {
        table: "cost_by_tag_day",
        sql: include_str!("rollups/cost_by_tag_day.sql"),
    },
    RollUp {
        table: "cost_by_customer_month",
        sql: include_str!("rollups/cost_by_customer_month.sql"),
    },
];

/// The roll-up of invoices.
pub(crate) const REVENUE_BY_MONTH: RollUp = RollUp {
    table: "revenue_by_month",
    sql: include_str!("rollups/revenue_by_month.sql"),
};

/// The tables that the roll-ups of cost events read.
#[derive(Debug)]
pub(crate) struct RollUpInput {
    /// The new events, with a column `estimated`.
    events: RecordBatch,
    /// One row per event and tag.
    event_tags: RecordBatch,
}

impl RollUpInput {
    pub(crate) fn of(rows: &RecordBatch) -> Result<Self, ArrowError> {
        let tag_rows = TagRows::of(rows)?;
        Ok(Self {
            event_tags: tag_rows.batch(rows)?,
            events: with_estimated(rows, tag_rows.estimated)?,
        })
    }
}

/// Returns the delta of each roll-up of cost events.
pub(crate) async fn roll_up_costs(
    input: &RollUpInput,
) -> Result<Vec<(&'static str, RecordBatch)>, ProcessorError> {
    let context = session();
    register(&context, "events", &input.events).map_err(|error| failed("events", error))?;
    register(&context, "event_tags", &input.event_tags).map_err(|error| failed("event_tags", error))?;
    let mut deltas = Vec::with_capacity(COST_ROLL_UPS.len());
    for roll_up in COST_ROLL_UPS {
        deltas.push((roll_up.table, run(&context, roll_up).await?));
    }
    Ok(deltas)
}

/// Runs one roll-up over one input table.
pub(crate) async fn run_over(
    roll_up: RollUp,
    input: &'static str,
    rows: &RecordBatch,
) -> Result<RecordBatch, ProcessorError> {
    let context = session();
    register(&context, input, rows).map_err(|error| failed(roll_up.table, error))?;
    run(&context, roll_up).await
}

fn session() -> SessionContext {
    // One batch is small: splitting it among cores costs more than it gains.
    let config = SessionConfig::new()
        .with_target_partitions(1)
        .with_batch_size(16_384);
    SessionContext::new_with_config(config)
}

fn register(context: &SessionContext, name: &str, rows: &RecordBatch) -> Result<(), DataFusionError> {
    let table = MemTable::try_new(rows.schema(), vec![vec![rows.clone()]])?;
    context.register_table(name, Arc::new(table)).map(|_| ())
}

async fn run(context: &SessionContext, roll_up: RollUp) -> Result<RecordBatch, ProcessorError> {
    let query = async {
        let frame = context.sql(roll_up.sql).await?;
        let schema = SchemaRef::new(frame.schema().as_arrow().clone());
        let batches = frame.collect().await?;
        let schema = batches.first().map_or(schema, RecordBatch::schema);
        Ok(concat_batches(&schema, &batches)?)
    };
    query.await.map_err(|error| failed(roll_up.table, error))
}

fn failed(name: &'static str, source: DataFusionError) -> ProcessorError {
    ProcessorError::RollUp {
        name,
        source: Box::new(source),
    }
}

/// All times are UTC. Without a named zone DataFusion truncates them by plain arithmetic, at a tenth
/// less work per event over all steps.
fn naive_time() -> DataType {
    DataType::Timestamp(TimeUnit::Millisecond, None)
}

fn with_estimated(rows: &RecordBatch, estimated: Vec<bool>) -> Result<RecordBatch, ArrowError> {
    let mut fields = cost_event_schema().fields().to_vec();
    fields.push(Arc::new(Field::new("estimated", DataType::Boolean, false)));
    let mut columns = rows.columns().to_vec();
    columns.push(Arc::new(BooleanArray::from(estimated)));
    let created_at = cost_event_schema().index_of("created_at")?;
    fields[created_at] = Arc::new(Field::new("created_at", naive_time(), false));
    columns[created_at] = cast(&columns[created_at], &naive_time())?;
    // Tags have their own table; DataFusion need not carry them.
    let tags = cost_event_schema().index_of("tags")?;
    fields.remove(tags);
    columns.remove(tags);
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// The tags of a batch's events, flat.
struct TagRows {
    /// The event of each tag.
    event_rows: Vec<u32>,
    /// Whether each event's cost is an estimate.
    estimated: Vec<bool>,
}

impl TagRows {
    fn of(rows: &RecordBatch) -> Result<Self, ArrowError> {
        let map = rows.column(rows.schema_ref().index_of("tags")?).as_map();
        let (keys, values) = (map.keys().as_string::<i32>(), map.values().as_string::<i32>());
        let mut event_rows = Vec::with_capacity(keys.len());
        let mut estimated = Vec::with_capacity(rows.num_rows());
        for (row, ends) in (0_u32..).zip(map.value_offsets().windows(2)) {
            let entries = index(ends[0])..index(ends[1]);
            let mut tags = entries
                .clone()
                .map(|entry| (keys.value(entry), values.value(entry)));
            estimated.push(tags.any(|(key, value)| key == tags::ESTIMATED && value == "true"));
            event_rows.extend(entries.map(|_| row));
        }
        Ok(Self {
            event_rows,
            estimated,
        })
    }

    fn batch(&self, rows: &RecordBatch) -> Result<RecordBatch, ArrowError> {
        let column = |name: &str| Ok::<_, ArrowError>(rows.column(rows.schema_ref().index_of(name)?));
        let map = column("tags")?.as_map();
        // A sliced map keeps all its entries; only those of its rows count.
        let offsets = map.value_offsets();
        let (start, end) = (index(offsets[0]), index(offsets[rows.num_rows()]));
        let events = UInt32Array::from(self.event_rows.clone());
        let of_event = |name: &str| take(column(name)?, &events, None);
        let estimated: BooleanArray = self
            .event_rows
            .iter()
            .map(|row| Some(self.estimated[*row as usize]))
            .collect();
        let org_ids: FixedSizeBinaryArray = of_event("org_id")?.as_fixed_size_binary().clone();
        let created = cast(&of_event("created_at")?, &naive_time())?;
        let costs: Int64Array = of_event("cost_microdollars")?.as_primitive().clone();
        super::plan::table(vec![
            ("org_id", Arc::new(org_ids)),
            ("created_at", created),
            ("tag_key", map.keys().slice(start, end - start)),
            ("tag_value", map.values().slice(start, end - start)),
            ("estimated", Arc::new(estimated)),
            ("cost_microdollars", Arc::new(costs)),
        ])
    }
}

fn index(offset: i32) -> usize {
    usize::try_from(offset).unwrap_or(0)
}

#[cfg(test)]
mod tests;
