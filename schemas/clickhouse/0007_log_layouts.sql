-- Over how many partitions the events of a topic are spread. All copies of an event are judged in
-- one partition; so the number changes only while no processor runs, and the newest row is in force.
CREATE TABLE IF NOT EXISTS log_layouts
(
    topic LowCardinality(String),
    layout UInt32 COMMENT 'From 1; the largest is in force',
    partitions UInt32 COMMENT 'Partitions over which events are spread',
    created_at DateTime64(3, 'UTC')
)
ENGINE = MergeTree
ORDER BY (topic, layout)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Over how many partitions the events of a topic are spread';

ALTER TABLE batches
    ADD COLUMN IF NOT EXISTS moved UInt64 DEFAULT 0
        COMMENT 'Events that stood in another partition than their own, and were appended there'
        AFTER dead_lettered;

ALTER TABLE batches MODIFY COLUMN consumed
    COMMENT 'Events, invoices or changes in the batch: the sum of the next four';

ALTER TABLE dead_letters
    ADD COLUMN IF NOT EXISTS content_type String DEFAULT '' COMMENT 'Of raw; empty: the record had none'
        AFTER detail;
