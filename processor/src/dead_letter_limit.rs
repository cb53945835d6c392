//! Keeps table `dead_letters` within its limit, so that a broken producer fills no disk: what the log
//! took first goes first.
//!
//! A mutation rewrites every part that holds a row which goes, so rows go many at a time: a table over its
//! limit is cut to three quarters of it. Nothing is counted from these rows; it does no harm where the
//! replay of a batch brings some back.

use std::convert::Infallible;
use std::num::NonZeroU64;
use std::time::Duration;

use clickhouse::Row;
use event_log::TopicPartition;
use schemas::time::TimestampMs;
use schemas::topic;
use serde::Deserialize;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};
use warehouse::{Warehouse, WarehouseError};

use crate::Progress;
use crate::error::ProcessorError;
use crate::metrics::{DEAD_LETTERS_BYTES, DEAD_LETTERS_DROPPED};
use crate::writer::chain;

/// Time between two looks at the table.
const LOOK_INTERVAL: Duration = Duration::from_secs(60);
/// Time between two looks at a mutation that is under way.
const MUTATION_INTERVAL: Duration = Duration::from_millis(200);
/// How long one look may take, its mutation included.
const MAX_LOOK: Duration = Duration::from_secs(600);

/// Memory of the sort that finds the oldest rows; what it needs more goes through the disk.
const SORT_BYTES: &str = "134217728";

/// Yields [`Letter`]s in the order in which they go. The 48 bytes are those of the columns that are not
/// summed up, and of the lengths of those that are.
const OLDEST_FIRST: &str = "SELECT toUnixTimestamp64Milli(received_at) AS received_at_ms, log_offset, row_index, \
        toUInt64(length(raw) + length(detail) + length(content_type) + 48) AS num_bytes \
    FROM dead_letters ORDER BY received_at_ms, log_offset, row_index";

const DELETE: &str = "ALTER TABLE dead_letters DELETE \
    WHERE (toUnixTimestamp64Milli(received_at), log_offset, row_index) \
        <= ({received_at_ms:Int64}, {log_offset:UInt64}, {row_index:UInt32})";

/// What the limit of the table needs.
#[derive(Debug)]
pub(crate) struct DeadLetterLimit {
    pub(crate) warehouse: Warehouse,
    /// Bytes of the table before compression; none: no limit.
    pub(crate) max_bytes: Option<NonZeroU64>,
    /// What this process owns: the owner of the first partition does it for all.
    pub(crate) progress: watch::Receiver<Progress>,
}

/// One row, without its texts.
#[derive(Debug, Clone, Copy, Row, Deserialize)]
struct Letter {
    received_at_ms: i64,
    log_offset: u64,
    row_index: u32,
    num_bytes: u64,
}

impl Letter {
    /// Returns what rows are ordered by. One producer may give all of them one time.
    const fn age(&self) -> (i64, u64, u32) {
        (self.received_at_ms, self.log_offset, self.row_index)
    }
}

/// The oldest rows of the table, up to and with those as old as `newest`.
#[derive(Debug, Default, Clone, Copy)]
struct Oldest {
    num_rows: u64,
    num_bytes: u64,
    newest: (i64, u64, u32),
}

impl Oldest {
    fn add(&mut self, letter: &Letter) {
        self.num_rows += 1;
        self.num_bytes += letter.num_bytes;
        self.newest = letter.age();
    }
}

impl DeadLetterLimit {
    /// Looks at once when this process gets the first partition, and at intervals while it has it, for as
    /// long as the future is polled; it never ends by itself.
    pub(crate) async fn follow(mut self) -> Infallible {
        loop {
            self.look().await;
            if self.is_owner() {
                sleep(LOOK_INTERVAL).await;
            } else if self.progress.wait_for(has_first).await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// Trims the table if this process is the one to do it.
    async fn look(&self) {
        if !self.is_owner() {
            DEAD_LETTERS_BYTES.gauge_of(&[]).set(f64::NAN);
            return;
        }
        match timeout(MAX_LOOK, self.trim()).await {
            Ok(Ok(_num_rows)) => {}
            Ok(Err(error)) => warn!(error = %chain(&error), "looking after the limit of dead letters failed"),
            Err(_elapsed) => warn!("a mutation of dead_letters does not end; system.mutations says why"),
        }
    }

    fn is_owner(&self) -> bool {
        has_first(&self.progress.borrow())
    }

    /// Deletes the oldest rows of a table that is over its limit; returns how many.
    async fn trim(&self) -> Result<u64, ProcessorError> {
        // Until one ends, the bytes that it takes away still show.
        self.wait_for_mutations().await?;
        let table_bytes = self.table_bytes().await?;
        let Some(max_bytes) = self.max_bytes.filter(|max_bytes| table_bytes > max_bytes.get()) else {
            return Ok(0);
        };
        let kept_bytes = max_bytes.get() - max_bytes.get() / 4;
        let Some(oldest) = self.oldest(table_bytes - kept_bytes).await? else {
            return Ok(0);
        };
        self.delete(&oldest).await?;
        DEAD_LETTERS_DROPPED.counter_of(&[]).increment(oldest.num_rows);
        warn!(
            rows = oldest.num_rows,
            bytes = oldest.num_bytes,
            received_until = %TimestampMs(oldest.newest.0),
            table_bytes,
            max_bytes,
            "dead letters are over their limit, the oldest were dropped"
        );
        self.wait_for_mutations().await?;
        let table_bytes = self.table_bytes().await?;
        info!(table_bytes, "dead letters were rewritten without those dropped");
        Ok(oldest.num_rows)
    }

    /// Returns the oldest rows that have so many bytes, rounded up; all but the newest where those do not
    /// suffice, and none of an only row.
    async fn oldest(&self, num_bytes: u64) -> Result<Option<Oldest>, ProcessorError> {
        let failed = |source| WarehouseError::from_client("look for the oldest dead letters", source);
        let query = self.warehouse.client().query(OLDEST_FIRST);
        let mut letters = query
            .with_setting("max_bytes_before_external_sort", SORT_BYTES)
            .fetch::<Letter>()
            .map_err(failed)?;
        let (mut older, mut oldest) = (Oldest::default(), Oldest::default());
        while let Some(letter) = letters.next().await.map_err(failed)? {
            // Rows of one age go together: the mutation cannot tell them apart.
            if oldest.num_rows > 0 && letter.age() > oldest.newest {
                older = oldest;
                if older.num_bytes >= num_bytes {
                    break;
                }
            }
            oldest.add(&letter);
        }
        Ok((older.num_rows > 0).then_some(older))
    }

    /// Has the warehouse delete the rows, which it does even if it is restarted meanwhile.
    async fn delete(&self, oldest: &Oldest) -> Result<(), ProcessorError> {
        let (received_at_ms, log_offset, row_index) = oldest.newest;
        let done = self
            .warehouse
            .client()
            .query(DELETE)
            .param("received_at_ms", received_at_ms)
            .param("log_offset", log_offset)
            .param("row_index", row_index)
            .with_setting("mutations_sync", "0")
            .execute()
            .await;
        Ok(done.map_err(|source| WarehouseError::from_client("delete dead letters", source))?)
    }

    async fn wait_for_mutations(&self) -> Result<(), ProcessorError> {
        let unfinished = "SELECT toUInt64(count()) FROM system.mutations \
            WHERE database = {database:String} AND table = 'dead_letters' AND NOT is_done";
        while self.fetch_number(unfinished).await? > 0 {
            sleep(MUTATION_INTERVAL).await;
        }
        Ok(())
    }

    async fn table_bytes(&self) -> Result<u64, ProcessorError> {
        let num_bytes = self
            .fetch_number(
                "SELECT toUInt64(sum(data_uncompressed_bytes)) FROM system.parts \
                 WHERE active AND database = {database:String} AND table = 'dead_letters'",
            )
            .await?;
        DEAD_LETTERS_BYTES.gauge_of(&[]).set(num_bytes as f64);
        Ok(num_bytes)
    }

    async fn fetch_number(&self, sql: &str) -> Result<u64, ProcessorError> {
        let query = self.warehouse.client().query(sql);
        let number = query
            .param("database", self.warehouse.database())
            .fetch_one::<u64>()
            .await;
        Ok(number.map_err(|source| WarehouseError::from_client("read the size of dead letters", source))?)
    }
}

fn has_first(progress: &Progress) -> bool {
    progress.contains_key(&TopicPartition::new(topic::COST_EVENTS, 0))
}

#[cfg(test)]
mod tests {
    use schemas::clickhouse::MIGRATIONS;
    use warehouse::Migration;

    use super::*;

    const FIRST_MS: i64 = 1_800_000_000_000;
    /// Of the rows that [`fill`] writes, a little more than they have.
    const ROW_BYTES: u64 = 1_100;

    /// None, after saying so, where there is no embedded engine.
    async fn empty_table(test: &str) -> Option<Warehouse> {
        let warehouse = warehouse::testing::warehouse(test).await?;
        let migrations = MIGRATIONS.map(|step| Migration {
            version: step.version,
            name: step.name,
            sql: step.sql,
        });
        warehouse.migrate(&migrations).await.unwrap();
        Some(warehouse)
    }

    /// Writes rows of about 1 KiB; `received_at_ms` and `row_index` are made of `number`, from 0. The
    /// order of offsets is the other way round.
    async fn fill(warehouse: &Warehouse, num_rows: u64, received_at_ms: &str, row_index: &str) {
        let insert = format!(
            "INSERT INTO dead_letters (topic, log_partition, log_offset, row_index, reason, detail, raw, received_at) \
             SELECT 'cost-events', number % 3, 100000 - intDiv(number, 2), {row_index}, 'undecodable', 'of a test', \
                 randomString(1000), fromUnixTimestamp64Milli({FIRST_MS} + {received_at_ms}) FROM numbers({num_rows})"
        );
        execute(warehouse, &insert).await;
    }

    async fn execute(warehouse: &Warehouse, sql: &str) {
        let query = warehouse.client().query(sql);
        query
            .with_setting("mutations_sync", "0")
            .with_setting("insert_deduplicate", "0")
            .execute()
            .await
            .unwrap();
    }

    async fn number(warehouse: &Warehouse, what: &str, table: &str) -> u64 {
        let sql = format!("SELECT toUInt64({what}) FROM {table}");
        warehouse.client().query(&sql).fetch_one().await.unwrap()
    }

    /// Returns when the log took a row, in milliseconds after [`FIRST_MS`]; `which` is `min` or `max`.
    async fn received_at(warehouse: &Warehouse, which: &str) -> u64 {
        let what = format!("{which}(toUnixTimestamp64Milli(received_at)) - {FIRST_MS}");
        number(warehouse, &what, "dead_letters").await
    }

    async fn num_rows(warehouse: &Warehouse) -> u64 {
        number(warehouse, "count()", "dead_letters").await
    }

    async fn num_mutations(warehouse: &Warehouse) -> u64 {
        let of_database = "system.mutations WHERE database = currentDatabase()";
        number(warehouse, "count()", of_database).await
    }

    fn limit(warehouse: &Warehouse, max_bytes: u64) -> DeadLetterLimit {
        DeadLetterLimit {
            warehouse: warehouse.clone(),
            max_bytes: NonZeroU64::new(max_bytes),
            progress: watch::Sender::new(Progress::new()).subscribe(),
        }
    }

    #[tokio::test]
    async fn the_oldest_go_until_the_table_is_well_within_its_limit() {
        let Some(warehouse) = empty_table("the_oldest_go").await else {
            return;
        };
        // The newest are written first.
        fill(&warehouse, 500, "500 + number", "0").await;
        fill(&warehouse, 500, "number", "0").await;
        let limit = limit(&warehouse, 400 * ROW_BYTES);
        let dropped = limit.trim().await.unwrap();
        let kept = num_rows(&warehouse).await;
        assert_eq!(kept, 1_000 - dropped);
        assert!((280..=330).contains(&kept), "{kept}");
        let bytes = limit.table_bytes().await.unwrap();
        assert!(bytes <= 320 * ROW_BYTES, "{bytes}");
        assert_eq!(received_at(&warehouse, "min").await, dropped);

        assert_eq!(limit.trim().await.unwrap(), 0);
        assert_eq!(
            (num_rows(&warehouse).await, num_mutations(&warehouse).await),
            (kept, 1)
        );
    }

    #[tokio::test]
    async fn of_one_instant_the_rows_of_lower_places_go() {
        let Some(warehouse) = empty_table("of_one_instant").await else {
            return;
        };
        fill(&warehouse, 1_000, "0", "number % 2").await;
        let dropped = limit(&warehouse, 400 * ROW_BYTES).trim().await.unwrap();
        let kept = num_rows(&warehouse).await;
        assert_eq!(kept, 1_000 - dropped);
        assert!((280..=330).contains(&kept), "{kept}");
        // Offsets are 100,000 down to 99,501, each with two rows.
        let lowest = number(&warehouse, "min(log_offset)", "dead_letters").await;
        assert_eq!(lowest, 100_000 - (kept - 1) / 2);
    }

    #[tokio::test]
    async fn the_newest_stays_whatever_the_limit() {
        let Some(warehouse) = empty_table("the_newest_stays").await else {
            return;
        };
        fill(&warehouse, 10, "number", "0").await;
        let limit = limit(&warehouse, 1);
        assert_eq!(limit.trim().await.unwrap(), 9);
        assert_eq!(received_at(&warehouse, "max").await, 9);
        assert_eq!(limit.trim().await.unwrap(), 0);
        assert_eq!(num_rows(&warehouse).await, 1);
    }

    #[tokio::test]
    async fn nothing_goes_without_a_limit_or_within_it() {
        let Some(warehouse) = empty_table("nothing_goes").await else {
            return;
        };
        for max_bytes in [0, 1 << 20] {
            let limit = limit(&warehouse, max_bytes);
            assert_eq!(limit.trim().await.unwrap(), 0);
            fill(&warehouse, 100, "number", "0").await;
            assert_eq!(limit.trim().await.unwrap(), 0);
        }
        assert_eq!(
            (num_rows(&warehouse).await, num_mutations(&warehouse).await),
            (200, 0)
        );
    }

    #[tokio::test]
    async fn only_the_owner_of_the_first_partition_deletes() {
        let Some(warehouse) = empty_table("only_the_owner").await else {
            return;
        };
        fill(&warehouse, 100, "number", "0").await;
        let sender = watch::Sender::new(Progress::new());
        let limit = DeadLetterLimit {
            progress: sender.subscribe(),
            ..limit(&warehouse, 40 * ROW_BYTES)
        };
        limit.look().await;
        for (topic, partition) in [(topic::COST_EVENTS, 1), (topic::INVOICES, 0)] {
            sender.send_modify(|progress| {
                progress.insert(TopicPartition::new(topic, partition), 7);
            });
            limit.look().await;
        }
        assert_eq!(
            (num_rows(&warehouse).await, num_mutations(&warehouse).await),
            (100, 0)
        );
        sender.send_modify(|progress| {
            progress.insert(TopicPartition::new(topic::COST_EVENTS, 0), 0);
        });
        limit.look().await;
        assert!((25..=40).contains(&num_rows(&warehouse).await));
    }

    #[tokio::test]
    async fn a_mutation_under_way_is_waited_for() {
        let Some(warehouse) = empty_table("a_mutation_under_way").await else {
            return;
        };
        fill(&warehouse, 100, "number", "0").await;
        execute(&warehouse, "SYSTEM STOP MERGES dead_letters").await;
        execute(&warehouse, "ALTER TABLE dead_letters DELETE WHERE row_index = 1").await;
        let limit = limit(&warehouse, 40 * ROW_BYTES);
        let waiting = timeout(5 * MUTATION_INTERVAL, limit.trim()).await;
        assert!(waiting.is_err(), "{waiting:?}");
        assert_eq!(num_mutations(&warehouse).await, 1);
        execute(&warehouse, "SYSTEM START MERGES dead_letters").await;
        assert!(limit.trim().await.unwrap() >= 60);
        assert!(num_rows(&warehouse).await <= 40);
        assert_eq!(num_mutations(&warehouse).await, 2);
    }
}
