//! Rows of the invoice tables, and the changes that revenue is rolled up from.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, UInt64Array};
use schemas::arrow::UuidBuilder;
use schemas::invoice::InvoiceState;

use super::{PriorState, Versioned};
use crate::error::ProcessorError;
use crate::plan::{table, texts, times};

/// The status in `invoice_states` of an invoice that was deleted.
const DELETED: &str = "deleted";

/// Rows of `invoice_states`.
pub(super) fn states(states: &[Versioned]) -> Result<RecordBatch, ProcessorError> {
    let text = |of: fn(&InvoiceState) -> &str, deleted: &'static str| {
        texts(
            states
                .iter()
                .map(move |state| state.record.state.as_ref().map_or(deleted, of)),
        )
    };
    let number = |of: fn(&InvoiceState) -> i64| -> ArrayRef {
        let values = states
            .iter()
            .map(|state| state.record.state.as_ref().map_or(0, of));
        Arc::new(Int64Array::from_iter_values(values))
    };
    let revenue = states.iter().map(revenue).collect::<Result<Vec<_>, _>>()?;
    let created = states
        .iter()
        .map(|state| state.record.state.as_ref().map_or(0, |s| s.created_at.0));
    Ok(table(vec![
        ("org_id", org_ids(states)),
        (
            "invoice_id",
            texts(states.iter().map(|state| &*state.record.invoice_id)),
        ),
        ("stripe_customer_id", text(|state| &state.stripe_customer_id, "")),
        ("customer_name", text(|state| &state.customer_name, "")),
        ("customer_email", text(|state| &state.customer_email, "")),
        ("status", text(|state| &state.status, DELETED)),
        ("currency", text(|state| &state.currency, "")),
        ("amount_paid", number(|state| state.amount_paid)),
        ("revenue_microdollars", Arc::new(Int64Array::from(revenue))),
        ("created_at", times(created)),
        (
            "received_at",
            times(states.iter().map(|state| state.record.received_at.0)),
        ),
        ("version", versions(states.iter())),
    ])?)
}

/// Rows of `stripe_customer_names`: of the states that count, since a name comes with revenue.
pub(super) fn names(states: &[Versioned]) -> Result<RecordBatch, ProcessorError> {
    let counting: Vec<(&Versioned, &InvoiceState)> = states
        .iter()
        .filter_map(|state| Some((state, state.record.state.as_ref()?)))
        .filter(|(_, state)| state.counts())
        .collect();
    let mut orgs = UuidBuilder::with_capacity(counting.len());
    counting
        .iter()
        .for_each(|(state, _)| orgs.append(state.record.org_id.0));
    Ok(table(vec![
        ("org_id", Arc::new(orgs.finish())),
        (
            "stripe_customer_id",
            texts(counting.iter().map(|(_, state)| &*state.stripe_customer_id)),
        ),
        (
            "month",
            times(
                counting
                    .iter()
                    .map(|(_, state)| state.period().start().timestamp_millis()),
            ),
        ),
        (
            "customer_name",
            texts(counting.iter().map(|(_, state)| &*state.customer_name)),
        ),
        (
            "customer_email",
            texts(counting.iter().map(|(_, state)| &*state.customer_email)),
        ),
        ("version", versions(counting.iter().map(|(state, _)| *state))),
    ])?)
}

/// The input of roll-up `revenue_by_month`: new states as they are, prior ones negated.
pub(super) fn changes(states: &[Versioned], prior: &[PriorState]) -> Result<RecordBatch, ProcessorError> {
    let mut orgs = UuidBuilder::with_capacity(states.len() + prior.len());
    let (mut customers, mut created) = (Vec::new(), Vec::new());
    let (mut amounts, mut counts) = (Vec::new(), Vec::new());
    for versioned in states {
        let Some(state) = versioned.record.state.as_ref().filter(|state| state.counts()) else {
            continue;
        };
        orgs.append(versioned.record.org_id.0);
        customers.push(&*state.stripe_customer_id);
        created.push(state.created_at.0);
        amounts.push(revenue(versioned)?);
        counts.push(1);
    }
    for state in prior
        .iter()
        .filter(|state| state.status == "paid" && state.currency == "usd")
    {
        orgs.append(state.org_id);
        customers.push(&*state.stripe_customer_id);
        created.push(state.created_at);
        amounts.push(
            state
                .revenue_microdollars
                .checked_neg()
                .ok_or(ProcessorError::Overflow)?,
        );
        counts.push(-1);
    }
    Ok(table(vec![
        ("org_id", Arc::new(orgs.finish())),
        ("stripe_customer_id", texts(customers)),
        ("created_at", times(created)),
        ("revenue_microdollars", Arc::new(Int64Array::from(amounts))),
        ("invoices", Arc::new(Int64Array::from(counts))),
    ])?)
}

fn revenue(state: &Versioned) -> Result<i64, ProcessorError> {
    let revenue = state
        .record
        .state
        .as_ref()
        .map_or(Ok(schemas::money::Microdollars::ZERO), InvoiceState::revenue);
    revenue
        .map(|amount| amount.0)
        .map_err(|_| ProcessorError::Overflow)
}

fn org_ids(states: &[Versioned]) -> ArrayRef {
    let mut column = UuidBuilder::with_capacity(states.len());
    states
        .iter()
        .for_each(|state| column.append(state.record.org_id.0));
    Arc::new(column.finish())
}

fn versions<'a>(states: impl Iterator<Item = &'a Versioned>) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(states.map(|state| state.version)))
}
