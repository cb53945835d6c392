//! What both HTTP services share: the error envelope, the edge (request id, fixed headers, limits,
//! origin check, panics), callers, bodies, query strings, idempotent replay, CSV, sign-in, health and
//! what operators ask.
//!
//! Wire rules: `spec/conventions.md`. A service builds its routes over a state that yields
//! [`HttpState`] and passes the whole router through [`apply`], so that services cannot differ.

pub mod auth_routes;
pub mod body;
pub mod client_ip;
pub mod config;
pub mod csv;
mod edge;
pub mod error;
pub mod health;
pub mod idempotency;
mod internal;
pub mod key_auth;
mod key_cache;
pub mod limit;
mod metrics;
mod origin;
mod policy;
pub mod query;
pub mod reader;
pub mod reply;
pub mod request_context;
pub mod session_auth;
pub mod state;

pub use auth_routes::auth_router;
pub use config::HttpConfig;
pub use edge::{API_VERSION, apply};
pub use error::{ApiError, ErrorCode, Issue, PathItem};
pub use health::{Health, HealthCheck, HealthSecret};
pub use internal::{health_router, internal_router};
pub use key_auth::ApiKeyCaller;
pub use metrics::METRICS;
pub use query::{Cursor, PathParams, QueryParams};
pub use reader::Reader;
pub use request_context::RequestContext;
pub use session_auth::SessionCaller;
pub use state::HttpState;
