//! The OpenID Connect provider that people sign in with.

use std::path::{Path, PathBuf};

use clap::Args;
use marginstream_http::OidcConfig;
use marginstream_http::oidc::{OidcIssuer, OidcRedirectUrl, OidcSecret};

use super::{ConfigError, conflict};

/// Sign-in with OpenID Connect: all four, or none.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sign-in with OpenID Connect")]
pub struct OidcArgs {
    /// Lets people sign in with the accounts of this OpenID Connect provider, at
    /// `/api/auth/oidc/login`: its issuer, to the character, as its
    /// `/.well-known/openid-configuration` names it. Goes with the three settings below; passwords go
    /// on working.
    #[arg(long, env = "MARGINSTREAM_OIDC_ISSUER", value_name = "URL")]
    pub oidc_issuer: Option<OidcIssuer>,

    /// The id that the provider gave this service when it was registered there, as a web application
    /// with the authorization code flow and the scopes `openid` and `email`.
    #[arg(long, env = "MARGINSTREAM_OIDC_CLIENT_ID", value_name = "ID")]
    pub oidc_client_id: Option<String>,

    /// File that holds the secret that the provider gave with the id, and nothing else. It is read at
    /// the start.
    #[arg(long, env = "MARGINSTREAM_OIDC_CLIENT_SECRET_FILE", value_name = "FILE")]
    pub oidc_client_secret_file: Option<PathBuf>,

    /// Where the provider sends browsers back to, as it was registered there: the address under which
    /// they reach this service, followed by `/api/auth/oidc/callback`.
    #[arg(long, env = "MARGINSTREAM_OIDC_REDIRECT_URL", value_name = "URL")]
    pub oidc_redirect_url: Option<OidcRedirectUrl>,
}

impl OidcArgs {
    /// Returns the provider, with the secret out of its file.
    ///
    /// # Errors
    /// [`ConfigError::Conflict`] where some settings are given and others are not, or the file holds no
    /// secret.
    pub(crate) fn provider(&self) -> Result<Option<OidcConfig>, ConfigError> {
        match (
            &self.oidc_issuer,
            &self.oidc_client_id,
            &self.oidc_client_secret_file,
            &self.oidc_redirect_url,
        ) {
            (None, None, None, None) => Ok(None),
            (Some(issuer), Some(client_id), Some(file), Some(redirect_url)) => Ok(Some(OidcConfig::new(
                issuer.clone(),
                client_id.clone(),
                read_secret(file)?,
                redirect_url.clone(),
            ))),
            _ => Err(conflict(
                "oidc-issuer",
                "goes with --oidc-client-id, --oidc-client-secret-file and --oidc-redirect-url".to_owned(),
            )),
        }
    }
}

fn read_secret(file: &Path) -> Result<OidcSecret, ConfigError> {
    let refused = |reason| conflict("oidc-client-secret-file", reason);
    let text = std::fs::read_to_string(file)
        .map_err(|error| refused(format!("cannot read {}: {error}", file.display())))?;
    OidcSecret::of(&text).ok_or_else(|| refused(format!("{} holds no secret", file.display())))
}

#[cfg(test)]
mod tests {
    use clap::{Command, FromArgMatches};

    use super::*;

    fn provider(arguments: &[&str]) -> Result<Option<OidcConfig>, ConfigError> {
        let command = OidcArgs::augment_args(Command::new("m").no_binary_name(true));
        let matches = command.try_get_matches_from(arguments).unwrap();
        OidcArgs::from_arg_matches(&matches).unwrap().provider()
    }

    #[test]
    fn all_settings_are_given_or_none() {
        let dir = tempfile::tempdir().unwrap();
        let (secret, blank) = (dir.path().join("secret"), dir.path().join("blank"));
        std::fs::write(&secret, "hunter2-hunter2\n").unwrap();
        std::fs::write(&blank, "\n").unwrap();
        let file = |path: &Path| format!("--oidc-client-secret-file={}", path.display());
        let arguments = [
            "--oidc-issuer=https://accounts.example.com",
            "--oidc-client-id=marginstream",
            "--oidc-redirect-url=https://app.example.com/api/auth/oidc/callback",
            &file(&secret),
        ];
        assert!(provider(&[]).unwrap().is_none());
        let configured = provider(&arguments).unwrap().unwrap();
        assert!(!format!("{configured:?}").contains("hunter2"));
        for missing in 0..arguments.len() {
            let mut some = arguments.to_vec();
            some.remove(missing);
            let refused = provider(&some).unwrap_err().to_string();
            assert!(
                refused.starts_with("setting --oidc-issuer: goes with"),
                "{refused}"
            );
        }
        let mut blank_file = arguments;
        let blank = file(&blank);
        blank_file[3] = &blank;
        let refused = provider(&blank_file).unwrap_err().to_string();
        assert!(refused.ends_with("blank holds no secret"), "{refused}");
    }
}
