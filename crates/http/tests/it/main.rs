//! The shared layer, through routers like those of the services, over a real control store.

#![expect(clippy::unwrap_used, reason = "what fails in the support code fails its test")]

mod accounts;
mod api_keys;
mod bodies;
mod edge;
mod latency;
mod oidc;
mod oidc_outage;
mod provider;
mod readme;
mod served;
mod sessions;
mod support;
