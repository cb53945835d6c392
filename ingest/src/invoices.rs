//! Invoices into the log.

use event_log::{AppendRecord, EventLog};
use schemas::invoice::InvoiceRecord;
use schemas::topic;

use crate::acceptor::content_type;
use crate::error::IngestError;
use crate::metrics::Appender;

/// Records of one append.
const RECORDS_PER_APPEND: usize = 1_000;

/// Publishes states of invoices, in order; durable when it returns. All states of an invoice go to
/// one partition, so their order is that of their receipt.
///
/// # Errors
/// [`IngestError`]: some of the records may be in the log; publishing them again is harmless.
pub async fn publish(log: &dyn EventLog, invoices: &[InvoiceRecord]) -> Result<(), IngestError> {
    let num_partitions = log.num_partitions(topic::INVOICES)?;
    let appender = Appender::to(topic::INVOICES);
    for chunk in invoices.chunks(RECORDS_PER_APPEND) {
        let records: Result<Vec<_>, IngestError> = chunk
            .iter()
            .map(|invoice| record(invoice, num_partitions))
            .collect();
        appender.append(log, records?).await?;
    }
    Ok(())
}

fn record(invoice: &InvoiceRecord, num_partitions: u32) -> Result<AppendRecord, IngestError> {
    let key = format!("{}:{}", invoice.org_id, invoice.invoice_id);
    Ok(AppendRecord {
        partition: topic::partition_of_key(key.as_bytes(), num_partitions),
        key: key.into(),
        headers: content_type(topic::JSON),
        value: serde_json::to_vec(invoice)?.into(),
    })
}
