//! Stripe invoices: the state that counts, and what it contributes to revenue.

mod stripe;

use serde::{Deserialize, Serialize};

use crate::id::OrgId;
use crate::money::{Microdollars, MoneyError};
use crate::period::Period;
use crate::time::TimestampMs;

pub use stripe::{Document, InvalidInvoice, parse_stripe_invoice, split_documents};

/// One state of an invoice, as a record of topic [`crate::topic::INVOICES`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvoiceState {
    /// Stripe's id of the customer.
    pub stripe_customer_id: String,
    /// The customer's name; empty where unknown.
    pub customer_name: String,
    /// The customer's e-mail address; empty where unknown.
    pub customer_email: String,
    /// `draft`, `open`, `paid`, `uncollectible` or `void`.
    pub status: String,
    /// ISO 4217, lower case.
    pub currency: String,
    /// The amount paid, in the currency's smallest unit.
    pub amount_paid: i64,
    /// When Stripe made the invoice; decides the period (OPEN-M40).
    pub created_at: TimestampMs,
}

impl InvoiceState {
    /// Tells whether the invoice is revenue: paid, in US dollars (`../spec/margins.md` §9).
    #[must_use]
    pub fn counts(&self) -> bool {
        self.status == "paid" && self.currency == "usd"
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
