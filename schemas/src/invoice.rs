//! Stripe invoices: the state that counts, and what it contributes to revenue.

mod stripe;

use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::id::OrgId;
use crate::money::{Microdollars, MoneyError};
use crate::period::Period;
use crate::time::TimestampMs;

pub use stripe::{Document, InvalidInvoice, parse_stripe_invoice, split_documents};

const PAID: &str = "paid";
const US_DOLLARS: &str = "usd";

/// One state of an invoice, as a record of topic [`crate::topic::INVOICES`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(description = "One state of an invoice.")]
pub struct InvoiceRecord {
    /// The tenant.
    pub org_id: OrgId,
    /// Stripe's id of the invoice.
    pub invoice_id: String,
    /// The state; none where the invoice was deleted.
    pub state: Option<InvoiceState>,
    /// Our clock at receipt.
    pub received_at: TimestampMs,
}

/// What is kept of an invoice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = bound_revenue)]
pub struct InvoiceState {
    /// Stripe's id of the customer.
    pub stripe_customer_id: String,
    /// The customer's name; empty where unknown.
    pub customer_name: String,
    /// The customer's e-mail address; empty where unknown.
    pub customer_email: String,
    /// `draft`, `open`, `paid`, `uncollectible` or `void`; only `paid` is told from the others.
    pub status: String,
    /// ISO 4217, lower case.
    pub currency: String,
    /// The amount paid, in the currency's smallest unit.
    #[schemars(range(min = i64::MIN, max = i64::MAX))]
    pub amount_paid: i64,
    /// When Stripe made the invoice; decides the period.
    pub created_at: TimestampMs,
}

/// States when [`InvoiceState::revenue`] overflows.
fn bound_revenue(schema: &mut Schema) {
    let largest = i64::MAX / Microdollars::PER_CENT;
    schema.insert(
        "if".to_owned(),
        json!({"properties": {"status": {"const": PAID}, "currency": {"const": US_DOLLARS}}}),
    );
    schema.insert(
        "then".to_owned(),
        json!({"properties": {"amount_paid": {"minimum": -largest, "maximum": largest}}}),
    );
}

impl InvoiceState {
    /// Tells whether the invoice is revenue: paid, in US dollars (`../spec/margins.md` §9).
    #[must_use]
    pub fn counts(&self) -> bool {
        self.status == PAID && self.currency == US_DOLLARS
    }

    /// Returns the revenue; zero where the invoice does not count.
    ///
    /// # Errors
    /// [`MoneyError::Overflow`] beyond 64 bits of microdollars.
    pub fn revenue(&self) -> Result<Microdollars, MoneyError> {
        if self.counts() {
            Microdollars::from_cents(self.amount_paid)
        } else {
            Ok(Microdollars::ZERO)
        }
    }

    /// Returns the month that the revenue belongs to.
    #[must_use]
    pub fn period(&self) -> Period {
        Period::containing(self.created_at.to_utc())
    }
}
