CREATE TABLE IF NOT EXISTS customer_mappings
(
    org_id UUID COMMENT 'Organization',
    mapping_id UUID,
    stripe_customer_id String,
    tag_key LowCardinality(String) COMMENT 'Only customer counts in margins',
    tag_value String,
    match_type LowCardinality(String) COMMENT 'auto or manual',
    created_at DateTime64(3, 'UTC'),
    deleted UInt8 COMMENT '1 where the mapping was removed',
    version UInt64 COMMENT 'The largest version is the state'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (org_id, mapping_id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Which tag value is which Stripe customer; read with FINAL and deleted = 0';

CREATE TABLE IF NOT EXISTS dead_letters
(
    org_id UUID COMMENT 'Organization; nil where it cannot be told',
    topic LowCardinality(String) COMMENT 'Where the record was read',
    log_partition UInt32,
    log_offset UInt64,
    row_index UInt32 COMMENT 'Event within the record, from 0',
    reason LowCardinality(String) COMMENT 'Stable code',
    detail String COMMENT 'For people',
    raw String COMMENT 'The bytes as received',
    received_at DateTime64(3, 'UTC') COMMENT 'When the log took the record'
)
ENGINE = MergeTree
ORDER BY (org_id, topic, log_partition, log_offset, row_index)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'What could not be counted, and why';
