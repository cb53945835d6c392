//! The account API: API keys, organizations, members, invitations and the audit log
//! (`spec/keys-orgs-auth.md`), over the control store.

mod api_keys;
mod audit;
mod invitations;
mod members;
mod orgs;
mod shapes;

use crate::api::Api;
use crate::auth_routes::auth_api;
use crate::oidc::oidc_api;
use crate::state::HttpState;

/// Returns all endpoints of accounts, sign-in included.
#[must_use]
pub fn account_api() -> Api<HttpState> {
    auth_api()
        .merge(oidc_api())
        .merge(api_keys::api())
        .merge(orgs::api())
        .merge(members::api())
        .merge(invitations::api())
        .merge(audit::api())
}
