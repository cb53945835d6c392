//! Invoices: the last state of each wins; revenue moves by the difference to the state before.

mod rows;

use std::collections::HashMap;
use std::sync::Arc;

use clickhouse::Row;
use schemas::codec::{Rejected, decode_record};
use schemas::id::OrgId;
use schemas::invoice::{InvoiceRecord, InvoiceState};
use schemas::reject::RejectReason;
use serde::Deserialize;
use uuid::Uuid;
use warehouse::{Warehouse, WarehouseError};

use super::{Prepared, TableInsert};
use crate::batch::Batch;
use crate::dead_letter::DeadLetters;
use crate::error::ProcessorError;
use crate::rollup::{REVENUE_BY_MONTH, run_over};
use crate::stats::TopicCounts;

/// Invoices that one query asks for.
const INVOICES_PER_QUERY: usize = 2_000;

/// The plan of topic [`schemas::topic::INVOICES`].
#[derive(Debug)]
pub(crate) struct InvoicePlan {
    warehouse: Warehouse,
}

/// An invoice of one organization.
type InvoiceKey = (OrgId, String);

/// A state of an invoice and the order of its receipt.
#[derive(Debug, Clone)]
struct Versioned {
    version: u64,
    record: InvoiceRecord,
}

/// What a state that is to be replaced contributes.
#[derive(Debug, Clone, Row, Deserialize)]
struct PriorState {
    #[serde(with = "clickhouse::serde::uuid")]
    org_id: Uuid,
    stripe_customer_id: String,
    status: String,
    currency: String,
    revenue_microdollars: i64,
    created_at: i64,
}

impl InvoicePlan {
    pub(crate) const fn new(warehouse: Warehouse) -> Self {
        Self { warehouse }
    }

    pub(crate) async fn prepare(&self, batch: Arc<Batch>) -> Result<Prepared, ProcessorError> {
        let mut dead_letters = DeadLetters::new(&batch.topic_partition);
        let mut last: HashMap<InvoiceKey, Versioned> = HashMap::new();
        let mut counts = TopicCounts::default();
        for record in &batch.records {
            match decode_invoice(&record.value) {
                Ok(invoice) => {
                    // Offsets start at 0, versions at 1: 0 means that there is no state.
                    let versioned = Versioned {
                        version: record.offset + 1,
                        record: invoice.clone(),
                    };
                    let key = (invoice.org_id, invoice.invoice_id);
                    let replaced = last.insert(key, versioned).is_some();
                    counts.duplicates += u64::from(replaced);
                    counts.inserted += u64::from(!replaced);
                }
                Err(rejected) => dead_letters.push_record(record, rejected),
            }
        }
        let mut states: Vec<Versioned> = last.into_values().collect();
        states.sort_unstable_by_key(|state| state.version);
        let prior = self.prior_states(&states, batch.start).await?;
        let changes = rows::changes(&states, &prior)?;
        let inserts = vec![
            TableInsert {
                table: "invoice_states",
                rows: rows::states(&states)?,
            },
            TableInsert {
                table: "stripe_customer_names",
                rows: rows::names(&states)?,
            },
            TableInsert {
                table: REVENUE_BY_MONTH.table,
                rows: run_over(REVENUE_BY_MONTH, "invoice_changes", &changes).await?,
            },
        ];
        Prepared::new(&batch, inserts, dead_letters, counts, Vec::new())
    }

    /// Returns the states that stood before the record at offset `start`. Later ones, which an
    /// earlier attempt at this batch may have written, are passed over.
    async fn prior_states(
        &self,
        states: &[Versioned],
        start: u64,
    ) -> Result<Vec<PriorState>, ProcessorError> {
        let mut prior = Vec::new();
        for chunk in states.chunks(INVOICES_PER_QUERY) {
            let orgs: Vec<_> = chunk
                .iter()
                .map(|state| state.record.org_id.0.to_string())
                .collect();
            let ids: Vec<_> = chunk
                .iter()
                .map(|state| state.record.invoice_id.as_str())
                .collect();
            let rows = self
                .warehouse
                .client()
                .query(
                    "SELECT org_id, stripe_customer_id, toString(status) AS status, \
                         toString(currency) AS currency, revenue_microdollars, created_at \
                     FROM invoice_states \
                     WHERE (org_id, invoice_id) IN arrayZip({orgs:Array(UUID)}, {ids:Array(String)}) \
                         AND version <= {start:UInt64} \
                     ORDER BY version DESC LIMIT 1 BY org_id, invoice_id",
                )
                .param("orgs", orgs)
                .param("ids", ids)
                .param("start", start)
                .fetch_all::<PriorState>()
                .await
                .map_err(|source| WarehouseError::from_client("read invoices", source))?;
            prior.extend(rows);
        }
        Ok(prior)
    }
}

/// Decodes a record whose amount can be counted.
fn decode_invoice(value: &[u8]) -> Result<InvoiceRecord, Rejected> {
    let invoice: InvoiceRecord = decode_record(value)?;
    match invoice.state.as_ref().map(InvoiceState::revenue) {
        Some(Err(error)) => Err(Rejected {
            reason: RejectReason::InvalidValue,
            detail: error.to_string(),
        }),
        _ => Ok(invoice),
    }
}
