//! JSON Schemas (draft 2020-12) of the records of the log, generated from the types that decode them.
//!
//! They say what a schema can: members, types, forms and bounds. That an event's id is the derived one,
//! that tags are sorted, and that a number is written without fraction and exponent is checked too.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::Value;

use crate::cost_event::CostEvent;
use crate::dead_letter::DeadLetterHeaders;
use crate::invoice::InvoiceRecord;
use crate::mapping::MappingChange;

/// File of the schema of one cost event as JSON, below `docs`; so are the others.
pub const COST_EVENT: &str = "records/cost-event.schema.json";
/// File of the schema of an invoice's state.
pub const INVOICE: &str = "records/invoice.schema.json";
/// File of the schema of a change of a customer mapping.
pub const MAPPING_CHANGE: &str = "records/mapping-change.schema.json";
/// File of the schema of a dead letter's headers.
pub const DEAD_LETTER_HEADERS: &str = "records/dead-letter-headers.schema.json";

/// Returns each file and its content.
#[must_use]
pub fn record_schemas() -> [(&'static str, Value); 4] {
    [
        (COST_EVENT, schema_of::<CostEvent<'_>>()),
        (INVOICE, schema_of::<InvoiceRecord>()),
        (MAPPING_CHANGE, schema_of::<MappingChange>()),
        (DEAD_LETTER_HEADERS, schema_of::<DeadLetterHeaders>()),
    ]
}

/// The form that is read: members that may be missing are not required.
fn schema_of<T: JsonSchema>() -> Value {
    SchemaSettings::draft2020_12()
        .for_deserialize()
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}
