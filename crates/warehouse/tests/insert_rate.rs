//! Measures the insert path; run with `--ignored --nocapture`.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, BooleanArray, FixedSizeBinaryArray, Int64Array, MapBuilder, RecordBatch};
use arrow::array::{StringArray, StringBuilder, TimestampMillisecondArray, UInt32Array};
use arrow::datatypes::{Field, Schema};
use marginstream_warehouse::{Migration, testing};

const ROWS: i64 = 50_000;
const TABLE: &str = "CREATE TABLE events (
    event_id UUID, request_id String, org_id LowCardinality(String), api_key_id LowCardinality(String),
    provider LowCardinality(String), model LowCardinality(String), event_type LowCardinality(String),
    input_tokens UInt32, output_tokens UInt32, cached_tokens UInt32, cost_microdollars Int64, duration_ms UInt32,
    session_id String, customer_id LowCardinality(String), tags Map(LowCardinality(String), String), estimated Bool,
    created_at DateTime64(3, 'UTC')
) ENGINE = ReplacingMergeTree PARTITION BY toYYYYMM(created_at) ORDER BY (org_id, created_at, event_id)
SETTINGS non_replicated_deduplication_window = 1000";

fn text(value: impl Fn(i64) -> String) -> ArrayRef {
    Arc::new(StringArray::from_iter_values((0..ROWS).map(value)))
}

fn numbers(value: impl Fn(i64) -> u32) -> ArrayRef {
    Arc::new(UInt32Array::from_iter_values((0..ROWS).map(value)))
}

fn tags() -> ArrayRef {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    for row in 0..ROWS {
        for (key, value) in [("team", "search"), ("feature", "chat"), ("customer", "acme")] {
            builder.keys().append_value(key);
            builder.values().append_value(format!("{value}-{}", row % 100));
        }
        builder.append(true).unwrap();
    }
    Arc::new(builder.finish())
}

fn batch(seed: i64) -> RecordBatch {
    let ids = (0..ROWS).map(|row| {
        ((seed << 32 | row) as u128)
            .wrapping_mul(0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835)
            .to_be_bytes()
    });
    let millis = (0..ROWS).map(|row| 1_735_689_600_000 + seed * 50_000 + row);
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "event_id",
            Arc::new(FixedSizeBinaryArray::try_from_iter(ids).unwrap()),
        ),
        ("request_id", text(|row| format!("req_{seed:08x}{row:012x}"))),
        ("org_id", text(|row| format!("org_{}", row % 5))),
        ("api_key_id", text(|row| format!("key_{}", row % 20))),
        (
            "provider",
            text(|row| ["openai", "anthropic", "google"][(row % 3) as usize].to_owned()),
        ),
        ("model", text(|row| format!("model-{}", row % 12))),
        ("event_type", text(|_| "llm".to_owned())),
        ("input_tokens", numbers(|row| (row * 7 % 4000) as u32)),
        ("output_tokens", numbers(|row| (row * 3 % 900) as u32)),
        ("cached_tokens", numbers(|row| (row % 100) as u32)),
        (
            "cost_microdollars",
            Arc::new(Int64Array::from_iter_values(
                (0..ROWS).map(|row| row * 13 % 50_000),
            )),
        ),
        ("duration_ms", numbers(|row| (row % 3000) as u32)),
        ("session_id", text(|row| format!("sess_{}", row % 700))),
        ("customer_id", text(|row| format!("cus_{}", row % 400))),
        ("tags", tags()),
        (
            "estimated",
            Arc::new(BooleanArray::from_iter((0..ROWS).map(|row| Some(row % 9 == 0)))),
        ),
        (
            "created_at",
            Arc::new(TimestampMillisecondArray::from_iter_values(millis).with_timezone("UTC")),
        ),
    ];
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, array)| Field::new(*name, array.data_type().clone(), false))
        .collect();
    RecordBatch::try_new(
        Arc::new(Schema::new(fields)),
        columns.into_iter().map(|(_, array)| array).collect(),
    )
    .unwrap()
}

/// CPU of this process so far, in seconds, and its resident memory, in MB.
fn usage() -> (f64, u64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    let pages: u64 = fields[21].parse().unwrap();
    (ticks / 100.0, pages * 4096 / 1_000_000)
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a measurement"]
async fn inserts_of_fifty_thousand_rows() {
    let Some(warehouse) = testing::warehouse("insert_rate").await else {
        return;
    };
    println!("resident after start: {} MB", usage().1);
    warehouse
        .migrate(&[Migration {
            version: 1,
            name: "events",
            sql: TABLE,
        }])
        .await
        .unwrap();
    let batches: Vec<RecordBatch> = (0..4).map(batch).collect();
    let rounds = 60;
    let (cpu_before, _) = usage();
    let started = Instant::now();
    let mut bytes = 0;
    for round in 0..rounds {
        let token = format!("t:0:{round}:events");
        bytes += warehouse
            .insert_arrow("events", &[batches[round % 4].clone()], &token)
            .await
            .unwrap()
            .bytes;
    }
    let seconds = started.elapsed().as_secs_f64();
    let (cpu, resident) = usage();
    let rows = (ROWS * rounds as i64) as f64;
    println!(
        "{rows} rows in {seconds:.2} s: {:.0} rows/s, {:.2} us CPU per row, {} bytes per row on the wire, {resident} MB resident",
        rows / seconds,
        (cpu - cpu_before) * 1e6 / rows,
        bytes / rows as usize
    );
}
