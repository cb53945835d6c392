//! `marginstream admin bootstrap`. It needs the control store alone, which takes several processes
//! at once, so it does not matter whether a server runs.

use control::{BootstrapRequest, Bootstrapped, ControlStore};
use schemas::id::OrgId;
use serde::Serialize;

use crate::cli::BootstrapArgs;
use crate::commands::print;
use crate::data_dir::DataDir;
use crate::distributed::open_control;
use crate::error::{CommandError, Outcome};

pub(super) async fn run(args: BootstrapArgs) -> Result<Outcome, CommandError> {
    let control = if args.backends.control.is_some() {
        open_control(&args.backends).await?
    } else {
        let dir = DataDir::prepare(&args.data.data)?;
        ControlStore::connect(&dir.control_url()).await?
    };
    let request = BootstrapRequest {
        org_name: args.org,
        email: args.email,
        tier: args.tier,
    };
    let made = control.bootstrap(request).await;
    control.close().await;
    let made = made?;
    print(&if args.json {
        to_json(&made)?
    } else {
        to_text(&made)
    })?;
    Ok(Outcome::Done)
}

/// What scripts read.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    org_id: OrgId,
    email: &'a str,
    /// None where the owner had an account already.
    password: Option<&'a str>,
    api_key: &'a str,
}

fn to_json(made: &Bootstrapped) -> Result<String, CommandError> {
    let answer = Answer {
        org_id: made.org_id,
        email: &made.email,
        password: made.password.as_ref().map(|password| password.expose()),
        api_key: made.api_key.expose(),
    };
    serde_json::to_string(&answer).map_err(|error| CommandError::Output(error.into()))
}

fn to_text(made: &Bootstrapped) -> String {
    let password = made.password.as_ref().map(|password| password.expose());
    format!(
        "organization  {}\ne-mail        {}\npassword      {}\nAPI key       {}\n\
         \nPassword and key are shown this once.",
        made.org_id,
        made.email,
        password.unwrap_or("(as before)"),
        made.api_key.expose()
    )
}
