-- The control store. SQL that both SQLite and Postgres take, and only types that sqlx's `Any`
-- driver carries: ids are hyphenated lower-case UUIDs, times are milliseconds since 1970 UTC,
-- booleans are 0 or 1, JSON is text.

CREATE TABLE orgs (
    id TEXT NOT NULL PRIMARY KEY,
    name TEXT NOT NULL,
    slug TEXT NOT NULL UNIQUE,
    is_personal BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);

-- `email` is lower case.
CREATE TABLE users (
    id TEXT NOT NULL PRIMARY KEY,
    email TEXT NOT NULL UNIQUE,
    name TEXT,
    password_hash TEXT,
    created_at BIGINT NOT NULL
);

CREATE TABLE memberships (
    org_id TEXT NOT NULL REFERENCES orgs (id),
    user_id TEXT NOT NULL REFERENCES users (id),
    role TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    PRIMARY KEY (org_id, user_id)
);
CREATE INDEX memberships_by_user ON memberships (user_id, created_at, org_id);

-- `key_hash` is the lower-case hex SHA-256 of the secret, which is stored nowhere.
CREATE TABLE api_keys (
    id TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES orgs (id),
    user_id TEXT NOT NULL REFERENCES users (id),
    name TEXT NOT NULL,
    key_hash TEXT NOT NULL UNIQUE,
    key_prefix TEXT NOT NULL,
    default_tags TEXT NOT NULL,
    api_version TEXT NOT NULL,
    environment TEXT NOT NULL,
    last_used_at BIGINT,
    revoked_at BIGINT,
    created_at BIGINT NOT NULL
);
CREATE INDEX api_keys_by_org ON api_keys (org_id, created_at, id);

CREATE TABLE subscriptions (
    org_id TEXT NOT NULL PRIMARY KEY REFERENCES orgs (id),
    tier TEXT NOT NULL,
    status TEXT NOT NULL
);

-- `token_hash` is the lower-case hex SHA-256 of the token.
CREATE TABLE sessions (
    token_hash TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    org_id TEXT NOT NULL REFERENCES orgs (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

CREATE TABLE org_settings (
    org_id TEXT NOT NULL REFERENCES orgs (id),
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    PRIMARY KEY (org_id, name)
);

-- Per tag key, Stripe customers and tag values are one-to-one.
CREATE TABLE customer_mappings (
    id TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES orgs (id),
    stripe_customer_id TEXT NOT NULL,
    tag_key TEXT NOT NULL,
    tag_value TEXT NOT NULL,
    match_type TEXT NOT NULL,
    confidence_hundredths BIGINT,
    created_at BIGINT NOT NULL,
    UNIQUE (org_id, stripe_customer_id, tag_key),
    UNIQUE (org_id, tag_key, tag_value)
);
CREATE INDEX customer_mappings_by_org ON customer_mappings (org_id, created_at, id);

-- Changes that analytics must see, in the order of their commits.
CREATE TABLE outbox (
    sequence BIGINT NOT NULL PRIMARY KEY,
    topic TEXT NOT NULL,
    record_key TEXT NOT NULL,
    payload TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    published_at BIGINT
);
CREATE INDEX outbox_unpublished ON outbox (sequence) WHERE published_at IS NULL;
CREATE INDEX outbox_published ON outbox (published_at) WHERE published_at IS NOT NULL;

-- The row `outbox` holds the last sequence number given out. Writers lock it before anything else.
CREATE TABLE counters (
    name TEXT NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
);
INSERT INTO counters (name, value) VALUES ('outbox', 0);
