-- Roll-ups are sums of deltas: always aggregate with sum(), never count rows.
CREATE TABLE IF NOT EXISTS cost_by_hour
(
    org_id UUID COMMENT 'Organization',
    hour DateTime64(3, 'UTC') COMMENT 'Start of the hour of the event time',
    customer_id String COMMENT 'Empty: unknown',
    provider LowCardinality(String),
    model LowCardinality(String),
    api_key_id UUID COMMENT 'Nil: none',
    event_type LowCardinality(String),
    source LowCardinality(String),
    estimated Bool COMMENT 'Cost is an estimate',
    cost_microdollars Int64 COMMENT 'Sum of costs',
    cost_breakdown_input Int64 COMMENT 'Sum of the stated parts',
    cost_breakdown_output Int64 COMMENT 'Sum of the stated parts',
    cost_breakdown_cached Int64 COMMENT 'Sum of the stated parts',
    cost_breakdown_reasoning Int64 COMMENT 'Sum of the stated parts',
    requests Int64 COMMENT 'Number of events',
    input_tokens Int64,
    output_tokens Int64,
    cached_input_tokens Int64,
    reasoning_tokens Int64,
    duration_ms Int64 COMMENT 'Sum of the stated durations',
    requests_with_duration Int64 COMMENT 'Number of events that state a duration'
)
ENGINE = SummingMergeTree
PARTITION BY toYYYYMM(hour)
ORDER BY (org_id, hour, customer_id, provider, model, api_key_id, event_type, source, estimated)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Cost by hour and dimension';

CREATE TABLE IF NOT EXISTS cost_by_tag_day
(
    org_id UUID COMMENT 'Organization',
    day DateTime64(3, 'UTC') COMMENT 'Start of the day of the event time',
    tag_key LowCardinality(String),
    tag_value String,
    estimated Bool COMMENT 'Cost is an estimate',
    cost_microdollars Int64 COMMENT 'Sum of costs',
    requests Int64 COMMENT 'Number of events'
)
ENGINE = SummingMergeTree
PARTITION BY toYYYYMM(day)
ORDER BY (org_id, tag_key, day, tag_value, estimated)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Cost by day and tag; an event counts once under each of its tags';

CREATE TABLE IF NOT EXISTS cost_by_customer_month
(
    org_id UUID COMMENT 'Organization',
    month DateTime64(3, 'UTC') COMMENT 'Start of the month of the event time',
    customer_id String COMMENT 'Empty: unknown',
    model LowCardinality(String),
    cost_microdollars Int64 COMMENT 'Sum of costs',
    requests Int64 COMMENT 'Number of events'
)
ENGINE = SummingMergeTree
ORDER BY (org_id, month, customer_id, model)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Cost by month, customer and model: what margins are made of';
