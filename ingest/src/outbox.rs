//! Publishes the control store's outbox to the log, so that analytics sees each change.
//!
//! A change is marked as published only once the log has it; a crash between the two publishes it
//! again, which its version makes harmless.

use std::sync::Arc;
use std::time::Duration;

use control::{ControlError, ControlStore, OutboxEntry};
use event_log::{AppendRecord, EventLog};
use schemas::time::TimestampMs;
use schemas::topic;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::acceptor::content_type;
use crate::error::IngestError;
use crate::metrics::Appender;

/// Entries of one append.
const ENTRIES_PER_APPEND: u32 = 1_000;
/// How often the store is asked, since other processes write to it too.
const POLL_INTERVAL: Duration = Duration::from_secs(1);
/// How long published entries are kept, for people who look for the cause of something.
const KEPT_MS: i64 = 7 * 24 * 60 * 60 * 1000;

/// Why the outbox could not be published.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The control store failed.
    #[error("outbox could not be read or marked")]
    Control(#[from] ControlError),
    /// The log did not take the records.
    #[error("outbox could not be published")]
    Ingest(#[from] IngestError),
}

/// Publishes until `shutdown`, retrying what fails.
pub async fn run(control: ControlStore, log: Arc<dyn EventLog>, shutdown: CancellationToken) {
    loop {
        if let Err(error) = publish_pending(&control, &*log).await {
            warn!(error = %error, "publishing the outbox failed, will try again");
        }
        tokio::select! {
            () = control.wait_for_outbox() => {}
            () = tokio::time::sleep(POLL_INTERVAL) => {}
            () = shutdown.cancelled() => return,
        }
    }
}

/// Publishes what is pending, in order; returns how many entries.
///
/// # Errors
/// [`OutboxError`]: entries that are not marked will be published again.
pub async fn publish_pending(control: &ControlStore, log: &dyn EventLog) -> Result<u64, OutboxError> {
    let mut published = 0;
    loop {
        let entries = control.next_outbox(ENTRIES_PER_APPEND).await?;
        let Some(last) = entries.last().map(|entry| entry.sequence) else {
            return Ok(published);
        };
        append(log, &entries).await?;
        published += control.mark_published(last).await?;
        control
            .prune_outbox(TimestampMs(TimestampMs::now().0 - KEPT_MS))
            .await?;
    }
}

async fn append(log: &dyn EventLog, entries: &[OutboxEntry]) -> Result<(), IngestError> {
    let num_partitions = log.num_partitions(topic::DIMENSIONS)?;
    let records = entries.iter().map(|entry| AppendRecord {
        partition: topic::partition_of_key(entry.key.as_bytes(), num_partitions),
        key: entry.key.clone().into(),
        headers: content_type(topic::JSON),
        value: entry.payload.clone().into(),
    });
    Appender::to(topic::DIMENSIONS)
        .append(log, records.collect())
        .await?;
    Ok(())
}
