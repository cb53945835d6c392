//! `marginstream log`.

use std::path::Path;

use event_log::{LogError, RepairReport};

use processor::layout;

use crate::commands::print;
use crate::config::{BatchConfig, MigrateConfig};
use crate::distributed::drain;
use crate::error::{CommandError, Outcome};

pub(super) async fn repair(data: &Path) -> Result<Outcome, CommandError> {
    // Both the data directory and the log's own are understood: errors of the log name the latter.
    let inner = data.join("log");
    let dir = if inner.is_dir() { inner } else { data.to_path_buf() };
    if !dir.join("groups").is_dir() && !dir.join("LOCK").exists() {
        return Err(CommandError::Usage(format!(
            "there is no event log in {}",
            data.display()
        )));
    }
    let repaired = tokio::task::spawn_blocking(move || event_log::repair(&dir)).await;
    let reports = match repaired.map_err(|error| CommandError::Runtime(error.into()))? {
        Err(LogError::Locked { pid, .. }) => {
            let data = data.to_path_buf();
            return Err(CommandError::InUse { data, pid });
        }
        reports => reports?,
    };
    if reports.is_empty() {
        print("the log is sound; nothing was changed")?;
    }
    for report in &reports {
        print(&describe(report))?;
    }
    Ok(Outcome::Done)
}

/// A batch that a crash cut short is completed first: its events would be judged in two places.
pub(super) async fn use_partitions(
    config: &MigrateConfig,
    batch: &BatchConfig,
) -> Result<Outcome, CommandError> {
    let held = drain(&config.backends, &config.retention, batch).await?;
    let num_partitions = layout::use_all_partitions(&*held.log, &held.warehouse, Some(held.alone())).await;
    held.release().await?;
    print(&format!(
        "cost events are spread over {} partitions; start the processors, and restart ingest",
        num_partitions?
    ))?;
    Ok(Outcome::Done)
}

fn describe(report: &RepairReport) -> String {
    let mut text = format!(
        "{}: damaged from byte {} on; {} records in the damaged part recovered",
        report.path.display(),
        report.position,
        report.num_recovered
    );
    if let Some(path) = &report.set_aside {
        text.push_str(&format!(
            "; {} bytes set aside in {}",
            report.set_aside_bytes,
            path.display()
        ));
    }
    for lost in &report.lost_offsets {
        text.push_str(&format!(
            "; offsets {} to {} are gone, if they were in use",
            lost.start,
            lost.end.saturating_sub(1)
        ));
    }
    text
}
