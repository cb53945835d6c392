-- Every state is kept: a batch that is replayed must find the state that preceded it, so no merge
-- may remove it.
CREATE TABLE IF NOT EXISTS invoice_states
(
    org_id UUID COMMENT 'Organization',
    invoice_id String COMMENT 'Stripe''s id',
    stripe_customer_id String COMMENT 'Empty where the invoice was deleted',
    customer_name String COMMENT 'Empty: unknown',
    customer_email String COMMENT 'Empty: unknown',
    status LowCardinality(String) COMMENT 'draft, open, paid, uncollectible, void or deleted',
    currency LowCardinality(String) COMMENT 'ISO 4217, lower case',
    amount_paid Int64 COMMENT 'In the currency''s smallest unit',
    revenue_microdollars Int64 COMMENT 'What counts as revenue; 0 unless paid in US dollars',
    created_at DateTime64(3, 'UTC') COMMENT 'When Stripe made the invoice; decides the period',
    received_at DateTime64(3, 'UTC') COMMENT 'Our clock at receipt',
    version UInt64 COMMENT 'Order of receipt; the largest version is the state'
)
ENGINE = MergeTree
ORDER BY (org_id, invoice_id, version)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Every received state of every invoice';

CREATE VIEW IF NOT EXISTS invoices AS
SELECT * FROM invoice_states ORDER BY version DESC LIMIT 1 BY org_id, invoice_id;

CREATE TABLE IF NOT EXISTS revenue_by_month
(
    org_id UUID COMMENT 'Organization',
    stripe_customer_id String,
    month DateTime64(3, 'UTC') COMMENT 'Start of the month',
    revenue_microdollars Int64 COMMENT 'Sum of revenue',
    invoices Int64 COMMENT 'Number of invoices that count'
)
ENGINE = SummingMergeTree
ORDER BY (org_id, month, stripe_customer_id)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Revenue by month and Stripe customer: sums of deltas, aggregate with sum()';

CREATE TABLE IF NOT EXISTS stripe_customer_names
(
    org_id UUID COMMENT 'Organization',
    stripe_customer_id String,
    month DateTime64(3, 'UTC') COMMENT 'Start of the month of the invoice that states the name',
    customer_name String COMMENT 'Empty: unknown',
    customer_email String COMMENT 'Empty: unknown',
    version UInt64 COMMENT 'As in invoices'
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (org_id, stripe_customer_id, month)
SETTINGS non_replicated_deduplication_window = 10000
COMMENT 'Names of Stripe customers by month; the largest version counts';
