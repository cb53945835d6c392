//! Forgets tokens of inserts whose rows were never stored.
//!
//! A table that is not replicated writes an insert's token to its deduplication log first and gives
//! the part its name, which makes the rows exist, after that. A process killed between the two leaves
//! a token without rows, and the repeated insert would be dropped as one that was done. So before the
//! engine opens its directory, each token is compared with the parts that are there.
//! [ADR 0014](../../../../docs/adr/0014-tokens-without-rows-are-forgotten.md) has the measurements.

use std::collections::HashMap;
use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use tracing::warn;

/// Held locked by the engine that has the directory open, which removes it when it closes.
const STATUS_FILE: &str = "status";
const LOGS_DIRECTORY: &str = "deduplication_logs";
/// First field of a line that adds a token; other lines take one back.
const ADD: &str = "1";

/// Blocks that parts hold, by the id of their ClickHouse partition. A part's name says which.
type StoredBlocks = HashMap<String, Vec<RangeInclusive<u64>>>;

/// Rewrites the deduplication logs below `data_dir` without tokens that have no rows and without lines
/// that a full disk cut short; returns how many lines went. Leaves a directory alone that an engine has open.
///
/// # Errors
/// Where a directory or log cannot be read or written; each log is replaced at once or not at all.
pub(super) fn forget_without_rows(data_dir: &Path) -> io::Result<usize> {
    // The engine itself refuses to open a directory a second time, and says so.
    if is_open(data_dir)? {
        return Ok(0);
    }
    let spare = data_dir.join("deduplication_log.new");
    let mut num_forgotten = 0;
    for group in entries(&data_dir.join("store"))? {
        for table in entries(&group)? {
            num_forgotten += forget_of_table(&table, &spare)?;
        }
    }
    Ok(num_forgotten)
}

fn is_open(data_dir: &Path) -> io::Result<bool> {
    match File::open(data_dir.join(STATUS_FILE)) {
        Ok(status) => match status.try_lock() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(error)) => Err(error),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn forget_of_table(table: &Path, spare: &Path) -> io::Result<usize> {
    let logs = entries(&table.join(LOGS_DIRECTORY))?;
    if logs.is_empty() {
        return Ok(0);
    }
    let stored = stored_blocks(table)?;
    let mut num_forgotten = 0;
    for log in logs {
        let text = fs::read_to_string(&log)?;
        let (kept, lost): (Vec<&str>, Vec<&str>) = text
            .split_inclusive('\n')
            .partition(|line| is_kept(line, &stored));
        if lost.is_empty() {
            continue;
        }
        warn!(log = %log.display(), lines = ?lost, "forgetting tokens of inserts that were cut off");
        let mut file = File::create(spare)?;
        file.write_all(kept.concat().as_bytes())?;
        file.sync_all()?;
        fs::rename(spare, &log)?;
        num_forgotten += lost.len();
    }
    Ok(num_forgotten)
}

/// Returns whether a line of a log is whole, and, if it adds a token, whether the rows are there.
fn is_kept(line: &str, stored: &StoredBlocks) -> bool {
    let Some(fields) = line.strip_suffix('\n') else {
        return false;
    };
    match fields.split('\t').collect::<Vec<_>>()[..] {
        [operation, part, token] if !token.is_empty() => {
            let Some((partition, blocks)) = blocks_of(part) else {
                return false;
            };
            operation != ADD
                || stored.get(partition).is_some_and(|ranges| {
                    ranges
                        .iter()
                        .any(|range| range.start() <= blocks.start() && blocks.end() <= range.end())
                })
        }
        _ => false,
    }
}

fn stored_blocks(table: &Path) -> io::Result<StoredBlocks> {
    let mut stored = StoredBlocks::new();
    for entry in entries(table)? {
        let name = entry.file_name().and_then(|name| name.to_str());
        if let Some((partition, blocks)) = name.and_then(blocks_of) {
            stored.entry(partition.to_owned()).or_default().push(blocks);
        }
    }
    Ok(stored)
}

/// Reads a part's name, `<partition>_<first block>_<last block>_<level>` with perhaps `_<mutation>`;
/// none for other names, as those of parts that are being made (`tmp_insert_...`).
fn blocks_of(name: &str) -> Option<(&str, RangeInclusive<u64>)> {
    let fields: Vec<&str> = name.split('_').collect();
    let (&partition, numbers) = fields.split_first()?;
    let numbers: Vec<u64> = numbers
        .iter()
        .map(|number| number.parse().ok())
        .collect::<Option<_>>()?;
    match numbers[..] {
        [first, last, _level] | [first, last, _level, _] => Some((partition, first..=last)),
        _ => None,
    }
}

/// Returns what stands in a directory, sorted by name; nothing where there is none.
fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let listed = match fs::read_dir(directory) {
        Ok(listed) => listed,
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
            ) =>
        {
            return Ok(Vec::new());
        }
        Err(error) => return Err(error),
    };
    let mut paths: Vec<PathBuf> = listed.map(|entry| Ok(entry?.path())).collect::<io::Result<_>>()?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts_tell_their_blocks() {
        assert_eq!(blocks_of("202603_4_9_2"), Some(("202603", 4..=9)));
        assert_eq!(blocks_of("all_4_4_0_7"), Some(("all", 4..=4)));
        for name in [
            "tmp_insert_all_1_1_0",
            "detached",
            "all_1_1",
            "all_1_1_0_1_1",
            "all_a_1_0",
        ] {
            assert_eq!(blocks_of(name), None, "{name}");
        }
    }

    #[test]
    fn a_line_stays_where_a_part_covers_its_blocks() {
        let stored = StoredBlocks::from([("all".to_owned(), vec![1..=6, 9..=9])]);
        for (line, is_stored) in [
            ("1\tall_3_3_0\tall_17_4\n", true),
            ("1\tall_9_9_0\tall_17_4\n", true),
            ("1\tall_7_7_0\tall_17_4\n", false),
            ("1\t202601_3_3_0\t202601_17_4\n", false),
            // Taking back a token needs no part.
            ("2\tall_7_7_0\tall_17_4\n", true),
            // Cut short.
            ("1\tall_3_3_0\tall_17_4", false),
            ("1\tall_3_3_0\n", false),
            ("1\tall_3_31\tall_9_9_0\tall_17_4\n", false),
            ("\n", false),
        ] {
            assert_eq!(is_kept(line, &stored), is_stored, "{line:?}");
        }
    }
}
