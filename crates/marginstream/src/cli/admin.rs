//! `marginstream admin`: what operators do to accounts.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use schemas::access::{Role, Tier};
use schemas::id::{ApiKeyId, InvalidId, OrgId};

use super::{BootstrapArgs, parse_org, parse_tier};
use crate::config::{BackendArgs, DataConfig};

#[derive(Debug, Subcommand)]
pub(crate) enum AdminCommand {
    /// Make an organization, its owner and an API key, and print their secrets, once.
    ///
    /// Works before the first start, while the server runs, and again for further organizations. An
    /// owner who has an account already keeps the password.
    Bootstrap(BootstrapArgs),
    /// List users, make them, and give them new passwords.
    #[command(subcommand)]
    Users(UsersCommand),
    /// List organizations, change their plan and settings, and add members.
    #[command(subcommand)]
    Orgs(OrgsCommand),
    /// List, make and revoke API keys. A running server notices a revocation within 30 s.
    #[command(subcommand)]
    Keys(KeysCommand),
    /// Look after the keys that secrets of organizations are sealed under.
    #[command(subcommand)]
    Secrets(SecretsCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum UsersCommand {
    /// List all users, oldest first.
    List(AdminArgs),
    /// Make a user and print the password, once.
    Create {
        /// The user's e-mail address.
        email: String,
        #[command(flatten)]
        args: AdminArgs,
    },
    /// Replace a user's password, end all of the user's sessions, and print the new password, once.
    ResetPassword {
        /// The user's e-mail address.
        email: String,
        #[command(flatten)]
        args: AdminArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum OrgsCommand {
    /// List all organizations with their plans, oldest first.
    List(AdminArgs),
    /// Change the plan of an organization.
    SetTier {
        /// The plan: free, pro or enterprise.
        #[arg(value_parser = parse_tier)]
        tier: Tier,
        #[command(flatten)]
        org: OrgChoice,
        #[command(flatten)]
        args: AdminArgs,
    },
    /// Let API keys of an organization read cost events, summary and budgets, or not.
    AllowApiKeyReads {
        /// true or false.
        #[arg(action = clap::ArgAction::Set)]
        allow: bool,
        #[command(flatten)]
        org: OrgChoice,
        #[command(flatten)]
        args: AdminArgs,
    },
    /// Make a user a member of an organization.
    AddMember {
        /// The user's e-mail address; the user exists.
        email: String,
        /// The role: admin, member or viewer.
        #[arg(long, value_name = "ROLE", default_value = "member", value_parser = parse_role)]
        role: Role,
        #[command(flatten)]
        org: OrgChoice,
        #[command(flatten)]
        args: AdminArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysCommand {
    /// List the active API keys of an organization, newest first.
    List {
        #[command(flatten)]
        org: OrgChoice,
        #[command(flatten)]
        args: AdminArgs,
    },
    /// Make an API key for a member and print its secret, once.
    Create {
        /// E-mail address of the member whom the key belongs to.
        #[arg(long, value_name = "EMAIL")]
        email: String,
        /// The key's name, 1 to 50 characters.
        #[arg(long, value_name = "NAME")]
        name: String,
        #[command(flatten)]
        org: OrgChoice,
        #[command(flatten)]
        args: AdminArgs,
    },
    /// Revoke an API key, for good.
    Revoke {
        /// The key's id, ns_key_...
        #[arg(value_name = "KEY_ID", value_parser = parse_key)]
        key: ApiKeyId,
        #[command(flatten)]
        org: OrgChoice,
        #[command(flatten)]
        args: AdminArgs,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SecretsCommand {
    /// Add a new random key to the key file, which is made where there is none. New secrets are sealed
    /// under it from the next start on; run `rotate` then.
    AddKey {
        #[command(flatten)]
        keyring: KeyringArgs,
        #[command(flatten)]
        args: AdminArgs,
    },
    /// Seal every secret anew under the newest key of the file. May be stopped and run again. Once it
    /// reports none that it could not read, older lines of the file may go.
    Rotate {
        #[command(flatten)]
        keyring: KeyringArgs,
        #[command(flatten)]
        args: AdminArgs,
    },
}

#[derive(Debug, Args)]
pub(crate) struct KeyringArgs {
    /// File of keys, one `<version>:<32 bytes in base64>` a line, mode 0600. Default: `secret-keys` in the
    /// data directory.
    #[arg(long, env = "MARGINSTREAM_SECRET_KEYS", value_name = "FILE")]
    pub(crate) secret_keys: Option<PathBuf>,
}

/// Where the accounts are, and how the answer is printed.
#[derive(Debug, Args)]
pub(crate) struct AdminArgs {
    #[command(flatten)]
    pub(crate) data: DataConfig,
    #[command(flatten)]
    pub(crate) backends: BackendArgs,
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct OrgChoice {
    /// The organization's id; may be left out where there is only one.
    #[arg(long, value_name = "ORG_ID", value_parser = parse_org)]
    pub(crate) org: Option<OrgId>,
}

fn parse_key(text: &str) -> Result<ApiKeyId, InvalidId> {
    ApiKeyId::parse_lenient(text)
}

fn parse_role(text: &str) -> Result<Role, &'static str> {
    Role::parse(text)
        .filter(|role| *role != Role::Owner)
        .ok_or("must be admin, member or viewer")
}
