//! Batches: which records they hold, and the intent that makes them reproducible.

use event_log::{LogRecord, TopicPartition};

use crate::error::ProcessorError;

/// The records of one partition with offsets in `[start, end)`. Once cut it never changes.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) topic_partition: TopicPartition,
    pub(crate) start: u64,
    pub(crate) end: u64,
    /// Over how many partitions the events of the topic are spread; other events of this partition
    /// are moved to theirs.
    pub(crate) num_partitions: u32,
    pub(crate) records: Vec<LogRecord>,
}

impl Batch {
    /// Returns the token of this batch's insert into `table`: the same for every replay.
    pub(crate) fn token(&self, table: &str) -> String {
        format!("{}:{}-{}:{table}", self.topic_partition, self.start, self.end)
    }

    /// Returns when the log took the oldest record, UTC milliseconds.
    pub(crate) fn oldest_timestamp_ms(&self) -> i64 {
        self.records
            .iter()
            .map(|record| record.timestamp_ms)
            .min()
            .unwrap_or(0)
    }
}

/// The metadata of the commit of a batch's first offset: all that a replay needs to yield the very
/// same rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Intent {
    pub(crate) end: u64,
    /// As in [`Batch::num_partitions`].
    pub(crate) num_partitions: u32,
}

impl Intent {
    pub(crate) fn encode(self) -> String {
        format!("end={};partitions={}", self.end, self.num_partitions)
    }

    /// Reads the metadata of a commit; none where no batch was under way.
    ///
    /// # Errors
    /// [`ProcessorError::Intent`] for a text that [`Intent::encode`] did not write, or an end that
    /// does not lie beyond `start`.
    pub(crate) fn decode(
        topic_partition: &TopicPartition,
        start: u64,
        metadata: &str,
    ) -> Result<Option<Self>, ProcessorError> {
        if metadata.is_empty() {
            return Ok(None);
        }
        let intent = Self::parse(metadata).filter(|intent| intent.end > start && intent.num_partitions > 0);
        intent.map(Some).ok_or_else(|| ProcessorError::Intent {
            partition: topic_partition.to_string(),
            metadata: metadata.to_owned(),
        })
    }

    fn parse(metadata: &str) -> Option<Self> {
        let (end, num_partitions) = metadata.strip_prefix("end=")?.split_once(";partitions=")?;
        Some(Self {
            end: end.parse().ok()?,
            num_partitions: num_partitions.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intent_round_trips_and_refuses_the_rest() {
        let place = TopicPartition::new("cost-events", 0);
        let intent = Intent {
            end: 42,
            num_partitions: 3,
        };
        assert_eq!(Intent::decode(&place, 7, &intent.encode()).unwrap(), Some(intent));
        assert_eq!(Intent::decode(&place, 7, "").unwrap(), None);
        for bad in [
            "end=7;partitions=1",
            "end=;partitions=1",
            "end=-1;partitions=1",
            "end=9;partitions=0",
            "end=9",
            "42",
            "END=9;partitions=1",
        ] {
            assert!(Intent::decode(&place, 7, bad).is_err(), "{bad}");
        }
    }
}
