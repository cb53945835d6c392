//! `marginstream admin bootstrap`. It needs the control store alone, which takes several processes
//! at once, so it does not matter whether a server runs.

use control::{BootstrapRequest, Bootstrapped, ControlStore};
use serde_json::json;

use crate::cli::BootstrapArgs;
use crate::commands::print;
use crate::data_dir::DataDir;
use crate::error::{CommandError, Outcome};

pub(super) async fn run(args: BootstrapArgs) -> Result<Outcome, CommandError> {
    let dir = DataDir::prepare(&args.data.data)?;
    let control = ControlStore::connect(&dir.control_url()).await?;
    let request = BootstrapRequest {
        org_name: args.org,
        email: args.email,
        tier: args.tier,
    };
    let made = control.bootstrap(request).await;
    control.close().await;
    print(&answer(&made?, args.json))?;
    Ok(Outcome::Done)
}

fn answer(made: &Bootstrapped, as_json: bool) -> String {
    let password = made.password.as_ref().map(|password| password.expose());
    if as_json {
        return json!({
            "orgId": made.org_id,
            "email": made.email,
            "password": password,
            "apiKey": made.api_key.expose(),
        })
        .to_string();
    }
    format!(
        "organization  {}\ne-mail        {}\npassword      {}\nAPI key       {}\n\
         \nPassword and key are shown this once.",
        made.org_id,
        made.email,
        password.unwrap_or("(as before)"),
        made.api_key.expose()
    )
}
