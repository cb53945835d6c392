//! `marginstream admin users | orgs | keys | secrets`. They need the control store alone, which takes several
//! processes at once, so it does not matter whether a server runs.

mod key_file;

use comfy_table::{Cell, Table, presets};
use control::{ApiKeyDraft, ControlStore};
use marginstream_http::reader::ALLOW_API_KEY_READS;
use schemas::id::{OrgId, UserId};
use serde_json::{Value, json};

use crate::cli::{
    AdminArgs, AdminCommand, KeysCommand, OrgChoice, OrgsCommand, SecretsCommand, UsersCommand,
};
use crate::commands::{bootstrap, print};
use crate::data_dir::DataDir;
use crate::distributed::open_control;
use crate::error::{CommandError, Outcome};
use crate::operator::choose_org;

/// Keys that one listing shows at most.
const MAX_LISTED_KEYS: u32 = 10_000;

/// What a command did: rows for a table, or one sentence, and the same as JSON.
struct Report {
    text: String,
    json: Value,
}

pub(super) async fn run(command: AdminCommand) -> Result<Outcome, CommandError> {
    match command {
        AdminCommand::Bootstrap(args) => bootstrap::run(args).await,
        AdminCommand::Users(command) => users(command).await,
        AdminCommand::Orgs(command) => orgs(command).await,
        AdminCommand::Keys(command) => keys(command).await,
        AdminCommand::Secrets(command) => secrets(command).await,
    }
}

async fn users(command: UsersCommand) -> Result<Outcome, CommandError> {
    let (UsersCommand::List(args)
    | UsersCommand::Create { args, .. }
    | UsersCommand::ResetPassword { args, .. }) = &command;
    let control = open(args).await?;
    let report = match &command {
        UsersCommand::List(_) => list_users(&control).await,
        UsersCommand::Create { email, .. } => create_user(&control, email).await,
        UsersCommand::ResetPassword { email, .. } => reset_password(&control, email).await,
    };
    finish(&control, args, report).await
}

async fn orgs(command: OrgsCommand) -> Result<Outcome, CommandError> {
    let (OrgsCommand::List(args)
    | OrgsCommand::SetTier { args, .. }
    | OrgsCommand::AllowApiKeyReads { args, .. }
    | OrgsCommand::AddMember { args, .. }) = &command;
    let control = open(args).await?;
    let report = match &command {
        OrgsCommand::List(_) => list_orgs(&control).await,
        OrgsCommand::SetTier { tier, org, .. } => {
            change_org(
                &control,
                org,
                &format!("the plan is {}", tier.as_str()),
                async |org| control.set_tier(org, *tier).await,
            )
            .await
        }
        OrgsCommand::AllowApiKeyReads { allow, org, .. } => {
            let done = if *allow {
                "API keys may read"
            } else {
                "API keys may not read"
            };
            change_org(&control, org, done, async |org| {
                let value = allow.to_string();
                control.set_setting(org, ALLOW_API_KEY_READS, &value).await
            })
            .await
        }
        OrgsCommand::AddMember { email, role, org, .. } => {
            let user = user_of(&control, email).await;
            match user {
                Ok(user) => {
                    let done = format!("{email} is a member, as {}", role.as_str());
                    change_org(&control, org, &done, async |org| {
                        control.add_member(org, user, *role).await
                    })
                    .await
                }
                Err(error) => Err(error),
            }
        }
    };
    finish(&control, args, report).await
}

async fn keys(command: KeysCommand) -> Result<Outcome, CommandError> {
    let (KeysCommand::List { args, org }
    | KeysCommand::Create { args, org, .. }
    | KeysCommand::Revoke { args, org, .. }) = &command;
    let control = open(args).await?;
    let report = match choose(&control, org).await {
        Err(error) => Err(error),
        Ok(org) => match &command {
            KeysCommand::List { .. } => list_keys(&control, org).await,
            KeysCommand::Create { email, name, .. } => create_key(&control, org, email, name).await,
            KeysCommand::Revoke { key, .. } => match control.revoke_api_key(org, *key).await {
                Ok(revoked_at) => Ok(Report {
                    text: format!("revoked {key}"),
                    json: json!({ "id": key, "revokedAt": revoked_at }),
                }),
                Err(error) => Err(error.into()),
            },
        },
    };
    finish(&control, args, report).await
}

async fn secrets(command: SecretsCommand) -> Result<Outcome, CommandError> {
    let (SecretsCommand::AddKey { keyring, args } | SecretsCommand::Rotate { keyring, args }) = &command;
    let file = match &keyring.secret_keys {
        Some(file) => file.clone(),
        None => DataDir::prepare(&args.data.data)?.path().join(key_file::NAME),
    };
    if let SecretsCommand::AddKey { .. } = command {
        let version = key_file::add_key(&file)?;
        return show(
            args,
            &Report {
                text: format!("added key {version} to {}", file.display()),
                json: json!({ "version": version, "file": file }),
            },
        );
    }
    let keys = key_file::read(&file)?;
    let control = open(args).await?;
    let report = control.rotate_secrets(&keys).await;
    let report = report.map_err(CommandError::from).map(|report| {
        let unreadable: Vec<_> = report
            .unreadable
            .iter()
            .map(|(org, name)| json!({ "orgId": org, "name": name }))
            .collect();
        Report {
            text: format!(
                "sealed {} secrets anew under key {}; {} could not be read",
                report.num_rotated,
                keys.newest_version(),
                unreadable.len()
            ),
            json: json!({ "rotated": report.num_rotated, "unreadable": unreadable }),
        }
    });
    finish(&control, args, report).await
}

async fn list_users(control: &ControlStore) -> Result<Report, CommandError> {
    let users = control.list_users().await?;
    let rows = users.iter().map(|user| {
        vec![
            user.id.to_string(),
            user.email.clone(),
            user.created_at.to_string(),
        ]
    });
    let json = users
        .iter()
        .map(|user| json!({ "userId": user.id, "email": user.email, "createdAt": user.created_at }));
    Ok(Report {
        text: table(&["User", "E-mail", "Created"], rows),
        json: json.collect(),
    })
}

async fn create_user(control: &ControlStore, email: &str) -> Result<Report, CommandError> {
    let (user, password) = control.create_user(email).await?;
    Ok(with_password(user, email, password.expose()))
}

async fn reset_password(control: &ControlStore, email: &str) -> Result<Report, CommandError> {
    let password = control::GeneratedPassword::generate()?;
    let user = control.set_password(email, password.expose()).await?;
    Ok(with_password(user, email, password.expose()))
}

fn with_password(user: UserId, email: &str, password: &str) -> Report {
    Report {
        text: format!(
            "user      {user}\ne-mail    {email}\npassword  {password}\n\nThe password is shown this once."
        ),
        json: json!({ "userId": user, "email": email, "password": password }),
    }
}

async fn list_orgs(control: &ControlStore) -> Result<Report, CommandError> {
    let (mut rows, mut json) = (Vec::new(), Vec::new());
    for org in control.list_orgs().await? {
        let tier = control.org_tier(org.id).await?;
        rows.push(vec![
            org.id.to_string(),
            org.name.clone(),
            org.slug.clone(),
            tier.as_str().to_owned(),
        ]);
        json.push(json!({
            "orgId": org.id, "name": org.name, "slug": org.slug, "isPersonal": org.is_personal, "tier": tier,
        }));
    }
    Ok(Report {
        text: table(&["Organization", "Name", "Slug", "Plan"], rows.into_iter()),
        json: Value::Array(json),
    })
}

async fn list_keys(control: &ControlStore, org: OrgId) -> Result<Report, CommandError> {
    let keys = control.list_api_keys(org, None, MAX_LISTED_KEYS).await?;
    let last_used = |key: &control::ApiKey| {
        key.last_used_at
            .map_or_else(|| "never".to_owned(), |at| at.to_string())
    };
    let rows = keys.iter().map(|key| {
        vec![
            key.id.to_string(),
            key.name.clone(),
            format!("{}…", key.key_prefix),
            last_used(key),
        ]
    });
    let json = keys.iter().map(|key| {
        json!({ "id": key.id, "name": key.name, "keyPrefix": key.key_prefix, "lastUsedAt": key.last_used_at })
    });
    Ok(Report {
        text: table(&["Key", "Name", "Secret", "Last used"], rows),
        json: json.collect(),
    })
}

async fn create_key(
    control: &ControlStore,
    org: OrgId,
    email: &str,
    name: &str,
) -> Result<Report, CommandError> {
    let user = user_of(control, email).await?;
    if control.membership(org, user).await?.is_none() {
        return Err(CommandError::Usage(format!(
            "{email} is not a member of {org}; see admin orgs add-member"
        )));
    }
    let draft = ApiKeyDraft {
        name: name.trim().to_owned(),
        ..ApiKeyDraft::default()
    };
    let (key, secret) = control.create_api_key(org, user, draft).await?;
    Ok(Report {
        text: format!(
            "id      {}\nsecret  {}\n\nThe secret is shown this once.",
            key.id,
            secret.expose()
        ),
        json: json!({ "id": key.id, "name": key.name, "apiKey": secret.expose() }),
    })
}

/// Changes one organization and reports `done` of it.
async fn change_org(
    control: &ControlStore,
    org: &OrgChoice,
    done: &str,
    change: impl AsyncFnOnce(OrgId) -> Result<(), control::ControlError>,
) -> Result<Report, CommandError> {
    let org = choose(control, org).await?;
    change(org).await?;
    Ok(Report {
        text: format!("{org}: {done}"),
        json: json!({ "orgId": org, "done": done }),
    })
}

async fn choose(control: &ControlStore, org: &OrgChoice) -> Result<OrgId, CommandError> {
    choose_org(&control.list_orgs().await?, org.org).map_err(CommandError::Usage)
}

async fn user_of(control: &ControlStore, email: &str) -> Result<UserId, CommandError> {
    let user = control.find_user(email).await?;
    user.ok_or_else(|| CommandError::Usage(format!("no user {email}; see admin users create")))
}

async fn open(args: &AdminArgs) -> Result<ControlStore, CommandError> {
    if args.backends.control.is_some() {
        return open_control(&args.backends).await;
    }
    let dir = DataDir::prepare(&args.data.data)?;
    Ok(ControlStore::connect(&dir.control_url()).await?)
}

async fn finish(
    control: &ControlStore,
    args: &AdminArgs,
    report: Result<Report, CommandError>,
) -> Result<Outcome, CommandError> {
    control.close().await;
    show(args, &report?)
}

fn show(args: &AdminArgs, report: &Report) -> Result<Outcome, CommandError> {
    if args.json {
        print(&report.json.to_string())?;
    } else {
        print(&report.text)?;
    }
    Ok(Outcome::Done)
}

fn table(titles: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(titles.iter().map(Cell::new));
    rows.for_each(|row| {
        table.add_row(row);
    });
    table.to_string()
}
