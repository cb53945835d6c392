//! Which Arrow type each ClickHouse type takes.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, DictionaryArray, FixedSizeBinaryArray, Int64Array, MapBuilder,
    RecordBatch, StringArray, StringBuilder, TimestampMillisecondArray, UInt8Array, UInt32Array,
};
use arrow::datatypes::{Field, Int32Type, Schema};
use marginstream_warehouse::{Migration, Warehouse, testing};

const ID: &str = "00112233-4455-6677-8899-aabbccddeeff";
const ID_BYTES: [u8; 16] = [
    0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff,
];

async fn table(name: &str, column: &str) -> Option<Warehouse> {
    let warehouse = testing::warehouse(name).await?;
    let sql = format!("CREATE TABLE t (n Int64, v {column}) ENGINE = MergeTree ORDER BY n");
    warehouse
        .migrate(&[Migration {
            version: 1,
            name: "t",
            sql: &sql,
        }])
        .await
        .unwrap();
    Some(warehouse)
}

async fn insert(warehouse: &Warehouse, values: ArrayRef) -> Result<(), String> {
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..values.len() as i64));
    let schema = Schema::new(vec![
        Field::new("n", numbers.data_type().clone(), false),
        Field::new("v", values.data_type().clone(), true),
    ]);
    let batch = RecordBatch::try_new(Arc::new(schema), vec![numbers, values]).unwrap();
    warehouse
        .insert_arrow("t", &[batch], "token")
        .await
        .map(drop)
        .map_err(|error| error.to_string())
}

/// Inserts `values` into a column of type `column` and returns what is stored, as text.
async fn stored(name: &str, column: &str, values: ArrayRef) -> Option<Vec<String>> {
    let warehouse = table(name, column).await?;
    insert(&warehouse, values).await.unwrap();
    let query = warehouse
        .client()
        .query("SELECT ifNull(toString(v), 'NULL') FROM t ORDER BY n");
    Some(query.fetch_all().await.unwrap())
}

#[tokio::test]
async fn uuid_takes_sixteen_bytes() {
    let values = FixedSizeBinaryArray::try_from_iter([ID_BYTES].into_iter()).unwrap();
    let Some(stored) = stored("uuid_bytes", "UUID", Arc::new(values)).await else {
        return;
    };
    assert_eq!(stored, [ID]);
}

#[tokio::test]
async fn uuid_takes_text() {
    let Some(warehouse) = table("uuid_text", "UUID").await else {
        return;
    };
    insert(&warehouse, Arc::new(StringArray::from(vec![ID])))
        .await
        .unwrap();
    let stored: String = warehouse
        .client()
        .query("SELECT toString(v) FROM t")
        .fetch_one()
        .await
        .unwrap();
    assert_eq!(stored, ID);
}

#[tokio::test]
async fn map_takes_a_map_of_strings() {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    builder.keys().append_value("team");
    builder.values().append_value("search");
    builder.append(true).unwrap();
    builder.append(true).unwrap();
    let map = Arc::new(builder.finish());
    let Some(stored) = stored("map_strings", "Map(String, String)", map).await else {
        return;
    };
    assert_eq!(stored, ["{'team':'search'}", "{}"]);
}

#[tokio::test]
async fn low_cardinality_takes_strings_and_dictionaries() {
    let column = "LowCardinality(String)";
    let plain = Arc::new(StringArray::from(vec!["a", "b", "a"]));
    let Some(from_plain) = stored("low_cardinality_plain", column, plain).await else {
        return;
    };
    let dictionary: DictionaryArray<Int32Type> = vec!["a", "b", "a"].into_iter().collect();
    let from_dictionary = stored("low_cardinality_dictionary", column, Arc::new(dictionary))
        .await
        .unwrap();
    assert_eq!(from_plain, ["a", "b", "a"]);
    assert_eq!(from_dictionary, from_plain);
}

#[tokio::test]
async fn date_time64_takes_millisecond_timestamps() {
    let millis = 1_735_689_600_123;
    for (name, values) in [
        (
            "time_utc",
            TimestampMillisecondArray::from(vec![millis]).with_timezone("UTC"),
        ),
        ("time_naive", TimestampMillisecondArray::from(vec![millis])),
    ] {
        let Some(stored) = stored(name, "DateTime64(3, 'UTC')", Arc::new(values)).await else {
            return;
        };
        assert_eq!(stored, ["2025-01-01 00:00:00.123"], "{name}");
    }
}

#[tokio::test]
async fn nullable_and_plain_columns_take_nulls() {
    let values = || Arc::new(Int64Array::from(vec![Some(7), None]));
    let Some(nullable) = stored("nullable", "Nullable(Int64)", values()).await else {
        return;
    };
    assert_eq!(nullable, ["7", "NULL"]);
    // A null in a column that is not Nullable takes the column's default.
    let plain = stored("nulls_in_plain", "Int64 DEFAULT 5", values())
        .await
        .unwrap();
    assert_eq!(plain, ["7", "5"]);
}

#[tokio::test]
async fn low_cardinality_inside_other_types() {
    let mut builder = MapBuilder::new(None, StringBuilder::new(), StringBuilder::new());
    builder.keys().append_value("team");
    builder.values().append_value("search");
    builder.append(true).unwrap();
    let map = Arc::new(builder.finish());
    let Some(stored_map) = stored("map_low", "Map(LowCardinality(String), String)", map).await else {
        return;
    };
    assert_eq!(stored_map, ["{'team':'search'}"]);
    let values = Arc::new(StringArray::from(vec![Some("a"), None]));
    let nullable = stored("low_nullable", "LowCardinality(Nullable(String))", values)
        .await
        .unwrap();
    assert_eq!(nullable, ["a", "NULL"]);
}

#[tokio::test]
async fn bool_unsigned_and_bytes() {
    let bools = Arc::new(BooleanArray::from(vec![true, false]));
    let Some(from_bool) = stored("bools", "Bool", Arc::<BooleanArray>::clone(&bools)).await else {
        return;
    };
    assert_eq!(from_bool, ["true", "false"]);
    assert_eq!(stored("bool_u8", "UInt8", bools).await.unwrap(), ["1", "0"]);
    let small = Arc::new(UInt8Array::from(vec![1, 0]));
    assert_eq!(stored("u8_bool", "Bool", small).await.unwrap(), ["true", "false"]);
    let bytes = Arc::new(BinaryArray::from_vec(vec![b"raw\xff"]));
    let warehouse = table("binary", "String").await.unwrap();
    insert(&warehouse, bytes).await.unwrap();
    let hex: String = warehouse
        .client()
        .query("SELECT hex(v) FROM t")
        .fetch_one()
        .await
        .unwrap();
    assert_eq!(hex, "726177FF");
    let seconds = Arc::new(UInt32Array::from(vec![1_735_689_600]));
    assert_eq!(
        stored("u32_datetime", "DateTime('UTC')", seconds).await.unwrap(),
        ["2025-01-01 00:00:00"]
    );
    let days = Arc::new(arrow::array::Date32Array::from(vec![20_089]));
    assert_eq!(stored("date32", "Date", days).await.unwrap(), ["2025-01-01"]);
}
