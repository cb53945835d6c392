//! Topics of the event log, their keys and headers.

/// Cost events. Key: the event id's 16 bytes for a single event, empty for a record of many; all
/// events of a record belong to its partition ([`crate::id::EventId::partition`]).
pub const COST_EVENTS: &str = "cost-events";
/// States of Stripe invoices. Key: organization and invoice id.
pub const INVOICES: &str = "invoices";
/// Changes of the control store that analytics must see. Key: the changed object's id.
pub const DIMENSIONS: &str = "dimensions";

/// What could not be counted ([`crate::dead_letter`]), at least once. Key: the place it was read from.
pub const DEAD_LETTERS: &str = "dead-letters";

/// The topics that the processor reads.
pub const PROCESSED: [&str; 3] = [COST_EVENTS, INVOICES, DIMENSIONS];

/// The processors' consumer group.
pub const PROCESSOR_GROUP: &str = "processor";

/// The header that names a record's content type.
pub const CONTENT_TYPE: &str = "content-type";
/// One JSON object.
pub const JSON: &str = "application/json";
/// Many cost events as one Arrow IPC stream of one batch ([`crate::arrow::cost_event_schema`]).
pub const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";

/// Returns the partition, in `[0, num_partitions)`, of a record that is keyed by text.
#[must_use]
pub fn partition_of_key(key: &[u8], num_partitions: u32) -> u32 {
    let hash = twox_hash::XxHash3_64::oneshot(key);
    u32::try_from(hash % u64::from(num_partitions.max(1))).unwrap_or(0)
}
