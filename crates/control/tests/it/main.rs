//! The control store over a real SQLite file and a real Postgres server, each test in a directory or
//! a database of its own.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests too")]

mod api_key_limits;
mod api_keys;
mod audit;
mod bootstrap;
mod external_users;
mod invitation_acceptance;
mod invitations;
mod latency;
mod mappings;
mod members;
mod members_race;
mod opening;
mod org_changes;
mod org_secrets;
mod orgs;
mod outbox;
mod personal_orgs;
mod postgres;
mod services;
mod sessions;
mod sqlite;
mod support;
mod users;
