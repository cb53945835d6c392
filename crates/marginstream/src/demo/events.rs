//! The cost events of a season, one by one.

use chrono::Duration;
use schemas::period::Period;
use schemas::time::TimestampMs;
use serde::Serialize;

use super::names::{FEATURES, MODELS, TEAMS, TOOLS};
use super::random::Random;
use super::season::{Season, Spend};

/// Share of events that use the customer's main model, in percent.
const MAIN_MODEL_PERCENT: u64 = 70;
const TOOL_PERCENT: u64 = 8;
const SECS_PER_DAY: u64 = 86_400;

/// One event as `POST /api/cost-events/stream` takes it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event<'a> {
    idempotency_key: String,
    timestamp: TimestampMs,
    provider: &'static str,
    model: &'static str,
    event_type: &'static str,
    input_tokens: u64,
    output_tokens: u64,
    cached_input_tokens: u64,
    pub(super) cost_microdollars: u64,
    duration_ms: u64,
    session_id: String,
    customer: &'a str,
    tags: EventTags,
}

#[derive(Debug, Serialize)]
struct EventTags {
    env: &'static str,
    feature: &'static str,
    team: &'static str,
}

/// The events of one customer's month.
pub(super) fn events_of<'a>(
    season: &'a Season,
    spend: &'a Spend,
    seed: u64,
) -> impl Iterator<Item = Event<'a>> + use<'a> {
    let first_day = u64::try_from(spend.period.first_day().to_epoch_days()).unwrap_or(0);
    // One stream of numbers for each customer and month, so that their order does not matter.
    let stream = (spend.customer as u64) << 32 | first_day;
    let mut random = Random::new(Random::new(seed ^ stream).next());
    let average = spend.target / spend.num_events.max(1);
    (0..spend.num_events).map(move |number| {
        // Few events are dear, most are cheap; the mean is about the average.
        let weight = random.range(5, 150) * random.range(20, 238);
        let cost = (average * weight / 10_000).max(1);
        let key = format!("demo-{seed}-{}-{}-{number}", spend.customer, spend.period);
        event(season, spend, key, cost, &mut random)
    })
}

fn event<'a>(season: &'a Season, spend: &Spend, key: String, cost: u64, random: &mut Random) -> Event<'a> {
    let customer = &season.customers[spend.customer];
    let session = random.range(0, 1 + spend.num_events / 6);
    let mut event = Event {
        idempotency_key: key,
        timestamp: instant(season, spend.period, random),
        provider: "mcp",
        model: random.pick(&TOOLS),
        event_type: "tool",
        input_tokens: 0,
        output_tokens: 0,
        cached_input_tokens: 0,
        cost_microdollars: cost,
        duration_ms: random.range(80, 4_000),
        session_id: format!("{}-{}-{session}", customer.tag, spend.period),
        customer: &customer.tag,
        tags: EventTags {
            env: if random.chance(88) { "prod" } else { "staging" },
            feature: random.pick(&FEATURES),
            team: random.pick(&TEAMS),
        },
    };
    if !random.chance(TOOL_PERCENT) {
        let main = MODELS[customer.main_model];
        let model = if random.chance(MAIN_MODEL_PERCENT) {
            main
        } else {
            random.pick(&MODELS)
        };
        // Tokens first, then their price: the two always agree.
        let input_percent = random.range(45, 80);
        event.input_tokens = cost * 10 * input_percent / model.input_nanodollars;
        event.output_tokens = cost * 10 * (100 - input_percent) / model.output_nanodollars;
        event.cached_input_tokens = event.input_tokens * random.range(0, 40) / 100;
        let nanodollars =
            event.input_tokens * model.input_nanodollars + event.output_tokens * model.output_nanodollars;
        event.cost_microdollars = nanodollars / 1_000;
        (event.provider, event.model, event.event_type) = (model.provider, model.name, "llm");
        event.duration_ms = 300 + event.output_tokens.min(20_000) * random.range(8, 20);
    }
    event
}

/// Returns an instant of the month that has passed, more often on workdays and by day.
fn instant(season: &Season, period: Period, random: &mut Random) -> TimestampMs {
    let total_secs = (period.next().start() - period.start()).num_seconds();
    let past_secs = (season.now - period.start()).num_seconds().clamp(1, total_secs);
    let days = (past_secs as u64).div_ceil(SECS_PER_DAY);
    let mut day = random.range(0, days);
    let first_weekday = chrono::Datelike::weekday(&period.first_day()).num_days_from_monday();
    if (u64::from(first_weekday) + day) % 7 >= 5 && random.chance(60) {
        day = random.range(0, days);
    }
    let second = if random.chance(75) {
        random.range(7 * 3_600, 19 * 3_600)
    } else {
        random.range(0, SECS_PER_DAY)
    };
    let secs = (day * SECS_PER_DAY + second).min(past_secs as u64 - 1);
    let at = period.start() + Duration::milliseconds((secs * 1_000 + random.range(0, 1_000)) as i64);
    TimestampMs(at.timestamp_millis())
}

#[cfg(test)]
mod tests {
    use schemas::cost_event::WireEvent;

    use super::*;

    fn season() -> Season {
        Season::generate(7, "2026-05-20T12:00:00Z".parse().unwrap(), 5_000)
    }

    fn lines() -> Vec<String> {
        let season = season();
        let events = season
            .spends
            .iter()
            .flat_map(|spend| events_of(&season, spend, 7));
        events
            .map(|event| serde_json::to_string(&event).unwrap())
            .collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_events() {
        assert_eq!(lines(), lines());
    }

    #[test]
    fn every_event_is_one_that_ingest_takes() {
        for line in lines() {
            assert!(WireEvent::parse(line.as_bytes()).is_ok(), "{line}");
        }
    }

    #[test]
    fn events_lie_in_their_month_and_in_the_past() {
        let season = season();
        for spend in &season.spends {
            for event in events_of(&season, spend, 7) {
                let at = event.timestamp.to_utc();
                assert!(at <= season.now && Period::containing(at) == spend.period, "{at}");
            }
        }
    }

    #[test]
    fn costs_come_to_about_what_was_planned() {
        let season = Season::generate(7, season().now, 60_000);
        let total: u64 = season.spends.iter().map(|spend| spend.target).sum();
        let events = season
            .spends
            .iter()
            .flat_map(|spend| events_of(&season, spend, 7));
        let cost: u64 = events.map(|event| event.cost_microdollars).sum();
        assert!(cost.abs_diff(total) < total / 20, "{cost} of {total}");
    }
}
