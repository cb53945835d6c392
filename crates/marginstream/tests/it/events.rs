//! Generated events: the same seed yields the same ones.

use serde_json::{Value, json};

/// A small generator of numbers (SplitMix64), so that tests need no crate for it.
pub(crate) struct Numbers(pub(crate) u64);

impl Numbers {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Returns event `index` of a run.
pub(crate) fn event(run: &str, index: u64) -> Value {
    let mut numbers = Numbers(index.wrapping_mul(77) ^ run.len() as u64);
    let customer = format!("customer-{:03}", numbers.below(40));
    let model = ["gpt-4o", "gpt-4o-mini", "claude-sonnet-4-5"][numbers.below(3) as usize];
    json!({
        "idempotencyKey": format!("{run}-{index}"),
        "provider": if model.starts_with("gpt") { "openai" } else { "anthropic" },
        "model": model,
        "eventType": "llm",
        "inputTokens": numbers.below(9_000),
        "outputTokens": numbers.below(900),
        "costMicrodollars": numbers.below(2_000_000),
        "durationMs": numbers.below(5_000),
        "customer": customer,
        "sessionId": format!("session-{}", numbers.below(500)),
        "tags": {"team": format!("team-{}", numbers.below(7)), "env": if numbers.below(5) == 0 { "staging" } else { "prod" }},
    })
}

/// Returns events as NDJSON.
pub(crate) fn lines<'a>(events: impl IntoIterator<Item = &'a Value>) -> Vec<u8> {
    events
        .into_iter()
        .flat_map(|event| format!("{event}\n").into_bytes())
        .collect()
}
