-- The ledger of the processor: what became of every consumed record.
CREATE TABLE IF NOT EXISTS batches
(
    topic LowCardinality(String),
    log_partition UInt32,
    start_offset UInt64 COMMENT 'First offset of the batch',
    end_offset UInt64 COMMENT 'Offset after the last one',
    consumed UInt64 COMMENT 'Events, invoices or changes in the batch: the sum of the next three',
    inserted UInt64,
    duplicates UInt64,
    dead_lettered UInt64,
    oldest_received_at DateTime64(3, 'UTC') COMMENT 'When the log took the oldest record'
)
ENGINE = MergeTree
ORDER BY (topic, log_partition, start_offset)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'One row per batch that was written';
