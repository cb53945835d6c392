-- What people do with their accounts: restricted keys, personal organizations, invitations, the
-- audit log, secrets at rest, identities of other issuers. Types are as in the first step.

-- JSON lists. NULL is without restriction, an empty list allows none.
ALTER TABLE api_keys ADD COLUMN allowed_models TEXT;
ALTER TABLE api_keys ADD COLUMN allowed_providers TEXT;

-- The user whose personal organization it is, NULL for all others; set where `is_personal` is 1.
ALTER TABLE orgs ADD COLUMN personal_of TEXT REFERENCES users (id);
CREATE UNIQUE INDEX orgs_by_personal_of ON orgs (personal_of) WHERE personal_of IS NOT NULL;

CREATE UNIQUE INDEX memberships_owner ON memberships (org_id) WHERE role = 'owner';

-- A session outlives its organization: `org_id` becomes NULL. SQLite changes no column in place.
CREATE TABLE sessions_without_org (
    token_hash TEXT NOT NULL PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    org_id TEXT REFERENCES orgs (id),
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);
INSERT INTO sessions_without_org (token_hash, user_id, org_id, created_at, expires_at)
SELECT token_hash, user_id, org_id, created_at, expires_at FROM sessions;
DROP TABLE sessions;
ALTER TABLE sessions_without_org RENAME TO sessions;
CREATE INDEX sessions_by_user ON sessions (user_id);
CREATE INDEX sessions_by_org ON sessions (org_id);
CREATE INDEX sessions_by_expiry ON sessions (expires_at);

-- `email` is lower case; `token_hash` is the lower-case hex SHA-256 of the token. `status` is
-- pending, accepted, declined, revoked or expired; one whose time is over may still be pending.
CREATE TABLE invitations (
    id TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL REFERENCES orgs (id),
    email TEXT NOT NULL,
    role TEXT NOT NULL,
    status TEXT NOT NULL,
    token_hash TEXT NOT NULL UNIQUE,
    token_prefix TEXT NOT NULL,
    invited_by TEXT NOT NULL REFERENCES users (id),
    accepted_by TEXT REFERENCES users (id),
    accepted_at BIGINT,
    expires_at BIGINT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE UNIQUE INDEX invitations_pending ON invitations (org_id, email) WHERE status = 'pending';
CREATE INDEX invitations_by_org ON invitations (org_id, created_at, id);

-- Refers to no other table: it outlives organizations. `metadata` is a JSON object or NULL.
CREATE TABLE audit_log (
    id TEXT NOT NULL PRIMARY KEY,
    org_id TEXT NOT NULL,
    actor_id TEXT NOT NULL,
    action TEXT NOT NULL,
    resource_type TEXT NOT NULL,
    resource_id TEXT,
    metadata TEXT,
    created_at BIGINT NOT NULL
);
CREATE INDEX audit_log_by_org ON audit_log (org_id, created_at, id);
CREATE INDEX audit_log_by_action ON audit_log (org_id, action, created_at, id);

-- Who a user is at an OpenID Connect issuer.
CREATE TABLE external_identities (
    issuer TEXT NOT NULL,
    subject TEXT NOT NULL,
    user_id TEXT NOT NULL REFERENCES users (id),
    created_at BIGINT NOT NULL,
    PRIMARY KEY (issuer, subject)
);
CREATE INDEX external_identities_by_user ON external_identities (user_id);

-- `sealed` is `v<key version>:<base64>`, encrypted under a key that is not stored here.
CREATE TABLE org_secrets (
    org_id TEXT NOT NULL REFERENCES orgs (id),
    name TEXT NOT NULL,
    sealed TEXT NOT NULL,
    PRIMARY KEY (org_id, name)
);
