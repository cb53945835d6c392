//! The cost event: what a sender states ([`WireEvent`]), and what is stored ([`CostEvent`]).

mod resolve;
mod wire;

use std::borrow::Cow;
use std::hash::Hasher;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use twox_hash::XxHash3_64;

pub use resolve::{Overrides, Receipt};
pub use wire::{InvalidEvent, WireEvent};

use crate::id::{ApiKeyId, EventId, OrgId};
use crate::money::Microdollars;
use crate::time::TimestampMs;

/// What kind of work an event paid for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum EventType {
    /// A call of a language model.
    Llm,
    /// A call of a tool.
    Tool,
    /// Anything else.
    #[default]
    Custom,
}

impl EventType {
    /// The name on the wire and in storage.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Llm => "llm",
            Self::Tool => "tool",
            Self::Custom => "custom",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Llm, Self::Tool, Self::Custom]
            .into_iter()
            .find(|kind| kind.as_str() == text)
    }
}

/// How an event came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The LLM gateway.
    Proxy,
    /// The HTTP API.
    Api,
    /// The MCP server.
    Mcp,
}

impl Source {
    /// The name on the wire and in storage.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proxy => "proxy",
            Self::Api => "api",
            Self::Mcp => "mcp",
        }
    }

    pub(crate) fn parse(text: &str) -> Option<Self> {
        [Self::Proxy, Self::Api, Self::Mcp]
            .into_iter()
            .find(|source| source.as_str() == text)
    }
}

/// Parts of an event's cost, in microdollars, as the sender stated them; negative parts are
/// credits, and nothing makes them add up to the cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CostBreakdown {
    /// Cost of input tokens.
    #[schemars(range(min = i64::MIN, max = i64::MAX))]
    pub input: i64,
    /// Cost of output tokens.
    #[schemars(range(min = i64::MIN, max = i64::MAX))]
    pub output: i64,
    /// Cost of cached input tokens.
    #[schemars(range(min = i64::MIN, max = i64::MAX))]
    pub cached: i64,
    /// Cost of reasoning tokens, where stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = i64::MIN, max = i64::MAX))]
    pub reasoning: Option<i64>,
    /// Cost of tool definitions, where stated.
    #[serde(default, rename = "toolDefinition", skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = i64::MIN, max = i64::MAX))]
    pub tool_definition: Option<i64>,
}

/// Tags in the order of their keys.
pub type TagPairs<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// A validated event with its identity, tenant and times; the row of table `cost_events`.
///
/// Token counts and the cost are in `[0, 2^53)`; the cost is in microdollars. Empty texts mean
/// "none" in `session_id`, `trace_id`, `tool_name`, `tool_server` and `customer_id`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CostEvent<'a> {
    /// Derived from organization, request id and provider, as `docs/records.md` says.
    pub event_id: EventId,
    /// The sender's idempotency key, else `sdk_<uuid>`.
    pub request_id: Cow<'a, str>,
    /// The tenant.
    pub org_id: OrgId,
    /// The key that sent it.
    pub api_key_id: Option<ApiKeyId>,
    /// Free text, for example `openai`.
    pub provider: Cow<'a, str>,
    /// Free text, for example `gpt-4o`.
    pub model: Cow<'a, str>,
    /// Kind of work.
    pub event_type: EventType,
    /// How it came in.
    pub source: Source,
    /// All input tokens.
    #[schemars(range(min = 0, max = Microdollars::MAX_WIRE))]
    pub input_tokens: i64,
    /// All output tokens.
    #[schemars(range(min = 0, max = Microdollars::MAX_WIRE))]
    pub output_tokens: i64,
    /// The cached ones among the input tokens.
    #[schemars(range(min = 0, max = Microdollars::MAX_WIRE))]
    pub cached_input_tokens: i64,
    /// The reasoning ones among the output tokens.
    #[schemars(range(min = 0, max = Microdollars::MAX_WIRE))]
    pub reasoning_tokens: i64,
    /// The cost, as sent.
    #[schemars(range(min = 0, max = Microdollars::MAX_WIRE))]
    pub cost_microdollars: i64,
    /// Parts of the cost, where stated.
    pub cost_breakdown: Option<CostBreakdown>,
    /// How long the work took, in milliseconds, where stated.
    #[schemars(range(min = 0, max = Microdollars::MAX_WIRE))]
    pub duration_ms: Option<i64>,
    /// Groups events of one session.
    pub session_id: Cow<'a, str>,
    /// 32 lower-case hex digits; not checked here.
    pub trace_id: Cow<'a, str>,
    /// The tool's name.
    pub tool_name: Cow<'a, str>,
    /// The tool's server.
    pub tool_server: Cow<'a, str>,
    /// The customer that caused the cost.
    pub customer_id: Cow<'a, str>,
    /// Pairs of key and value, sorted by the key's bytes; keys are unique. Holds `customer` wherever `customer_id` is known.
    #[schemars(extend("uniqueItems" = true))]
    pub tags: TagPairs<'a>,
    /// Event time: decides the period.
    pub created_at: TimestampMs,
    /// Our clock at receipt.
    pub received_at: TimestampMs,
}

impl CostEvent<'_> {
    /// Returns a fingerprint of what the sender stated, to tell a retry from a second event under
    /// the same key. Times of receipt and the API key are not part of it. Stored, so it is stable.
    #[must_use]
    pub fn content_hash(&self) -> u64 {
        let mut hash = XxHash3_64::with_seed(0);
        for text in [
            &self.model,
            &self.session_id,
            &self.trace_id,
            &self.tool_name,
            &self.tool_server,
            &self.customer_id,
        ] {
            hash_text(&mut hash, text);
        }
        hash_text(&mut hash, self.event_type.as_str());
        for number in [
            self.input_tokens,
            self.output_tokens,
            self.cached_input_tokens,
            self.reasoning_tokens,
            self.cost_microdollars,
            self.duration_ms.unwrap_or(-1),
        ] {
            hash.write(&number.to_le_bytes());
        }
        if let Some(parts) = &self.cost_breakdown {
            for part in [
                Some(parts.input),
                Some(parts.output),
                Some(parts.cached),
                parts.reasoning,
                parts.tool_definition,
            ] {
                hash.write(&[u8::from(part.is_some())]);
                hash.write(&part.unwrap_or(0).to_le_bytes());
            }
        }
        for (key, value) in &self.tags {
            hash_text(&mut hash, key);
            hash_text(&mut hash, value);
        }
        hash.finish()
    }

    /// True where the cost is an estimate.
    #[must_use]
    pub fn is_estimated(&self) -> bool {
        self.tags
            .iter()
            .any(|(key, value)| key == crate::tags::ESTIMATED && value == "true")
    }
}

/// The length keeps neighbouring texts apart.
fn hash_text(hash: &mut XxHash3_64, text: &str) {
    hash.write(&(text.len() as u64).to_le_bytes());
    hash.write(text.as_bytes());
}

#[cfg(test)]
mod tests;
