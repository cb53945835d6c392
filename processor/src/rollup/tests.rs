//! The plans against sums made by hand, over generated events.

use std::borrow::Cow;
use std::collections::BTreeMap;

use arrow::array::AsArray;
use arrow::compute::cast;
use arrow::datatypes::{Int64Type, TimestampMillisecondType};
use proptest::prelude::*;
use schemas::arrow::{CostEventBuilder, uuid_at};
use schemas::cost_event::{CostBreakdown, CostEvent, EventType, Source};
use schemas::id::{ApiKeyId, EventId, OrgId};
use schemas::time::TimestampMs;
use uuid::Uuid;

use super::*;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

fn event_strategy() -> impl Strategy<Value = CostEvent<'static>> {
    let numbers = (0_i64..5_000_000, 0_i64..4_000, prop::option::of(0_i64..900));
    // About 100 days around a leap day, so that months and days differ.
    let time = 1_700_000_000_000_i64..1_709_000_000_000;
    let tags = prop::collection::btree_map("[ab]", "[xy]?", 0..3);
    (
        numbers,
        time,
        0_u128..2,
        0..3,
        0..2,
        tags,
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(
            |((cost, tokens, duration_ms), at, org, customer, model, mut tags, estimated, broken_down)| {
                if estimated {
                    tags.insert("_ns_estimated".to_owned(), "true".to_owned());
                }
                let parts = CostBreakdown {
                    input: cost,
                    output: -3,
                    cached: 1,
                    reasoning: None,
                    tool_definition: None,
                };
                CostEvent {
                    event_id: EventId(Uuid::new_v4()),
                    request_id: Cow::Borrowed("r"),
                    org_id: OrgId(Uuid::from_u128(org)),
                    api_key_id: (org == 0).then_some(ApiKeyId(Uuid::from_u128(9))),
                    provider: Cow::Borrowed("openai"),
                    model: Cow::Owned(format!("model-{model}")),
                    event_type: EventType::Llm,
                    source: Source::Api,
                    input_tokens: tokens,
                    output_tokens: tokens / 2,
                    cached_input_tokens: 0,
                    reasoning_tokens: 1,
                    cost_microdollars: cost,
                    cost_breakdown: broken_down.then_some(parts),
                    duration_ms,
                    session_id: Cow::Borrowed(""),
                    trace_id: Cow::Borrowed(""),
                    tool_name: Cow::Borrowed(""),
                    tool_server: Cow::Borrowed(""),
                    customer_id: Cow::Owned(format!("customer-{customer}")),
                    tags: tags
                        .into_iter()
                        .map(|(key, value)| (key.into(), value.into()))
                        .collect(),
                    created_at: TimestampMs(at),
                    received_at: TimestampMs(at),
                }
            },
        )
}

fn deltas(events: &[CostEvent<'_>]) -> BTreeMap<&'static str, RecordBatch> {
    let mut builder = CostEventBuilder::default();
    for event in events {
        builder.append(event).unwrap();
    }
    let rows = builder.finish().unwrap();
    // A slice, as decoding and filtering may leave one.
    let input = RollUpInput::of(&rows.slice(0, rows.num_rows())).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime
        .block_on(roll_up_costs(&input))
        .unwrap()
        .into_iter()
        .collect()
}

fn text(rows: &RecordBatch, column: &str, row: usize) -> String {
    let texts = cast(rows.column_by_name(column).unwrap(), &DataType::Utf8).unwrap();
    texts.as_string::<i32>().value(row).to_owned()
}

fn number(rows: &RecordBatch, column: &str, row: usize) -> i64 {
    rows.column_by_name(column)
        .unwrap()
        .as_primitive::<Int64Type>()
        .value(row)
}

fn time(rows: &RecordBatch, column: &str, row: usize) -> i64 {
    rows.column_by_name(column)
        .unwrap()
        .as_primitive::<TimestampMillisecondType>()
        .value(row)
}

fn org(rows: &RecordBatch, row: usize) -> Uuid {
    uuid_at(rows.column_by_name("org_id").unwrap().as_fixed_size_binary(), row)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn roll_ups_equal_sums_by_hand(events in prop::collection::vec(event_strategy(), 0..120)) {
        let deltas = deltas(&events);

        let mut by_hour: BTreeMap<_, [i64; 6]> = BTreeMap::new();
        let mut by_tag: BTreeMap<_, [i64; 2]> = BTreeMap::new();
        let mut by_month: BTreeMap<_, [i64; 2]> = BTreeMap::new();
        for event in &events {
            let at = event.created_at.0;
            let estimated = event.is_estimated();
            let key = (event.org_id.0, at - at % HOUR_MS, event.customer_id.to_string(), event.model.to_string(), estimated);
            let parts = event.cost_breakdown.map_or(0, |parts| parts.output);
            let timed = i64::from(event.duration_ms.is_some());
            let values = [event.cost_microdollars, 1, event.input_tokens, event.duration_ms.unwrap_or(0), timed, parts];
            let cell = by_hour.entry(key).or_default();
            cell.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
            for (key, value) in &event.tags {
                let key = (event.org_id.0, at - at % DAY_MS, key.to_string(), value.to_string(), estimated);
                let cell = by_tag.entry(key).or_default();
                cell[0] += event.cost_microdollars;
                cell[1] += 1;
            }
            let month = event.created_at.to_utc().format("%Y-%m").to_string();
            let cell = by_month.entry((event.org_id.0, month, event.customer_id.to_string(), event.model.to_string())).or_default();
            cell[0] += event.cost_microdollars;
            cell[1] += 1;
        }

        let rows = &deltas["cost_by_hour"];
        let actual: BTreeMap<_, _> = (0..rows.num_rows()).map(|row| {
            let estimated = rows.column_by_name("estimated").unwrap().as_boolean().value(row);
            let key = (org(rows, row), time(rows, "hour", row), text(rows, "customer_id", row), text(rows, "model", row), estimated);
            let values = ["cost_microdollars", "requests", "input_tokens", "duration_ms", "requests_with_duration", "cost_breakdown_output"];
            (key, values.map(|column| number(rows, column, row)))
        }).collect();
        prop_assert_eq!(actual, by_hour);

        let rows = &deltas["cost_by_tag_day"];
        let actual: BTreeMap<_, _> = (0..rows.num_rows()).map(|row| {
            let estimated = rows.column_by_name("estimated").unwrap().as_boolean().value(row);
            let key = (org(rows, row), time(rows, "day", row), text(rows, "tag_key", row), text(rows, "tag_value", row), estimated);
            (key, [number(rows, "cost_microdollars", row), number(rows, "requests", row)])
        }).collect();
        prop_assert_eq!(actual, by_tag);

        let rows = &deltas["cost_by_customer_month"];
        let actual: BTreeMap<_, _> = (0..rows.num_rows()).map(|row| {
            let month = TimestampMs(time(rows, "month", row)).to_utc();
            prop_assert_eq!(month.format("%d %H:%M:%S%.3f").to_string(), "01 00:00:00.000");
            let key = (org(rows, row), month.format("%Y-%m").to_string(), text(rows, "customer_id", row), text(rows, "model", row));
            Ok((key, [number(rows, "cost_microdollars", row), number(rows, "requests", row)]))
        }).collect::<Result<_, TestCaseError>>()?;
        prop_assert_eq!(actual, by_month);
    }
}
