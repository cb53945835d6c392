//! The public port.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use marginstream_http::HealthSecret;
use marginstream_http::client_ip::IpNetwork;

use super::OidcArgs;
use crate::secret::Secret;
use crate::tasks::Deadlines;

/// The public port and what stands before it.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "HTTP")]
pub struct HttpArgs {
    /// Address and port of the API, for ingest and queries alike. Port 0 takes a free one. There is no
    /// TLS here: put a proxy before an address that other machines reach.
    #[arg(
        long,
        env = "MARGINSTREAM_LISTEN",
        value_name = "ADDRESS:PORT",
        default_value = "127.0.0.1:8080"
    )]
    pub listen: SocketAddr,

    /// Proxies whose `X-Forwarded-For` and `X-Real-IP` are believed, as addresses or blocks such as
    /// 10.0.0.0/8, separated by commas. They must replace the header that they were sent.
    #[arg(
        long,
        env = "MARGINSTREAM_TRUSTED_PROXIES",
        value_name = "NETWORKS",
        value_delimiter = ','
    )]
    pub trusted_proxies: Vec<IpNetwork>,

    /// Says that clients arrive over TLS: cookies become `Secure` and answers carry HSTS.
    #[arg(long, env = "MARGINSTREAM_BEHIND_TLS", value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = false, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub behind_tls: bool,

    /// Secret that the header `x-ops-health-secret` must carry for `GET /api/health?verbose=1` to tell
    /// which component is not healthy, and why. Without it anyone is told which, and nobody why.
    #[arg(
        long,
        env = "MARGINSTREAM_HEALTH_SECRET",
        value_name = "SECRET",
        hide_env_values = true
    )]
    pub health_secret: Option<Secret>,

    /// How long a stop waits for open requests, in seconds; what is open then is cut off.
    #[arg(long, env = "MARGINSTREAM_SHUTDOWN_SECS", value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub shutdown_secs: u64,

    /// How long a stop waits until the log's events are in the warehouse, in seconds. What is left is
    /// processed at the next start; nothing is lost.
    #[arg(long, env = "MARGINSTREAM_DRAIN_SECS", value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(0..=3600))]
    pub drain_secs: u64,

    /// The provider that people may sign in with.
    #[command(flatten)]
    pub oidc: OidcArgs,
}

impl HttpArgs {
    pub(crate) fn health_secret(&self) -> Option<HealthSecret> {
        self.health_secret
            .as_ref()
            .and_then(|secret| HealthSecret::of(secret.expose()))
    }

    pub(crate) fn deadlines(&self) -> Deadlines {
        Deadlines::new(Duration::from_secs(self.shutdown_secs), self.drain_deadline())
    }

    pub(crate) fn drain_deadline(&self) -> Duration {
        Duration::from_secs(self.drain_secs)
    }
}
