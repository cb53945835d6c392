//! Environment variables that look like settings.

use clap::Command;

use super::ConfigError;
use super::file::ENV_PREFIX;
use super::spelling::nearest;

/// Looks for variables that start with `MARGINSTREAM_` and are no setting of `command`. Returns
/// those that may belong to somebody else.
///
/// # Errors
/// [`ConfigError::Unknown`] for one that is a misspelt setting.
pub(crate) fn check_environment(
    command: &Command,
    variables: impl Iterator<Item = String>,
) -> Result<Vec<String>, ConfigError> {
    let mut known = vec![telemetry::CRASH_AT_VARIABLE.to_owned()];
    collect_variables(command, &mut known);
    let mut strange = Vec::new();
    for name in variables.filter(|name| name.starts_with(ENV_PREFIX) && !known.contains(name)) {
        match nearest(&name, known.iter().map(String::as_str)) {
            Some(suggestion) => {
                let place = "the environment".to_owned();
                return Err(ConfigError::Unknown {
                    what: "variable",
                    name,
                    place,
                    suggestion: Some(suggestion),
                });
            }
            None => strange.push(name),
        }
    }
    Ok(strange)
}

fn collect_variables(command: &Command, names: &mut Vec<String>) {
    let variables = command.get_arguments().filter_map(|arg| arg.get_env()?.to_str());
    names.extend(variables.map(str::to_owned));
    for subcommand in command.get_subcommands() {
        collect_variables(subcommand, names);
    }
}

#[cfg(test)]
mod tests {
    use clap::Args;

    use super::*;
    use crate::config::Config;

    #[test]
    fn a_misspelt_variable_is_refused_and_a_strange_one_reported() {
        let command = Config::augment_args(Command::new("m"));
        let check = |name: &str| check_environment(&command, [name.to_owned()].into_iter());
        assert!(check("MARGINSTREAM_LISTEN").unwrap().is_empty());
        assert!(check("MARGINSTREAM_CRASH_AT").unwrap().is_empty());
        // Kubernetes sets such variables for a service of this name.
        assert_eq!(
            check("MARGINSTREAM_SERVICE_HOST").unwrap(),
            ["MARGINSTREAM_SERVICE_HOST"]
        );
        let refused = check("MARGINSTREAM_LISTN").unwrap_err().to_string();
        assert!(
            refused.contains("did you mean \"MARGINSTREAM_LISTEN\""),
            "{refused}"
        );
    }
}
