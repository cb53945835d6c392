//! Torn writes, damage and repair.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use marginstream_event_log::{EventLog, LocalLog, LogError, RepairReport, TopicPartition, repair};

use crate::support::{LONG, read_until, record, small_segments};

/// Bytes of a record of `append`, frame and all.
const FRAME_LEN: usize = 38 + 100;
/// Large enough for one segment in all.
const ONE_SEGMENT: u64 = 1 << 20;

fn value(number: u64) -> String {
    format!("{number:0>100}")
}

/// Appends records so that the log holds `num_records`, and closes it.
async fn fill(dir: &Path, segment_bytes: u64, num_records: u64) {
    let log = LocalLog::open(small_segments(dir, segment_bytes)).unwrap();
    for number in 0..num_records {
        log.append("t", vec![record(0, value(number))]).await.unwrap();
    }
    log.shutdown().await.unwrap();
}

fn segment(dir: &Path, base: u64) -> PathBuf {
    dir.join(format!("t/0/{base:020}.log"))
}

/// Opens the log and returns all offsets it holds, having checked their values, and the end.
async fn offsets(dir: &Path, segment_bytes: u64) -> (Vec<u64>, u64) {
    let log = LocalLog::open(small_segments(dir, segment_bytes)).unwrap();
    let member = log.join("check", &["t"]).await.unwrap();
    let tp = TopicPartition::new("t", 0);
    let end = log.position("check", &tp).await.unwrap().end;
    let (mut offsets, mut next) = (Vec::new(), 0);
    loop {
        let records = member
            .read(&tp, next, 1000, std::time::Duration::ZERO)
            .await
            .unwrap();
        let Some(last) = records.last() else {
            return (offsets, end);
        };
        next = last.offset + 1;
        for record in &records {
            assert_eq!(record.value, value(record.offset));
            offsets.push(record.offset);
        }
    }
}

#[tokio::test]
async fn a_write_torn_at_any_byte_is_dropped_and_the_log_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), ONE_SEGMENT, 3).await;
    let path = segment(dir.path(), 0);
    let whole = std::fs::read(&path).unwrap();
    for cut in 2 * FRAME_LEN..3 * FRAME_LEN {
        std::fs::write(&path, &whole[..cut]).unwrap();
        let log = LocalLog::open(small_segments(dir.path(), ONE_SEGMENT)).unwrap();
        assert_eq!(
            std::fs::metadata(&path).unwrap().len(),
            2 * FRAME_LEN as u64,
            "cut at {cut}"
        );
        assert_eq!(log.append("t", vec![record(0, value(2))]).await.unwrap(), vec![2]);
        drop(log);
        assert_eq!(offsets(dir.path(), ONE_SEGMENT).await, (vec![0, 1, 2], 3));
    }
}

#[tokio::test]
async fn zeros_behind_the_last_record_are_dropped() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), ONE_SEGMENT, 3).await;
    for num_zeros in [1, 31, 32, 5000] {
        let mut file = OpenOptions::new()
            .append(true)
            .open(segment(dir.path(), 0))
            .unwrap();
        file.write_all(&vec![0; num_zeros]).unwrap();
        assert_eq!(
            offsets(dir.path(), ONE_SEGMENT).await,
            (vec![0, 1, 2], 3),
            "{num_zeros} zeros"
        );
    }
}

fn open_error(dir: &Path, segment_bytes: u64) -> LogError {
    LocalLog::open(small_segments(dir, segment_bytes)).unwrap_err()
}

fn flip(path: &Path, position: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[position] ^= 0x10;
    std::fs::write(path, bytes).unwrap();
}

#[tokio::test]
async fn a_flipped_bit_in_any_byte_of_a_record_is_damage_and_costs_only_that_record() {
    let template = tempfile::tempdir().unwrap();
    fill(template.path(), ONE_SEGMENT, 4).await;
    let whole = std::fs::read(segment(template.path(), 0)).unwrap();
    for byte in FRAME_LEN..2 * FRAME_LEN {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), ONE_SEGMENT, 0).await;
        let path = segment(dir.path(), 0);
        std::fs::write(&path, &whole).unwrap();
        flip(&path, byte);

        let error = open_error(dir.path(), ONE_SEGMENT);
        let LogError::Damaged {
            position,
            unreadable_bytes,
            ..
        } = &error
        else {
            panic!("{error}")
        };
        assert_eq!(
            (*position, *unreadable_bytes),
            (FRAME_LEN as u64, 3 * FRAME_LEN as u64)
        );
        assert!(
            error.to_string().contains("marginstream log repair --data"),
            "{error}"
        );
        assert!(!error.is_retryable());

        let reports = repair(dir.path()).unwrap();
        let [
            RepairReport {
                position,
                num_recovered,
                set_aside: Some(aside),
                lost_offsets,
                ..
            },
        ] = &reports[..]
        else {
            panic!("{reports:?}")
        };
        assert_eq!((*position, *num_recovered), (FRAME_LEN as u64, 2));
        assert_eq!(lost_offsets[0], 1..2);
        let mut damaged = whole[FRAME_LEN..].to_vec();
        damaged[byte - FRAME_LEN] ^= 0x10;
        assert!(std::fs::read(aside).unwrap() == damaged);
        let (kept, end) = offsets(dir.path(), ONE_SEGMENT).await;
        assert_eq!(kept, vec![0, 2, 3]);
        assert!(end > 4, "offsets that may have been in use are not given again");
        assert_eq!(repair(dir.path()).unwrap(), vec![]);
    }
}

#[tokio::test]
async fn a_damaged_last_record_is_set_aside_and_its_offset_not_given_again() {
    let dir = tempfile::tempdir().unwrap();
    fill(dir.path(), ONE_SEGMENT, 3).await;
    flip(&segment(dir.path(), 0), 3 * FRAME_LEN - 1);
    assert!(matches!(
        open_error(dir.path(), ONE_SEGMENT),
        LogError::Damaged { .. }
    ));
    let reports = repair(dir.path()).unwrap();
    assert_eq!((reports.len(), reports[0].num_recovered), (1, 0));
    let log = LocalLog::open(small_segments(dir.path(), ONE_SEGMENT)).unwrap();
    let appended = log.append("t", vec![record(0, "after")]).await.unwrap()[0];
    assert!(appended > 3);
    let member = log.join("g", &["t"]).await.unwrap();
    let read = read_until(&*member, &TopicPartition::new("t", 0), 0, appended + 1).await;
    assert_eq!(
        read.iter().map(|record| record.offset).collect::<Vec<_>>(),
        vec![0, 1, appended]
    );
}

#[tokio::test]
async fn damage_in_a_sealed_segment_shows_when_read_and_repair_keeps_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    // Four records to a segment.
    let segment_bytes = 4 * FRAME_LEN as u64;
    fill(dir.path(), segment_bytes, 12).await;
    flip(&segment(dir.path(), 4), FRAME_LEN + 50);
    let log = LocalLog::open(small_segments(dir.path(), segment_bytes)).unwrap();
    let member = log.join("g", &["t"]).await.unwrap();
    let tp = TopicPartition::new("t", 0);
    assert_eq!(member.read(&tp, 4, 1, LONG).await.unwrap().len(), 1);
    let error = member.read(&tp, 5, 1, LONG).await.unwrap_err();
    assert!(matches!(error, LogError::Damaged { .. }), "{error}");
    assert!(matches!(repair(dir.path()), Err(LogError::Locked { .. })));
    drop((member, log));

    let reports = repair(dir.path()).unwrap();
    assert_eq!(reports.len(), 1);
    assert_eq!(
        (reports[0].num_recovered, &reports[0].lost_offsets[..]),
        (2, std::slice::from_ref(&(5..6)))
    );
    assert_eq!(
        offsets(dir.path(), segment_bytes).await,
        ((0..12).filter(|offset| *offset != 5).collect(), 12)
    );
    assert_eq!(repair(dir.path()).unwrap(), vec![]);
}

#[tokio::test]
async fn a_segment_damaged_from_its_first_byte_keeps_what_follows() {
    let dir = tempfile::tempdir().unwrap();
    let segment_bytes = 4 * FRAME_LEN as u64;
    fill(dir.path(), segment_bytes, 12).await;
    flip(&segment(dir.path(), 4), 0);
    let intact = std::fs::read(segment(dir.path(), 8)).unwrap();
    std::fs::write(segment(dir.path(), 8), [b"junk".to_vec(), intact].concat()).unwrap();
    assert!(matches!(
        open_error(dir.path(), segment_bytes),
        LogError::Damaged { position: 0, .. }
    ));
    assert_eq!(repair(dir.path()).unwrap().len(), 2);
    let (kept, end) = offsets(dir.path(), segment_bytes).await;
    assert_eq!(kept, (0..12).filter(|offset| *offset != 4).collect::<Vec<_>>());
    assert!(end > 12);
}

#[tokio::test]
async fn a_missing_or_unsealed_segment_is_damage() {
    let segment_bytes = 4 * FRAME_LEN as u64;
    for remove in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        fill(dir.path(), segment_bytes, 12).await;
        let path = segment(dir.path(), 4);
        if remove {
            std::fs::remove_file(path).unwrap();
        } else {
            OpenOptions::new()
                .write(true)
                .open(path)
                .unwrap()
                .set_len(4 * FRAME_LEN as u64)
                .unwrap();
        }
        assert!(matches!(
            open_error(dir.path(), segment_bytes),
            LogError::Damaged { .. }
        ));
        repair(dir.path()).unwrap();
        let expected: Vec<u64> = if remove {
            (0..4).chain(8..12).collect()
        } else {
            (0..12).collect()
        };
        assert_eq!(offsets(dir.path(), segment_bytes).await, (expected, 12));
    }
}

#[tokio::test]
async fn a_seal_without_a_next_segment_goes_on_where_it_ended() {
    let dir = tempfile::tempdir().unwrap();
    let segment_bytes = 4 * FRAME_LEN as u64;
    fill(dir.path(), segment_bytes, 5).await;
    std::fs::remove_file(segment(dir.path(), 4)).unwrap();
    let log = LocalLog::open(small_segments(dir.path(), segment_bytes)).unwrap();
    assert_eq!(log.append("t", vec![record(0, value(4))]).await.unwrap(), vec![4]);
    drop(log);
    assert_eq!(offsets(dir.path(), segment_bytes).await, ((0..5).collect(), 5));
}

#[tokio::test]
async fn a_log_shorter_than_what_was_processed_is_damage() {
    let dir = tempfile::tempdir().unwrap();
    let tp = TopicPartition::new("t", 0);
    fill(dir.path(), ONE_SEGMENT, 3).await;
    let log = LocalLog::open(small_segments(dir.path(), ONE_SEGMENT)).unwrap();
    log.join("g", &["t"])
        .await
        .unwrap()
        .commit(&tp, 1, 3, "3-9")
        .await
        .unwrap();
    drop(log);
    OpenOptions::new()
        .write(true)
        .open(segment(dir.path(), 0))
        .unwrap()
        .set_len(2 * FRAME_LEN as u64)
        .unwrap();
    let error = open_error(dir.path(), ONE_SEGMENT);
    assert!(matches!(error, LogError::Damaged { .. }), "{error}");
    assert_eq!(repair(dir.path()).unwrap().len(), 1);

    let log = LocalLog::open(small_segments(dir.path(), ONE_SEGMENT)).unwrap();
    let member = log.join("g", &["t"]).await.unwrap();
    assert_eq!(member.committed(&tp).await.unwrap().unwrap().offset, 3);
    let appended = log.append("t", vec![record(0, "after")]).await.unwrap()[0];
    assert!(appended > 9);
    assert_eq!(member.read(&tp, 3, 1000, LONG).await.unwrap()[0].offset, appended);
}

#[tokio::test]
async fn destroyed_commits_are_damage_and_repair_starts_the_group_over() {
    let dir = tempfile::tempdir().unwrap();
    let tp = TopicPartition::new("t", 0);
    fill(dir.path(), ONE_SEGMENT, 3).await;
    let log = LocalLog::open(small_segments(dir.path(), ONE_SEGMENT)).unwrap();
    log.join("g", &["t"])
        .await
        .unwrap()
        .commit(&tp, 1, 3, "")
        .await
        .unwrap();
    drop(log);
    let path = dir.path().join("groups/g/t-0.commit");
    std::fs::write(&path, [9; 8192]).unwrap();
    assert!(matches!(
        open_error(dir.path(), ONE_SEGMENT),
        LogError::Damaged { .. }
    ));
    assert_eq!(repair(dir.path()).unwrap()[0].path, path);
    let log = LocalLog::open(small_segments(dir.path(), ONE_SEGMENT)).unwrap();
    assert_eq!(log.position("g", &tp).await.unwrap().lag(), 3);
}
