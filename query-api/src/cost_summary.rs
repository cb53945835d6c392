//! Turns sums into the summary (`../spec/cost-events.md` §9): grouped, ranked by cost, capped.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};

use schemas::api::summary::{
    BreakdownSums, CostSummary, DailyCost, KeySummary, ModelSummary, ProviderSummary, SourceSummary,
    SummaryTotals, ToolSummary, TraceSummary,
};
use schemas::id::ApiKeyId;
use schemas::money::round_half_up;

use crate::attribution::Sum;
use crate::queries::summary::{DayRow, KindRow, TraceRow};
use crate::queries::{ReadError, to_amount, to_request_count};

const MAX_MODELS: usize = 100;
const MAX_PROVIDERS: usize = 25;
const MAX_KEYS: usize = 100;
const MAX_TOOLS: usize = 100;
const MAX_SOURCES: usize = 25;
/// The most traces that are shown, and so asked for.
pub(crate) const MAX_TRACES: usize = 25;

/// What the summary is made of.
#[derive(Debug)]
pub(crate) struct SummaryFacts {
    pub(crate) days: Vec<DayRow>,
    pub(crate) kinds: Vec<KindRow>,
    pub(crate) keys: Vec<(Option<ApiKeyId>, Sum)>,
    pub(crate) traces: Vec<TraceRow>,
}

/// Sums of counts and amounts that groups are added up from.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    cost: i128,
    requests: i128,
    input_tokens: i128,
    output_tokens: i128,
    cached_input_tokens: i128,
    reasoning_tokens: i128,
    duration_ms: i128,
    requests_with_duration: i128,
}

impl Sums {
    fn add(&mut self, row: &KindRow) {
        self.cost += row.cost;
        self.requests += row.request_count;
        self.input_tokens += row.input_tokens;
        self.output_tokens += row.output_tokens;
        self.cached_input_tokens += row.cached_input_tokens;
        self.reasoning_tokens += row.reasoning_tokens;
        self.duration_ms += row.duration_ms;
        self.requests_with_duration += row.requests_with_duration;
    }
}

/// Builds the summary of a window. `names` are those of the organization's keys; a key that has none goes
/// by its id.
///
/// # Errors
/// [`ReadError`] where a sum does not fit 64 bits.
pub(crate) fn build_summary(
    facts: SummaryFacts,
    names: &HashMap<ApiKeyId, String>,
    period: &'static str,
) -> Result<CostSummary, ReadError> {
    let kinds = &facts.kinds;
    Ok(CostSummary {
        models: models(kinds)?,
        providers: ranked(kinds, |_| true, |row| &row.provider, MAX_PROVIDERS)
            .map(|(provider, sums)| {
                Ok(ProviderSummary {
                    provider: provider.to_owned(),
                    total_cost_microdollars: to_amount(sums.cost)?,
                    request_count: to_request_count(sums.requests)?,
                })
            })
            .collect::<Result<_, ReadError>>()?,
        keys: keys(facts.keys, names),
        tools: ranked(kinds, |row| row.is_tool, |row| &row.model, MAX_TOOLS)
            .map(|(model, sums)| tool(model, sums))
            .collect::<Result<_, ReadError>>()?,
        sources: ranked(kinds, |_| true, |row| &row.source, MAX_SOURCES)
            .map(|(source, sums)| {
                Ok(SourceSummary {
                    source: source.to_owned(),
                    total_cost_microdollars: to_amount(sums.cost)?,
                    request_count: to_request_count(sums.requests)?,
                })
            })
            .collect::<Result<_, ReadError>>()?,
        traces: facts.traces.into_iter().map(trace).collect::<Result<_, _>>()?,
        totals: SummaryTotals {
            total_cost_microdollars: to_amount(facts.days.iter().map(|day| day.cost).sum())?,
            total_requests: to_request_count(facts.days.iter().map(|day| day.request_count).sum())?,
            period,
        },
        cost_breakdown: BreakdownSums {
            input_cost: to_amount(facts.days.iter().map(|day| day.input_cost).sum())?,
            output_cost: to_amount(facts.days.iter().map(|day| day.output_cost).sum())?,
            cached_cost: to_amount(facts.days.iter().map(|day| day.cached_cost).sum())?,
            reasoning_cost: to_amount(facts.days.iter().map(|day| day.reasoning_cost).sum())?,
        },
        daily: facts.days.into_iter().map(daily).collect::<Result<_, _>>()?,
    })
}

/// Adds the rows that `keep` lets pass up by key, and returns the dearest groups; ties by key ascending.
fn ranked<'r>(
    rows: &'r [KindRow],
    keep: impl Fn(&KindRow) -> bool,
    key: impl Fn(&'r KindRow) -> &'r str,
    max: usize,
) -> impl Iterator<Item = (&'r str, Sums)> {
    let mut groups: BTreeMap<&str, Sums> = BTreeMap::new();
    for row in rows.iter().filter(|row| keep(row)) {
        groups.entry(key(row)).or_default().add(row);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    // Stable: equal costs stay in the order of their keys.
    groups.sort_by_key(|(_, sums)| Reverse(sums.cost));
    groups.into_iter().take(max)
}

fn models(rows: &[KindRow]) -> Result<Vec<ModelSummary>, ReadError> {
    let mut groups: BTreeMap<(&str, &str), Sums> = BTreeMap::new();
    for row in rows {
        groups.entry((&row.provider, &row.model)).or_default().add(row);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, sums)| Reverse(sums.cost));
    let model = |((provider, model), sums): ((&str, &str), Sums)| {
        Ok(ModelSummary {
            provider: provider.to_owned(),
            model: model.to_owned(),
            total_cost_microdollars: to_amount(sums.cost)?,
            request_count: to_request_count(sums.requests)?,
            input_tokens: to_request_count(sums.input_tokens)?,
            output_tokens: to_request_count(sums.output_tokens)?,
            cached_input_tokens: to_request_count(sums.cached_input_tokens)?,
            reasoning_tokens: to_request_count(sums.reasoning_tokens)?,
        })
    };
    groups.into_iter().take(MAX_MODELS).map(model).collect()
}

fn keys(sums: Vec<(Option<ApiKeyId>, Sum)>, names: &HashMap<ApiKeyId, String>) -> Vec<KeySummary> {
    let mut keys: Vec<_> = sums
        .into_iter()
        .filter_map(|(id, sum)| {
            let id = id?;
            Some(KeySummary {
                api_key_id: id,
                key_name: names.get(&id).cloned().unwrap_or_else(|| id.to_string()),
                total_cost_microdollars: sum.cost_microdollars,
                request_count: sum.requests,
            })
        })
        .collect();
    keys.sort_by_key(|key| (Reverse(key.total_cost_microdollars), key.api_key_id));
    keys.truncate(MAX_KEYS);
    keys
}

fn tool(model: &str, sums: Sums) -> Result<ToolSummary, ReadError> {
    let average = match sums.requests_with_duration {
        0 => 0,
        with_duration => round_half_up(sums.duration_ms, with_duration),
    };
    Ok(ToolSummary {
        model: model.to_owned(),
        total_cost_microdollars: to_amount(sums.cost)?,
        request_count: to_request_count(sums.requests)?,
        avg_duration_ms: to_request_count(average)?,
    })
}

fn trace(row: TraceRow) -> Result<TraceSummary, ReadError> {
    Ok(TraceSummary {
        trace_id: row.trace_id,
        total_cost_microdollars: to_amount(row.cost)?,
        request_count: to_request_count(row.request_count)?,
    })
}

fn daily(row: DayRow) -> Result<DailyCost, ReadError> {
    Ok(DailyCost {
        date: row.day,
        total_cost_microdollars: to_amount(row.cost)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(provider: &str, model: &str, source: &str, is_tool: bool, cost: i128) -> KindRow {
        KindRow {
            provider: provider.into(),
            model: model.into(),
            source: source.into(),
            is_tool,
            cost,
            request_count: 2,
            input_tokens: 10,
            output_tokens: 0,
            cached_input_tokens: 0,
            reasoning_tokens: 0,
            duration_ms: 5,
            requests_with_duration: 2,
        }
    }

    fn facts(kinds: Vec<KindRow>) -> SummaryFacts {
        SummaryFacts {
            days: Vec::new(),
            kinds,
            keys: Vec::new(),
            traces: Vec::new(),
        }
    }

    #[test]
    fn groups_are_added_up_over_what_they_do_not_name() {
        let rows = vec![
            kind("openai", "m", "api", false, 5),
            kind("openai", "m", "proxy", false, 6),
            kind("mcp", "search", "api", true, 30),
        ];
        let summary = build_summary(facts(rows), &HashMap::new(), "7d").unwrap();
        let models: Vec<_> = summary
            .models
            .iter()
            .map(|model| {
                (
                    model.model.as_str(),
                    model.total_cost_microdollars,
                    model.input_tokens,
                )
            })
            .collect();
        assert_eq!(models, [("search", 30, 10), ("m", 11, 20)]);
        assert_eq!(summary.providers[1].request_count, 4);
        let tools: Vec<_> = summary
            .tools
            .iter()
            .map(|tool| (&*tool.model, tool.avg_duration_ms))
            .collect();
        assert_eq!(tools, [("search", 3)], "5 ms over 2 calls, half up");
        let sources: Vec<_> = summary.sources.iter().map(|source| &*source.source).collect();
        assert_eq!(sources, ["api", "proxy"]);
    }

    #[test]
    fn equal_costs_are_in_the_order_of_their_keys_and_lists_are_capped() {
        let rows = (0..130)
            .map(|n| kind(&format!("p{:03}", 129 - n), "m", "api", true, 7))
            .collect();
        let summary = build_summary(facts(rows), &HashMap::new(), "7d").unwrap();
        assert_eq!((summary.models.len(), summary.providers.len()), (100, 25));
        assert_eq!(summary.providers[0].provider, "p000");
        assert_eq!(summary.models[99].provider, "p099");
    }

    #[test]
    fn nothing_is_zeros_and_empty_lists() {
        let summary = build_summary(facts(Vec::new()), &HashMap::new(), "30d").unwrap();
        let totals = SummaryTotals {
            period: "30d",
            ..SummaryTotals::default()
        };
        assert_eq!(
            summary,
            CostSummary {
                totals,
                ..CostSummary::default()
            }
        );
    }

    #[test]
    fn a_sum_beyond_64_bits_is_an_error() {
        let rows = vec![
            kind("a", "m", "api", false, i128::from(i64::MAX)),
            kind("a", "n", "api", false, 1),
        ];
        assert!(build_summary(facts(rows), &HashMap::new(), "7d").is_err());
    }
}
