//! The writer's side of one partition.

use std::sync::Arc;

use super::active::ActiveSegment;
use super::frame::EncodedRecord;
use super::partition::PartitionLog;
use super::retention::Retention;
use crate::LogError;

/// A partition as its writer has it.
#[derive(Debug)]
pub(super) struct PartitionWriter {
    pub(super) log: Arc<PartitionLog>,
    pub(super) active: ActiveSegment,
    pub(super) retention: Retention,
    /// This group commit's records, their headers set.
    pub(super) staged: Vec<EncodedRecord>,
    pub(super) staged_bytes: u64,
    /// How this group commit went here.
    pub(super) outcome: Result<(), LogError>,
}

impl PartitionWriter {
    pub(super) fn new(log: Arc<PartitionLog>, active: ActiveSegment, retention: Retention) -> Self {
        Self {
            log,
            active,
            retention,
            staged: Vec::new(),
            staged_bytes: 0,
            outcome: Ok(()),
        }
    }

    /// Gives the record its place, and returns it.
    pub(super) fn stage(&mut self, mut record: EncodedRecord, timestamp_ms: i64) -> u64 {
        let offset = self.active.next_offset + self.staged.len() as u64;
        record.set_header(offset, timestamp_ms);
        self.staged_bytes += record.frame_len();
        self.staged.push(record);
        offset
    }

    /// Writes what is staged; after an error the file is as it was.
    pub(super) fn write_staged(&mut self, timestamp_ms: i64) -> Result<(), LogError> {
        let (len, next_offset) = (self.active.len, self.active.next_offset);
        let written = self.active.write(&self.staged, timestamp_ms);
        if written.is_err() {
            self.active.roll_back(len, next_offset)?;
        }
        written
    }

    /// Seals the segment and goes on with a new one. What was written before is durable then.
    pub(super) fn roll(&mut self) -> Result<(), LogError> {
        let next = self.active.seal(&self.log.dir)?;
        self.log.push_segment(Arc::clone(&next.segment));
        self.active = next;
        self.log.set_durable_end(self.active.next_offset);
        Ok(())
    }

    pub(super) fn publish(&self) {
        self.active.publish();
        self.log.publish_end(self.active.next_offset);
    }

    pub(super) fn sync(&self) -> Result<(), LogError> {
        self.active.sync()?;
        self.log.set_durable_end(self.active.next_offset);
        Ok(())
    }

    pub(super) fn is_dirty(&self) -> bool {
        self.log.durable_end() < self.active.next_offset
    }
}
