//! Invented customers, models and features.

/// Names of the demo's customers; no such companies are meant.
pub(super) const CUSTOMERS: [&str; 40] = [
    "Aldergrove Analytics",
    "Bluefin Logistics",
    "Brightwell Health",
    "Cascade Legal",
    "Cedar & Finch",
    "Cobalt Robotics",
    "Copperline Energy",
    "Driftwood Travel",
    "Eastgate Insurance",
    "Ember Studios",
    "Fernhill Education",
    "Foxglove Retail",
    "Granite Mutual",
    "Harbourside Foods",
    "Hazelnut Games",
    "Helios Freight",
    "Ironbridge Capital",
    "Juniper Dental",
    "Kestrel Aviation",
    "Lakeshore Realty",
    "Lantern Media",
    "Larkspur Bank",
    "Maple Grid",
    "Meridian Pharma",
    "Millstone Steel",
    "Nightingale Care",
    "Northwind Outfitters",
    "Oakline Homes",
    "Orchard Payments",
    "Peregrine Security",
    "Pinecrest Schools",
    "Quarry Digital",
    "Redwater Mining",
    "Saffron Kitchens",
    "Silverbirch HR",
    "Tidepool Labs",
    "Umbra Fashion",
    "Verdant Farms",
    "Westmark Telecom",
    "Zephyr Mobility",
];

/// A model and what a token of it costs, in nanodollars (1 microdollar = 1,000).
#[derive(Debug, Clone, Copy)]
pub(super) struct Model {
    pub(super) provider: &'static str,
    pub(super) name: &'static str,
    pub(super) input_nanodollars: u64,
    pub(super) output_nanodollars: u64,
}

const fn model(
    provider: &'static str,
    name: &'static str,
    input_nanodollars: u64,
    output_nanodollars: u64,
) -> Model {
    Model {
        provider,
        name,
        input_nanodollars,
        output_nanodollars,
    }
}

pub(super) const MODELS: [Model; 6] = [
    model("anthropic", "claude-sonnet-4-5", 3_000, 15_000),
    model("anthropic", "claude-haiku-4-5", 1_000, 5_000),
    model("anthropic", "claude-opus-4-1", 15_000, 75_000),
    model("openai", "gpt-4o", 2_500, 10_000),
    model("openai", "gpt-4o-mini", 150, 600),
    model("google", "gemini-2.5-flash", 300, 2_500),
];

pub(super) const TOOLS: [&str; 3] = ["web-search", "document-ocr", "code-sandbox"];
pub(super) const FEATURES: [&str; 5] = [
    "support-agent",
    "research-agent",
    "doc-summaries",
    "code-review",
    "onboarding",
];
pub(super) const TEAMS: [&str; 3] = ["core", "growth", "enterprise"];

/// Monthly prices, in cents.
pub(super) const PRICES: [i64; 6] = [4_900, 19_900, 49_900, 99_900, 199_900, 490_000];

/// Returns the name as a tag value: `cedar-finch`.
pub(super) fn tag_of(name: &str) -> String {
    let lower = name.to_lowercase();
    let words = lower
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}
