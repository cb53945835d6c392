//! Measures the filter of known events and the exact look-ups behind it, over generated ids:
//! `cargo run --release --example measure_known_events -- <ClickHouse URL> <number of ids>`. The database must be one of
//! its own: its table `cost_event_ids` is filled.

use std::error::Error;
use std::time::Instant;

use marginstream_known_events::{KnownEvents, lookup_known_events};
use schemas::clickhouse::MIGRATIONS;
use schemas::id::{EventId, OrgId};
use uuid::Uuid;
use warehouse::{Migration, Warehouse, WarehouseConfig};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Rows of one insert.
const CHUNK: u64 = 1_000_000;
const NUM_NEW: u64 = 5_000_000;
/// Events of a batch, as the processor cuts them under load.
const BATCH: usize = 50_000;
const ORG: OrgId = OrgId(Uuid::from_u128(7));

#[tokio::main]
async fn main() -> Outcome<()> {
    let mut arguments = std::env::args().skip(1);
    let (Some(url), Some(num_ids)) = (arguments.next(), arguments.next()) else {
        return Err("usage: measure_known_events <ClickHouse URL> <number of ids>".into());
    };
    let warehouse = Warehouse::new(WarehouseConfig::new(url))?;
    fill(&warehouse, num_ids.parse()?).await?;

    let started = Instant::now();
    let known = KnownEvents::new(1);
    known.load_all(&warehouse).await?;
    println!(
        "load: {} ids in {:.1} s; filter {} bytes, {:.2} bytes an id",
        known.num_ids(),
        started.elapsed().as_secs_f64(),
        known.num_bytes(),
        known.num_bytes() as f64 / known.num_ids() as f64
    );
    ask_for_new(&warehouse, &known).await?;
    ask_for_known(&warehouse).await
}

/// Inserts ids that are uniform, as real ones are.
async fn fill(warehouse: &Warehouse, num_ids: u64) -> Outcome<()> {
    let migrations = MIGRATIONS.map(|step| Migration {
        version: step.version,
        name: step.name,
        sql: step.sql,
    });
    warehouse.migrate(&migrations).await?;
    let started = Instant::now();
    for start in (0..num_ids).step_by(CHUNK as usize) {
        let insert = format!(
            "INSERT INTO cost_event_ids SELECT toUUID('{}'), toUUID(UUIDNumToString(MD5(toString(number)))), \
             now64(3), number, 0, number FROM numbers({start}, {})",
            ORG.0,
            CHUNK.min(num_ids - start)
        );
        warehouse.client().query(&insert).execute().await?;
    }
    println!("fill: {num_ids} ids in {:.1} s", started.elapsed().as_secs_f64());
    Ok(())
}

/// New ids: how many are suspected in vain, and what asking costs.
async fn ask_for_new(warehouse: &Warehouse, known: &KnownEvents) -> Outcome<()> {
    let ids: Vec<(EventId, OrgId)> = (0..NUM_NEW).map(|_| (EventId(Uuid::new_v4()), ORG)).collect();
    let started = Instant::now();
    let suspected = known.maybe_known(ids.iter().copied());
    let asked = started.elapsed();
    let (mut num_queries, started) = (0, Instant::now());
    for batch in ids.chunks(BATCH) {
        let suspects: Vec<_> = known.maybe_known(batch.iter().copied());
        let suspects: Vec<_> = suspects.into_iter().map(|(id, org)| (org, id)).collect();
        let found = lookup_known_events(warehouse, &suspects, None).await?;
        if !found.is_empty() {
            return Err("a new id was found".into());
        }
        num_queries += 1;
    }
    let total = started.elapsed();
    println!(
        "new ids: {:.3} % suspected; filter {:.0} ns an id; with exact look-ups {:.2} us an event, \
         {:.1} ms a batch of {BATCH} ({num_queries} batches)",
        100.0 * suspected.len() as f64 / NUM_NEW as f64,
        asked.as_nanos() as f64 / NUM_NEW as f64,
        total.as_micros() as f64 / NUM_NEW as f64,
        total.as_secs_f64() * 1e3 / f64::from(num_queries)
    );
    Ok(())
}

/// Known ids: what an exact look-up of a retried request costs.
async fn ask_for_known(warehouse: &Warehouse) -> Outcome<()> {
    for num_ids in [1, 100, 4_000] {
        let sample =
            format!("SELECT event_id FROM cost_event_ids ORDER BY cityHash64(event_id) LIMIT {num_ids}");
        let ids: Vec<Uuid> = warehouse
            .client()
            .query(&sample)
            .fetch_all::<IdRow>()
            .await?
            .into_iter()
            .map(|row| row.event_id)
            .collect();
        let keys: Vec<_> = ids.iter().map(|id| (ORG, EventId(*id))).collect();
        let started = Instant::now();
        let found = lookup_known_events(warehouse, &keys, None).await?;
        println!(
            "known ids: {} of {num_ids} found in {:.1} ms",
            found.len(),
            started.elapsed().as_secs_f64() * 1e3
        );
    }
    Ok(())
}

#[derive(Debug, clickhouse::Row, serde::Deserialize)]
struct IdRow {
    #[serde(with = "clickhouse::serde::uuid")]
    event_id: Uuid,
}
