//! From what a sender states to what is stored: identity, tags, customer, times.

use std::borrow::Cow;

use uuid::Uuid;

use super::wire::{Text, is_trace_id};
use super::{CostEvent, Source, WireEvent};
use crate::id::{ApiKeyId, EventId, OrgId};
use crate::reject::Issue;
use crate::tags::{self, Tags};
use crate::time::TimestampMs;

/// How far ahead of our clock an event may be dated (spec decision 2).
const MAX_AHEAD_MS: i64 = 5 * 60 * 1000;
/// How far back an event may be dated (spec decision 2).
const MAX_BACK_MS: i64 = 400 * 24 * 60 * 60 * 1000;

/// Who sent an event, and when it came.
#[derive(Debug, Clone, Copy)]
pub struct Receipt<'a> {
    /// The tenant of the key.
    pub org_id: OrgId,
    /// The key.
    pub api_key_id: ApiKeyId,
    /// The key's default tags; an event's own win.
    pub default_tags: &'a Tags,
    /// Our clock.
    pub received_at: TimestampMs,
}

/// What request headers add where a body is silent (`../spec/cost-events.md` §3, OPEN-E28).
/// Only single ingest honours them.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `Idempotency-Key`: wins over the body's.
    pub request_id: Option<String>,
    /// `X-NullSpend-Tags`, already reduced to valid ones; the body's win.
    pub tags: Tags,
    /// `X-NullSpend-Customer`.
    pub customer: Option<String>,
    /// `X-NullSpend-Session`.
    pub session_id: Option<String>,
    /// `traceparent` or `X-NullSpend-Trace-Id`; ignored unless 32 lower-case hex digits.
    pub trace_id: Option<String>,
}

impl<'a> WireEvent<'a> {
    /// Completes the event. Generates a request id where the sender gave none.
    ///
    /// # Errors
    /// The issues of a timestamp that is malformed, more than 5 minutes ahead or more than 400
    /// days back.
    pub fn resolve(self, receipt: &Receipt<'_>, overrides: &Overrides) -> Result<CostEvent<'a>, Vec<Issue>> {
        let created_at = created_at(self.timestamp.as_ref(), receipt.received_at)?;
        let request_id = match &overrides.request_id {
            Some(key) => Cow::Owned(key.clone()),
            None if self.idempotency_key.is_empty() => Cow::Owned(format!("sdk_{}", Uuid::new_v4())),
            None => self.idempotency_key.0,
        };
        let stated = self
            .customer
            .map(|text| text.0)
            .or_else(|| overrides.customer.clone().map(Cow::Owned));
        let mut tags: Vec<_> = self
            .tags
            .0
            .into_iter()
            .map(|(key, value)| (key.0, value.0))
            .collect();
        fill_tags(&mut tags, &overrides.tags);
        fill_tags(&mut tags, receipt.default_tags);
        let customer_id = stated.unwrap_or_else(|| tag(&tags, tags::CUSTOMER));
        set_customer_tag(&mut tags, customer_id.clone());
        tags.sort_unstable();
        let trace_id = self.trace_id.map(|text| text.0);
        let header_trace = || {
            overrides
                .trace_id
                .clone()
                .filter(|trace| is_trace_id(trace))
                .map(Cow::Owned)
        };
        Ok(CostEvent {
            event_id: EventId::derive(receipt.org_id, &request_id, &self.provider),
            request_id,
            org_id: receipt.org_id,
            api_key_id: Some(receipt.api_key_id),
            provider: self.provider.0,
            model: self.model.0,
            event_type: self.event_type,
            source: Source::Api,
            input_tokens: self.input_tokens.0,
            output_tokens: self.output_tokens.0,
            cached_input_tokens: self.cached_input_tokens.0,
            reasoning_tokens: self.reasoning_tokens.0,
            cost_microdollars: self.cost_microdollars.0,
            cost_breakdown: self.cost_breakdown.map(super::wire::WireBreakdown::to_parts),
            duration_ms: self.duration_ms.map(|value| value.0),
            session_id: non_empty(self.session_id.0)
                .or_else(|| overrides.session_id.clone().map(Cow::Owned))
                .unwrap_or_default(),
            trace_id: trace_id.or_else(header_trace).unwrap_or_default(),
            tool_name: self.tool_name.0,
            tool_server: self.tool_server.0,
            customer_id,
            tags,
            created_at,
            received_at: receipt.received_at,
        })
    }
}

fn created_at(timestamp: Option<&Text<'_>>, received_at: TimestampMs) -> Result<TimestampMs, Vec<Issue>> {
    let Some(text) = timestamp else {
        return Ok(received_at);
    };
    let issue = |message: &str| vec![Issue::at("timestamp", message)];
    let at = TimestampMs::parse_z(text).ok_or_else(|| issue("Expected a UTC timestamp (RFC 3339 with Z)"))?;
    if at.0 > received_at.0 + MAX_AHEAD_MS {
        return Err(issue("Timestamp must be at most 5 minutes ahead"));
    }
    if at.0 < received_at.0 - MAX_BACK_MS {
        return Err(issue("Timestamp must be at most 400 days back"));
    }
    Ok(at)
}

fn non_empty(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    (!text.is_empty()).then_some(text)
}

fn tag<'a>(tags: &[(Cow<'a, str>, Cow<'a, str>)], key: &str) -> Cow<'a, str> {
    tags.iter()
        .find(|(known, _)| known == key)
        .map(|(_, value)| value.clone())
        .unwrap_or_default()
}

/// Adds tags whose keys are missing, up to the limit.
fn fill_tags(tags: &mut Vec<(Cow<'_, str>, Cow<'_, str>)>, defaults: &Tags) {
    for (key, value) in defaults {
        if tags.len() >= tags::MAX_TAGS {
            return;
        }
        if !tags.iter().any(|(known, _)| known == key) {
            tags.push((Cow::Owned(key.clone()), Cow::Owned(value.clone())));
        }
    }
}

/// Mirrors the customer into the tags, as an eleventh tag if need be (OPEN-E25).
fn set_customer_tag<'a>(tags: &mut Vec<(Cow<'a, str>, Cow<'a, str>)>, customer: Cow<'a, str>) {
    if customer.is_empty() {
        return;
    }
    match tags.iter_mut().find(|(known, _)| known == tags::CUSTOMER) {
        Some(slot) => slot.1 = customer,
        None => tags.push((Cow::Borrowed(tags::CUSTOMER), customer)),
    }
}
