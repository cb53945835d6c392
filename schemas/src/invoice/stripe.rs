//! Reads Stripe's invoice objects, member by member as async-stripe types them.
//!
//! The members that bear on revenue are required; the others are not looked at, since Stripe's
//! API versions differ in them and async-stripe's whole `Invoice` refuses an object that lacks any.

use serde::Deserialize;
use serde_json::Value;
use stripe_shared::{CustomerId, InvoiceId, InvoiceStatus};
use stripe_types::{Currency, Timestamp};

use super::{InvoiceRecord, InvoiceState};
use crate::id::OrgId;
use crate::money::Microdollars;
use crate::time::TimestampMs;

/// Why an object is no invoice that can be counted; the text is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidInvoice {
    /// A member is missing or of a wrong type.
    #[error("not a Stripe invoice: {0}")]
    Shape(String),
    /// Nobody to attribute the revenue to.
    #[error("the invoice has no customer")]
    NoCustomer,
    /// The customer was deleted in Stripe.
    #[error("the invoice's customer was deleted in Stripe")]
    DeletedCustomer,
    /// Stripe states a status for every finalized or draft invoice.
    #[error("the invoice has no status, or one that is not known")]
    NoStatus,
    /// The creation time is beyond the calendar, or the amount beyond 64 bits of microdollars.
    #[error("{0} is out of range")]
    OutOfRange(&'static str),
}

#[derive(Deserialize)]
struct StripeInvoice {
    id: InvoiceId,
    #[serde(default)]
    deleted: bool,
}

#[derive(Deserialize)]
struct LiveInvoice {
    amount_paid: i64,
    created: Timestamp,
    currency: Currency,
    customer: Option<StripeCustomer>,
    customer_email: Option<String>,
    customer_name: Option<String>,
    status: Option<InvoiceStatus>,
}

/// A customer's id, or the expanded object.
#[derive(Deserialize)]
#[serde(untagged)]
enum StripeCustomer {
    Id(CustomerId),
    Expanded {
        id: CustomerId,
        #[serde(default)]
        deleted: bool,
        name: Option<String>,
        email: Option<String>,
    },
}

/// Reads one invoice object. A deleted invoice (`"deleted": true`) needs only its id.
///
/// # Errors
/// [`InvalidInvoice`], with a reason that names the member.
pub fn parse_stripe_invoice(
    object: &Value,
    org_id: OrgId,
    received_at: TimestampMs,
) -> Result<InvoiceRecord, InvalidInvoice> {
    if let Some(kind) = object.get("object").filter(|kind| *kind != "invoice") {
        return Err(InvalidInvoice::Shape(format!("object is {kind}")));
    }
    let shape = |error: serde_json::Error| InvalidInvoice::Shape(error.to_string());
    let invoice = StripeInvoice::deserialize(object).map_err(shape)?;
    let state = if invoice.deleted {
        None
    } else {
        Some(live_state(LiveInvoice::deserialize(object).map_err(shape)?)?)
    };
    Ok(InvoiceRecord {
        org_id,
        invoice_id: invoice.id.to_string(),
        state,
        received_at,
    })
}

fn live_state(invoice: LiveInvoice) -> Result<InvoiceState, InvalidInvoice> {
    let (id, name, email) = match invoice.customer.ok_or(InvalidInvoice::NoCustomer)? {
        StripeCustomer::Id(id) => (id, None, None),
        StripeCustomer::Expanded { deleted: true, .. } => return Err(InvalidInvoice::DeletedCustomer),
        StripeCustomer::Expanded { id, name, email, .. } => (id, name, email),
    };
    let status = match invoice.status {
        Some(
            status @ (InvoiceStatus::Draft
            | InvoiceStatus::Open
            | InvoiceStatus::Paid
            | InvoiceStatus::Uncollectible
            | InvoiceStatus::Void),
        ) => status.to_string(),
        _ => return Err(InvalidInvoice::NoStatus),
    };
    let created_ms = invoice
        .created
        .checked_mul(1000)
        .filter(|ms| (0..=MAX_CREATED_MS).contains(ms));
    Microdollars::from_cents(invoice.amount_paid).map_err(|_| InvalidInvoice::OutOfRange("amount_paid"))?;
    Ok(InvoiceState {
        stripe_customer_id: id.to_string(),
        customer_name: name.or(invoice.customer_name).unwrap_or_default(),
        customer_email: email.or(invoice.customer_email).unwrap_or_default(),
        status,
        currency: invoice.currency.to_string().to_lowercase(),
        amount_paid: invoice.amount_paid,
        created_at: TimestampMs(created_ms.ok_or(InvalidInvoice::OutOfRange("created"))?),
    })
}

/// The first instant of the year 2200: ClickHouse's calendar ends there.
const MAX_CREATED_MS: i64 = 7_258_118_400_000;

/// One object of a file: its position for people, and what stands there or why it is no JSON.
pub type Document = (String, Result<Value, String>);

/// Splits a file into invoice objects: a JSON list, a Stripe list response (`{"object": "list",
/// "data": [...]}`), one object, or NDJSON. Each comes with its position for people, and with a
/// reason instead of a value where the text is no JSON.
///
/// # Errors
/// A reason, where the text as a whole is none of these.
pub fn split_documents(text: &str) -> Result<Vec<Document>, String> {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Array(items)) => Ok(numbered(items)),
        Ok(Value::Object(mut object)) => match object.remove("data") {
            Some(Value::Array(items)) if object.get("object").is_some_and(|kind| kind == "list") => {
                Ok(numbered(items))
            }
            Some(data) => {
                object.insert("data".to_owned(), data);
                Ok(numbered(vec![Value::Object(object)]))
            }
            None => Ok(numbered(vec![Value::Object(object)])),
        },
        Ok(_) => Err("expected a JSON list, a Stripe list response, or one JSON object a line".to_owned()),
        Err(error) if !text.trim_start().starts_with('{') => Err(format!("not JSON: {error}")),
        Err(_) => Ok(lines(text)),
    }
}

fn numbered(items: Vec<Value>) -> Vec<Document> {
    items
        .into_iter()
        .enumerate()
        .map(|(index, item)| (format!("item {}", index + 1), Ok(item)))
        .collect()
}

fn lines(text: &str) -> Vec<Document> {
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            let value = serde_json::from_str(line).map_err(|error| format!("not JSON: {error}"));
            (format!("line {}", index + 1), value)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn invoice() -> Value {
        json!({"id": "in_1", "object": "invoice", "amount_paid": 4900, "created": 1_775_000_000,
               "currency": "usd", "customer": "cus_1", "customer_name": "Globex", "status": "paid"})
    }

    fn parse(object: &Value) -> Result<InvoiceRecord, InvalidInvoice> {
        parse_stripe_invoice(object, OrgId(uuid::Uuid::nil()), TimestampMs(0))
    }

    #[test]
    fn reads_what_counts() {
        let state = parse(&invoice()).unwrap().state.unwrap();
        assert_eq!(state.revenue(), Ok(Microdollars(49_000_000)));
        assert_eq!(state.period().to_string(), "2026-03");
        assert_eq!(
            (state.stripe_customer_id.as_str(), state.customer_name.as_str()),
            ("cus_1", "Globex")
        );
    }

    #[test]
    fn only_paid_dollars_are_revenue() {
        for (member, value) in [
            ("status", "void"),
            ("status", "open"),
            ("status", "uncollectible"),
            ("currency", "eur"),
        ] {
            let mut object = invoice();
            object[member] = json!(value);
            assert_eq!(
                parse(&object).unwrap().state.unwrap().revenue(),
                Ok(Microdollars(0)),
                "{value}"
            );
        }
    }

    #[test]
    fn takes_ids_expanded_and_deleted_objects() {
        let mut expanded = invoice();
        expanded["customer"] =
            json!({"id": "cus_2", "object": "customer", "name": "Acme", "email": "a@acme.test"});
        let state = parse(&expanded).unwrap().state.unwrap();
        assert_eq!(
            (state.stripe_customer_id.as_str(), state.customer_name.as_str()),
            ("cus_2", "Acme")
        );
        expanded["customer"] = json!({"id": "cus_2", "deleted": true});
        assert_eq!(parse(&expanded), Err(InvalidInvoice::DeletedCustomer));
        assert_eq!(
            parse(&json!({"id": "in_1", "object": "invoice", "deleted": true}))
                .unwrap()
                .state,
            None
        );
    }

    #[test]
    fn names_what_is_wrong() {
        for (member, value, reason) in [
            ("amount_paid", json!("4900"), "amount_paid"),
            ("created", json!(null), "created"),
            ("created", json!(i64::MAX), "created is out of range"),
            ("amount_paid", json!(i64::MAX), "amount_paid is out of range"),
            ("status", json!(null), "no status"),
            ("status", json!("sold"), "no status"),
            ("customer", json!(null), "no customer"),
            ("object", json!("charge"), "charge"),
            ("id", json!(null), "not a Stripe invoice"),
        ] {
            let mut object = invoice();
            object[member] = value;
            let error = parse(&object).unwrap_err().to_string();
            assert!(
                error.contains(reason) || error.contains("invalid type"),
                "{member}: {error}"
            );
        }
    }

    #[test]
    fn splits_every_form() {
        let one = invoice().to_string();
        for (text, count) in [
            (format!("[{one},{one}]"), 2),
            (
                format!(r#"{{"object":"list","data":[{one}],"has_more":false}}"#),
                1,
            ),
            (format!("{one}\n\n{one}\n"), 2),
            (one.clone(), 1),
            ("[]".to_owned(), 0),
        ] {
            assert_eq!(split_documents(&text).unwrap().len(), count, "{text}");
        }
        let mixed = split_documents(&format!("{one}\n{{broken\n{one}")).unwrap();
        assert!(mixed[1].0 == "line 2" && mixed[1].1.is_err() && mixed[2].1.is_ok());
        assert!(split_documents("hello").is_err());
    }
}
