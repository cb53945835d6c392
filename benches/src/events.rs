//! Cost events as a sender writes them, about 350 bytes of JSON each: the shape of a real trace of
//! LLM requests, with customers, models and teams that follow skewed distributions.

use std::fmt::Write as _;

use crate::random::Random;

/// Provider, model, and prices of a million input and output tokens, in microdollars.
const MODELS: [(&str, &str, u64, u64); 7] = [
    ("openai", "gpt-4o-mini", 150_000, 600_000),
    ("openai", "gpt-4o", 2_500_000, 10_000_000),
    ("anthropic", "claude-sonnet-4-5", 3_000_000, 15_000_000),
    ("google", "gemini-2.5-flash", 300_000, 2_500_000),
    ("anthropic", "claude-haiku-4-5", 1_000_000, 5_000_000),
    ("openai", "gpt-5", 1_250_000, 10_000_000),
    ("anthropic", "claude-opus-4-5", 5_000_000, 25_000_000),
];
const NUM_TEAMS: u64 = 12;
/// Events of one session.
const SESSION_EVENTS: u64 = 50;
/// An event takes about this many bytes, its line end included.
const TYPICAL_BYTES: usize = 360;

/// Which customer causes an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// A few customers cause most events, roughly Zipf.
    Skewed,
    /// Customers take turns, so that each has its share.
    Even,
}

/// What to generate.
#[derive(Debug, Clone, Copy)]
pub struct EventSpec {
    /// The same seed gives the same events; part of every key.
    pub seed: u64,
    /// How many, in all.
    pub num_events: u64,
    /// How many customers they are spread over, at least 1.
    pub num_customers: u64,
    /// How they are spread.
    pub spread: Spread,
}

/// NDJSON and what a server must have counted once it took it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lines {
    /// One JSON object a line, each line ended.
    pub bytes: Vec<u8>,
    /// What the events add up to.
    pub totals: Totals,
}

/// Sums over distinct events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Number of events.
    pub num_events: u64,
    /// Sum of costs, in microdollars.
    pub cost_microdollars: u64,
}

impl Totals {
    /// Adds `other`.
    pub const fn add(&mut self, other: Self) {
        self.num_events += other.num_events;
        self.cost_microdollars += other.cost_microdollars;
    }
}

/// Returns the name of customer `index`, as events and mappings carry it.
#[must_use]
pub fn customer_name(index: u64) -> String {
    format!("customer-{index:05}")
}

/// Generates all events of `spec`.
#[must_use]
pub fn generate(spec: EventSpec) -> Lines {
    let mut random = Random::new(spec.seed);
    let capacity = usize::try_from(spec.num_events).unwrap_or(0) * TYPICAL_BYTES;
    let mut text = String::with_capacity(capacity);
    let mut totals = Totals::default();
    for index in 0..spec.num_events {
        totals.num_events += 1;
        totals.cost_microdollars += append_event(&mut text, &mut random, spec, index);
    }
    Lines {
        bytes: text.into_bytes(),
        totals,
    }
}

/// Appends a line and returns the event's cost, in microdollars.
fn append_event(text: &mut String, random: &mut Random, spec: EventSpec, index: u64) -> u64 {
    let (provider, model, input_price, output_price) =
        MODELS[random.skewed_below(MODELS.len() as u64) as usize];
    let (input, output) = (100 + random.skewed_below(8_000), 1 + random.skewed_below(1_500));
    let (input_cost, output_cost) = (price(input_price, input), price(output_price, output));
    let cost = input_cost + output_cost;
    let customer = customer_name(match spec.spread {
        Spread::Skewed => random.skewed_below(spec.num_customers),
        Spread::Even => index % spec.num_customers.max(1),
    });
    let (duration_ms, session) = (200 + 12 * output, index / SESSION_EVENTS);
    let team = random.skewed_below(NUM_TEAMS);
    let service = if index.is_multiple_of(3) { "code" } else { "conv" };
    let env = if index.is_multiple_of(10) {
        "staging"
    } else {
        "prod"
    };
    let seed = spec.seed;
    let written = writeln!(
        text,
        r#"{{"idempotencyKey":"load-{seed}-{index}","provider":"{provider}","model":"{model}","eventType":"llm","inputTokens":{input},"outputTokens":{output},"costMicrodollars":{cost},"costBreakdown":{{"input":{input_cost},"output":{output_cost},"cached":0}},"durationMs":{duration_ms},"customer":"{customer}","sessionId":"{customer}-{session}","tags":{{"service":"{service}","team":"team-{team}","env":"{env}"}}}}"#
    );
    debug_assert!(written.is_ok(), "a string takes all that is written");
    cost
}

/// Returns the cost of `tokens` at `rate` microdollars a million, rounded half up.
const fn price(rate: u64, tokens: u64) -> u64 {
    (rate * tokens + 500_000) / 1_000_000
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn spec(seed: u64, spread: Spread) -> EventSpec {
        EventSpec {
            seed,
            num_events: 500,
            num_customers: 20,
            spread,
        }
    }

    fn parse(lines: &Lines) -> Vec<Value> {
        let lines = lines.bytes.split(|byte| *byte == b'\n');
        lines
            .filter(|line| !line.is_empty())
            .map(|line| serde_json::from_slice(line).unwrap())
            .collect()
    }

    #[test]
    fn totals_are_those_of_the_lines() {
        let lines = generate(spec(7, Spread::Skewed));
        let events = parse(&lines);
        let cost: u64 = events
            .iter()
            .map(|event| event["costMicrodollars"].as_u64().unwrap())
            .sum();
        assert_eq!(
            lines.totals,
            Totals {
                num_events: 500,
                cost_microdollars: cost
            }
        );
        assert_eq!(events.len(), 500);
        assert!((300..400).contains(&(lines.bytes.len() / events.len())));
    }

    #[test]
    fn the_same_seed_gives_the_same_events() {
        assert_eq!(
            generate(spec(7, Spread::Skewed)),
            generate(spec(7, Spread::Skewed))
        );
        assert_ne!(
            generate(spec(7, Spread::Skewed)),
            generate(spec(8, Spread::Skewed))
        );
    }

    #[test]
    fn an_even_spread_reaches_every_customer() {
        let events = parse(&generate(spec(7, Spread::Even)));
        let customers: std::collections::BTreeSet<_> =
            events.iter().map(|event| event["customer"].to_string()).collect();
        assert_eq!(customers.len(), 20);
    }
}
