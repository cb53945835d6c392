CREATE TABLE IF NOT EXISTS dead_letter_redrives
(
    topic LowCardinality(String) COMMENT 'Place of the dead letter',
    log_partition UInt32,
    log_offset UInt64,
    row_index UInt32,
    redriven_at DateTime64(3, 'UTC') DEFAULT now64(3)
)
ENGINE = MergeTree
ORDER BY (topic, log_partition, log_offset, row_index)
COMMENT 'Dead letters that an operator sent through the log again';
