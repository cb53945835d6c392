//! The client against the embedded engine.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use marginstream_warehouse::{Migration, Warehouse, WarehouseError, testing};

const TABLES: &str = "
CREATE TABLE IF NOT EXISTS costs (id Int64, customer LowCardinality(String), note String DEFAULT 'a;b')
    ENGINE = MergeTree ORDER BY id SETTINGS non_replicated_deduplication_window = 1000;
-- a comment; with a semicolon
CREATE TABLE IF NOT EXISTS totals (customer String, cost Int64) ENGINE = SummingMergeTree ORDER BY customer
    SETTINGS non_replicated_deduplication_window = 1000;
";
const FIRST: Migration<'_> = Migration {
    version: 1,
    name: "costs",
    sql: TABLES,
};

pub(crate) async fn count(warehouse: &Warehouse, table: &str) -> u64 {
    warehouse
        .client()
        .query(&format!("SELECT count() FROM {table}"))
        .fetch_one()
        .await
        .unwrap()
}

fn batch(ids: std::ops::Range<i64>) -> RecordBatch {
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, false),
        Field::new("customer", DataType::Utf8, false),
    ]);
    let customers = StringArray::from_iter_values(ids.clone().map(|id| format!("c{}", id % 10)));
    let columns: Vec<arrow::array::ArrayRef> =
        vec![Arc::new(Int64Array::from_iter_values(ids)), Arc::new(customers)];
    RecordBatch::try_new(Arc::new(schema), columns).unwrap()
}

#[tokio::test]
async fn migrates_once_and_records_it() {
    let Some(warehouse) = testing::warehouse("migrates_once_and_records_it").await else {
        return;
    };
    let applied = warehouse.migrate(&[FIRST]).await.unwrap();
    assert_eq!(applied.len(), 1);
    assert_eq!(warehouse.migrate(&[FIRST]).await.unwrap(), []);
    let second = Migration {
        version: 2,
        name: "more",
        sql: "ALTER TABLE costs ADD COLUMN IF NOT EXISTS x Int8",
    };
    assert_eq!(warehouse.migrate(&[FIRST, second]).await.unwrap().len(), 1);
    assert_eq!(count(&warehouse, "schema_migrations").await, 2);
}

#[tokio::test]
async fn refuses_a_changed_migration_and_a_newer_database() {
    let Some(warehouse) = testing::warehouse("refuses_a_changed_migration").await else {
        return;
    };
    warehouse.migrate(&[FIRST]).await.unwrap();
    let changed = Migration {
        sql: "SELECT 1",
        ..FIRST
    };
    let error = warehouse.migrate(&[changed]).await.unwrap_err();
    assert!(
        matches!(error, WarehouseError::MigrationChanged { version: 1, .. }),
        "{error}"
    );
    let error = warehouse.migrate(&[]).await.unwrap_err();
    assert!(
        matches!(
            error,
            WarehouseError::DatabaseNewer {
                database: 1,
                program: 0
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_failed_migration_is_not_recorded() {
    let Some(warehouse) = testing::warehouse("a_failed_migration_is_not_recorded").await else {
        return;
    };
    let broken = Migration {
        sql: "CREATE TABLE t (a Int8) ENGINE = Memory; SELECT * FROM missing_table",
        ..FIRST
    };
    let error = warehouse.migrate(&[broken]).await.unwrap_err();
    assert_eq!(error.code(), Some(60));
    assert!(!error.is_retryable());
    assert_eq!(count(&warehouse, "schema_migrations").await, 0);
}

#[tokio::test]
async fn an_insert_with_the_same_token_is_dropped() {
    let Some(warehouse) = testing::warehouse("same_token_is_dropped").await else {
        return;
    };
    warehouse.migrate(&[FIRST]).await.unwrap();
    let first = [batch(0..1000)];
    assert_eq!(
        warehouse
            .insert_arrow("costs", &first, "t:0:0-1000:costs")
            .await
            .unwrap()
            .rows,
        1000
    );
    warehouse
        .insert_arrow("costs", &first, "t:0:0-1000:costs")
        .await
        .unwrap();
    assert_eq!(count(&warehouse, "costs").await, 1000);
    warehouse
        .insert_arrow("costs", &first, "t:0:1000-2000:costs")
        .await
        .unwrap();
    assert_eq!(count(&warehouse, "costs").await, 2000);
}

#[tokio::test]
async fn several_batches_are_one_block() {
    let Some(warehouse) = testing::warehouse("several_batches_are_one_block").await else {
        return;
    };
    warehouse.migrate(&[FIRST]).await.unwrap();
    let batches: Vec<_> = (0..5).map(|i| batch(i * 40_000..(i + 1) * 40_000)).collect();
    for _ in 0..2 {
        warehouse.insert_arrow("costs", &batches, "token").await.unwrap();
    }
    assert_eq!(count(&warehouse, "costs").await, 200_000);
    let parts = "system.parts WHERE table = 'costs' AND database = currentDatabase() AND level = 0";
    assert_eq!(count(&warehouse, parts).await, 1);
}

#[tokio::test]
async fn errors_keep_their_code() {
    let Some(warehouse) = testing::warehouse("errors_keep_their_code").await else {
        return;
    };
    let error = warehouse
        .insert_arrow("nowhere", &[batch(0..1)], "t")
        .await
        .unwrap_err();
    assert_eq!(error.code(), Some(60), "{error}");
    assert!(!error.is_retryable());
    let unreachable = marginstream_warehouse::WarehouseConfig::new("http://u:p@127.0.0.1:1/x");
    let error = Warehouse::new(unreachable).unwrap().ping().await.unwrap_err();
    assert!(error.is_retryable(), "{error}");
}

#[tokio::test]
async fn binds_server_side_parameters_as_a_form() {
    let Some(warehouse) = testing::warehouse("binds_server_side_parameters").await else {
        return;
    };
    let text = "it's\ta \\ line\nbreak {x}";
    let query = warehouse
        .client()
        .query("SELECT {text:String}, {number:Int64} + 1");
    let row: (String, i64) = query
        .param("text", text)
        .param("number", 41)
        .fetch_one()
        .await
        .unwrap();
    assert_eq!(row, (text.to_owned(), 42));
}

#[tokio::test]
async fn reads_and_writes_with_lz4() {
    let Some(warehouse) = testing::warehouse("reads_and_writes_with_lz4").await else {
        return;
    };
    warehouse.migrate(&[FIRST]).await.unwrap();
    let client = warehouse
        .client()
        .clone()
        .with_compression(clickhouse::Compression::Lz4);
    let mut insert = client.insert_formatted_with("INSERT INTO costs (id, customer) FORMAT TSV");
    for id in 0..100_000 {
        insert.send(format!("{id}\tc\n").into()).await.unwrap();
    }
    insert.end().await.unwrap();
    let ids: Vec<i64> = client
        .query("SELECT id FROM costs ORDER BY id")
        .fetch_all()
        .await
        .unwrap();
    assert_eq!(ids.len(), 100_000);
    assert!(ids.iter().enumerate().all(|(index, &id)| id == index as i64));
}

#[tokio::test]
async fn an_error_after_rows_reaches_the_client() {
    let Some(warehouse) = testing::warehouse("an_error_after_rows").await else {
        return;
    };
    let sql = "SELECT throwIf(number = 900000) FROM numbers(1000000) SETTINGS max_block_size = 1000, max_threads = 1";
    let error = warehouse.client().query(sql).fetch_all::<u8>().await.unwrap_err();
    assert!(error.to_string().contains("Code: 395"), "{error}");
}

#[tokio::test]
async fn a_point_query_takes_few_milliseconds() {
    let Some(warehouse) = testing::warehouse("a_point_query").await else {
        return;
    };
    let mut times = Vec::new();
    for _ in 0..200 {
        let started = Instant::now();
        let _: u8 = warehouse.client().query("SELECT 1").fetch_one().await.unwrap();
        times.push(started.elapsed());
    }
    times.sort();
    println!("select 1 over HTTP: p50 {:?}, p99 {:?}", times[100], times[198]);
    assert!(times[100].as_millis() < 50);
}
