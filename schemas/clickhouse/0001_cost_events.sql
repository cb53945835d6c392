-- Raw events and what finds one of them. Duplicates are removed before the insert; the key of the
-- ReplacingMergeTree is a second line of defence.
CREATE TABLE IF NOT EXISTS cost_events
(
    event_id UUID COMMENT 'Derived from org_id, request_id and provider',
    request_id String COMMENT 'The sender''s idempotency key, else generated',
    org_id UUID COMMENT 'Organization',
    api_key_id UUID COMMENT 'API key that sent the event; nil: none',
    provider LowCardinality(String) COMMENT 'For example openai',
    model LowCardinality(String) COMMENT 'For example gpt-4o',
    event_type LowCardinality(String) COMMENT 'llm, tool or custom',
    source LowCardinality(String) COMMENT 'proxy, api or mcp',
    input_tokens Int64 COMMENT 'All input tokens',
    output_tokens Int64 COMMENT 'All output tokens',
    cached_input_tokens Int64 COMMENT 'The cached ones among the input tokens',
    reasoning_tokens Int64 COMMENT 'The reasoning ones among the output tokens',
    cost_microdollars Int64 COMMENT 'Cost as sent, in microdollars (1 USD = 1000000)',
    cost_breakdown_input Nullable(Int64) COMMENT 'Part of the cost, microdollars; null: not stated',
    cost_breakdown_output Nullable(Int64) COMMENT 'Part of the cost, microdollars; null: not stated',
    cost_breakdown_cached Nullable(Int64) COMMENT 'Part of the cost, microdollars; null: not stated',
    cost_breakdown_reasoning Nullable(Int64) COMMENT 'Part of the cost, microdollars; null: not stated',
    cost_breakdown_tool_definition Nullable(Int64) COMMENT 'Part of the cost, microdollars; null: not stated',
    duration_ms Nullable(Int64) COMMENT 'Milliseconds; null: not stated',
    session_id String COMMENT 'Empty: none',
    trace_id String COMMENT '32 lower-case hex digits; empty: none',
    tool_name String COMMENT 'Empty: none',
    tool_server String COMMENT 'Empty: none',
    customer_id String COMMENT 'The customer that caused the cost; empty: unknown',
    tags Map(LowCardinality(String), String) COMMENT 'The customer stands here too, under the key customer',
    content_hash UInt64 COMMENT 'Fingerprint that tells a retry from another event under the same key',
    created_at DateTime64(3, 'UTC') COMMENT 'Event time; decides the period',
    received_at DateTime64(3, 'UTC') COMMENT 'Our clock at receipt',
    INDEX session_id_index session_id TYPE bloom_filter(0.01) GRANULARITY 4,
    INDEX trace_id_index trace_id TYPE bloom_filter(0.01) GRANULARITY 4
)
ENGINE = ReplacingMergeTree
PARTITION BY toYYYYMM(created_at)
ORDER BY (org_id, created_at, event_id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'One row per cost event';

CREATE TABLE IF NOT EXISTS cost_event_ids
(
    org_id UUID COMMENT 'Organization',
    event_id UUID COMMENT 'The event',
    created_at DateTime64(3, 'UTC') COMMENT 'Event time: where cost_events has the row',
    content_hash UInt64 COMMENT 'As in cost_events',
    log_partition UInt32 COMMENT 'Partition of topic cost-events that the event came from',
    log_offset UInt64 COMMENT 'Offset of its record in that partition'
)
ENGINE = MergeTree
ORDER BY (org_id, event_id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Every event that was ever counted: finds duplicates of any age, and one event by its id';
