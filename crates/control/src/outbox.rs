//! The outbox: changes that analytics must see, written in the transaction that makes them and
//! published to the event log afterwards, at least once and in order.
//!
//! A sequence number is taken from a one-row counter, in the transaction that holds the write lock.
//! The row stays locked until the commit, so transactions that write the outbox run one after
//! the other: numbers have no gaps, and none becomes visible after a larger one. A publisher that
//! has seen number `n` has seen all before it.

use schemas::time::TimestampMs;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

use crate::error::{Attempt, ControlError};
use crate::pools::{self, WriteTransaction};
use crate::row;
use crate::store::ControlStore;

/// Topic of the changes that feed the dimension tables.
pub const DIMENSIONS: &str = "dimensions";

/// Most rows of one statement: both databases take some 30,000 parameters.
const MAX_ENTRIES_PER_INSERT: usize = 500;

/// A change that waits to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Grows with every change, without gaps.
    pub sequence: u64,
    /// The topic to publish to.
    pub topic: String,
    /// The record's key: changes of one thing have one key.
    pub key: String,
    /// JSON.
    pub payload: String,
}

impl ControlStore {
    /// Returns the oldest changes not yet published, at most `limit`, in the order of their
    /// sequence numbers.
    ///
    /// # Errors
    /// [`ControlError::Database`] when they cannot be read.
    pub async fn next_outbox(&self, limit: u32) -> Result<Vec<OutboxEntry>, ControlError> {
        let rows = sqlx::query(
            "SELECT sequence, topic, record_key, payload FROM outbox
             WHERE published_at IS NULL ORDER BY sequence LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(self.reads())
        .attempt("read the outbox")
        .await?;
        rows.iter().map(decode).collect()
    }

    /// Marks all changes up to and including `sequence` as published. Returns how many were
    /// marked now.
    ///
    /// # Errors
    /// [`ControlError::Database`] when they cannot be marked: they will be published again.
    pub async fn mark_published(&self, sequence: u64) -> Result<u64, ControlError> {
        let mut tx = self.begin().await?;
        let marked =
            sqlx::query("UPDATE outbox SET published_at = $1 WHERE published_at IS NULL AND sequence <= $2")
                .bind(TimestampMs::now().0)
                .bind(i64::try_from(sequence).unwrap_or(i64::MAX))
                .execute(&mut *tx)
                .attempt("mark the outbox as published")
                .await?;
        pools::commit(tx).await?;
        Ok(marked.rows_affected())
    }

    /// Removes changes that were published before `before`. Returns how many.
    ///
    /// # Errors
    /// [`ControlError::Database`] when they cannot be removed.
    pub async fn prune_outbox(&self, before: TimestampMs) -> Result<u64, ControlError> {
        let mut tx = self.begin().await?;
        let removed = sqlx::query("DELETE FROM outbox WHERE published_at IS NOT NULL AND published_at < $1")
            .bind(before.0)
            .execute(&mut *tx)
            .attempt("prune the outbox")
            .await?;
        pools::commit(tx).await?;
        Ok(removed.rows_affected())
    }

    /// Waits until this process has written the outbox since the last wait; returns at once if it
    /// has. For one publisher: each write wakes one. Other processes write too, so the caller also
    /// looks at intervals.
    pub async fn wait_for_outbox(&self) {
        self.outbox_written().notified().await;
    }

    /// Commits a transaction that wrote the outbox and wakes the publisher.
    pub(crate) async fn commit_with_outbox(&self, tx: WriteTransaction) -> Result<(), ControlError> {
        pools::commit(tx).await?;
        self.outbox_written().notify_one();
        Ok(())
    }
}

/// Takes the next sequence number. Must come first in its transaction: whoever has it is the
/// only one who writes what the outbox covers.
pub(crate) async fn next_sequence(tx: &mut WriteTransaction) -> Result<u64, ControlError> {
    take_sequences(tx, 1).await
}

/// Takes the next `count` sequence numbers and returns the first. The caller writes an entry under
/// each, or gives the transaction up.
pub(crate) async fn take_sequences(tx: &mut WriteTransaction, count: usize) -> Result<u64, ControlError> {
    let count = i64::try_from(count).map_err(|_| ControlError::Corrupt { column: "sequence" })?;
    let counter = sqlx::query(
        "UPDATE counters SET value = value + $1 WHERE name = 'outbox' RETURNING value - $1 + 1 AS first",
    )
    .bind(count)
    .fetch_one(&mut **tx)
    .attempt("take outbox sequence numbers")
    .await?;
    row::unsigned(&counter, "first")
}

/// Appends a change under the number that [`next_sequence`] gave this transaction.
pub(crate) async fn append(
    tx: &mut WriteTransaction,
    entry: OutboxEntry,
    now: TimestampMs,
) -> Result<(), ControlError> {
    append_all(tx, vec![entry], now).await
}

/// Appends changes under the numbers that [`take_sequences`] gave this transaction. Many go in one
/// statement: meanwhile all other writers wait.
pub(crate) async fn append_all(
    tx: &mut WriteTransaction,
    entries: Vec<OutboxEntry>,
    now: TimestampMs,
) -> Result<(), ControlError> {
    let mut entries = entries.into_iter().peekable();
    while entries.peek().is_some() {
        let chunk: Vec<OutboxEntry> = entries.by_ref().take(MAX_ENTRIES_PER_INSERT).collect();
        let mut insert = sqlx::query(AssertSqlSafe(insert_of(chunk.len()))).bind(now.0);
        for entry in chunk {
            let sequence = i64::try_from(entry.sequence);
            insert = insert
                .bind(sequence.map_err(|_| ControlError::Corrupt { column: "sequence" })?)
                .bind(entry.topic)
                .bind(entry.key)
                .bind(entry.payload);
        }
        insert.execute(&mut **tx).attempt("append to the outbox").await?;
    }
    Ok(())
}

/// The statement that inserts this many rows: `$1` is their time, then come four values of each.
fn insert_of(num_rows: usize) -> String {
    let row = |index: usize| {
        let first = 4 * index + 2;
        format!("(${first}, ${}, ${}, ${}, $1)", first + 1, first + 2, first + 3)
    };
    let rows = (0..num_rows).map(row).collect::<Vec<_>>().join(", ");
    format!("INSERT INTO outbox (sequence, topic, record_key, payload, created_at) VALUES {rows}")
}

fn decode(row: &AnyRow) -> Result<OutboxEntry, ControlError> {
    Ok(OutboxEntry {
        sequence: row::unsigned(row, "sequence")?,
        topic: row::text(row, "topic")?,
        key: row::text(row, "record_key")?,
        payload: row::text(row, "payload")?,
    })
}
