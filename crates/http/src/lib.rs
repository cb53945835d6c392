//! What both HTTP services share: the error envelope, the edge (request id, fixed headers, limits,
//! origin check, panics), callers, bodies, query strings, idempotent replay, CSV, sign-in, health and
//! what operators ask.
//!
//! Wire rules: `spec/conventions.md`. A service declares its endpoints ([`Endpoint`]) over a state that yields
//! [`HttpState`] and passes them all ([`Api`]) through [`apply`], so that services cannot differ.

mod accounts;
mod api;
pub mod auth_routes;
pub mod body;
pub mod client_ip;
pub mod config;
pub mod csv;
mod edge;
pub mod endpoint;
pub mod error;
pub mod health;
pub mod idempotency;
mod internal;
pub mod key_auth;
mod key_cache;
pub mod limit;
pub mod members;
mod metrics;
pub mod oidc;
mod openapi;
mod org_auth;
mod origin;
mod policy;
pub mod query;
pub mod reader;
pub mod reply;
pub mod request_context;
pub mod session_auth;
pub mod state;

pub use accounts::account_api;
pub use api::Api;
pub use config::HttpConfig;
pub use edge::{API_VERSION, apply};
pub use endpoint::{Access, Endpoint, IpQuota, shape_of};
pub use error::{ApiError, ErrorCode, Issue, PathItem};
pub use health::{Health, HealthCheck, HealthSecret};
pub use internal::{health_api, health_router, internal_router};
pub use key_auth::ApiKeyCaller;
pub use metrics::METRICS;
pub use oidc::OidcConfig;
pub use org_auth::OrgCaller;
pub use query::{Cursor, PathParams, QueryParams};
pub use reader::Reader;
pub use request_context::RequestContext;
pub use session_auth::SessionCaller;
pub use state::HttpState;
