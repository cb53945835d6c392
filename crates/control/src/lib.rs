//! The control store: what needs uniqueness and transactions (architecture §5).
//!
//! Organizations, users, memberships, invitations, API keys, sessions, settings, sealed secrets, the
//! audit log, customer mappings, and the outbox that carries changes to the warehouse's dimension
//! tables. In a SQLite file or a Postgres database: every statement keeps to the SQL and the types
//! that both take.
//!
//! Reads go through a pool of read-only connections. A write is a transaction that takes the
//! store's one write lock when it begins: SQLite's by `BEGIN IMMEDIATE`, in Postgres an advisory
//! lock. No transaction reads first and asks for the lock later, so what it decides on what it has
//! read holds, in all processes, and no two wait for each other. The lock is waited for up to five
//! seconds. A read that starts after a write was acknowledged sees it, on every connection.

mod api_keys;
mod audit;
mod bootstrap;
mod email;
mod error;
mod invitations;
mod limits;
mod mapping_list;
mod mappings;
mod members;
mod metrics;
mod migrations;
mod org_secrets;
mod orgs;
mod outbox;
mod page;
mod password;
mod pools;
mod postgres;
mod row;
mod sealed;
mod secret;
mod sessions;
mod settings;
mod sqlite;
mod store;
mod subscriptions;
mod users;

pub use api_keys::{ApiKey, ApiKeyDraft, ApiKeyPatch, CURRENT_API_VERSION, ResolvedApiKey};
pub use audit::{AuditDraft, AuditEvent};
pub use bootstrap::{BootstrapRequest, Bootstrapped};
pub use error::ControlError;
pub use invitations::{Invitation, InvitationStatus};
pub use members::Member;
pub use metrics::METRICS;
pub use org_secrets::RotationReport;
pub use orgs::{Org, OrgOfUser};
pub use outbox::{DIMENSIONS, OutboxEntry};
pub use password::MIN_PASSWORD_CHARS;
pub use sealed::Keyring;
pub use secret::{
    ApiKeySecret, GeneratedPassword, InvitationToken, OpenedSecret, SealingKey, SecretHash, SessionToken,
};
pub use sessions::Session;
pub use store::ControlStore;
pub use users::User;
