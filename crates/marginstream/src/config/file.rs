//! The configuration file: its values become the defaults of the flags, so that a flag wins over an
//! environment variable, a variable over the file, and the file over the built-in default.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{Args, Command, FromArgMatches};
use toml::Value;

use super::spelling::nearest;
use super::{BackendArgs, Config, ConfigError, TelemetryConfig};

/// Read from the data directory where no file is named.
const DEFAULT_NAME: &str = "marginstream.toml";
pub(super) const ENV_PREFIX: &str = "MARGINSTREAM_";
/// Tables that may group keys; they have no effect of their own.
const TABLES: [&str; 10] = [
    "data",
    "http",
    "clickhouse",
    "event-log",
    "batches",
    "limits",
    "log",
    "backends",
    "kafka",
    "marginstream",
];

/// The settings of one file: the flag's name, to its value as it would stand on the command line.
#[derive(Debug, Default)]
pub(crate) struct FileSettings(BTreeMap<String, String>);

impl FileSettings {
    /// Reads `explicit`, else `marginstream.toml` in `data_dir` if it is there. Every key and value
    /// is checked, those too that the running command does not use.
    pub(crate) fn load(explicit: Option<&Path>, data_dir: &Path) -> Result<Self, ConfigError> {
        let path = explicit.map_or_else(|| data_dir.join(DEFAULT_NAME), Path::to_path_buf);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if explicit.is_none() && is_absent(&error) => return Ok(Self::default()),
            Err(source) => return Err(ConfigError::Read { path, source }),
        };
        let settings = Self::parse(&path, &text)?;
        if explicit.is_none() && settings.0.contains_key("data") {
            let reason = "this file is found by its data directory, so it cannot name another; use --config";
            return Err(ConfigError::Value {
                key: "data".to_owned(),
                path,
                reason: reason.to_owned(),
            });
        }
        Ok(settings)
    }

    fn parse(path: &Path, text: &str) -> Result<Self, ConfigError> {
        let table: toml::Table = text.parse().map_err(|error| syntax_error(path, text, &error))?;
        let checker = settings_command();
        let mut settings = BTreeMap::new();
        for (key, value) in flatten(path, table)? {
            let name = key.replace('_', "-");
            let known = long_names(&checker);
            if !known.contains(&name) {
                return Err(ConfigError::Unknown {
                    what: "key",
                    suggestion: nearest(&name, known.iter().map(String::as_str)),
                    name: key,
                    place: path.display().to_string(),
                });
            }
            let text = scalar(&value)
                .ok_or_else(|| bad_value(path, &key, "must be text, a number or true or false"))?;
            check_value(&checker, path, &key, &format!("--{name}={text}"))?;
            if settings.insert(name, text).is_some() {
                return Err(bad_value(path, &key, "is given twice"));
            }
        }
        Ok(Self(settings))
    }

    /// Returns all settings as the environment and the file give them, for the commands that do not
    /// have each as a flag.
    pub(crate) fn resolve(&self) -> Result<Config, ConfigError> {
        let command = self.apply(Config::augment_args(
            Command::new("marginstream").no_binary_name(true),
        ));
        let matches = command.try_get_matches_from::<[&str; 0], _>([]);
        let config = matches.and_then(|matches| Config::from_arg_matches(&matches));
        config.map_err(|error| {
            let text = error.to_string();
            let first_line = text.lines().next().unwrap_or_default();
            ConfigError::Environment(first_line.trim_start_matches("error: ").to_owned())
        })
    }

    /// Makes the values the defaults of the flags of `command` and its subcommands.
    pub(crate) fn apply(&self, command: Command) -> Command {
        if self.0.is_empty() {
            return command;
        }
        // A command may call a setting by a shorter flag; the variable's name is the same everywhere.
        let command = command.mut_args(
            |arg| match setting_name(&arg).and_then(|name| self.0.get(&name)) {
                Some(value) => arg.default_value(value.clone()),
                None => arg,
            },
        );
        command.mut_subcommands(|subcommand| self.apply(subcommand))
    }
}

/// Returns the command that has all settings and nothing else; it does not read the environment.
fn settings_command() -> Command {
    let command = Config::augment_args(Command::new("marginstream"));
    BackendArgs::augment_args(TelemetryConfig::augment_args(command))
        .no_binary_name(true)
        .mut_args(|arg| arg.env(clap::builder::Resettable::Reset))
}

fn long_names(command: &Command) -> Vec<String> {
    let names = command.get_arguments().filter_map(|arg| arg.get_long());
    names
        .filter(|name| !["config", "help"].contains(name))
        .map(str::to_owned)
        .collect()
}

/// Returns the name of a setting in the file, which its variable tells; none for what is no setting.
fn setting_name(arg: &clap::Arg) -> Option<String> {
    let variable = arg.get_env()?.to_str()?;
    Some(
        variable
            .strip_prefix(ENV_PREFIX)?
            .to_ascii_lowercase()
            .replace('_', "-"),
    )
}

fn check_value(checker: &Command, path: &Path, key: &str, argument: &str) -> Result<(), ConfigError> {
    let Err(error) = checker.clone().try_get_matches_from([argument]) else {
        return Ok(());
    };
    let text = error.to_string();
    let first_line = text.lines().next().unwrap_or_default();
    Err(bad_value(
        path,
        key,
        first_line.strip_prefix("error: ").unwrap_or(first_line),
    ))
}

fn bad_value(path: &Path, key: &str, reason: &str) -> ConfigError {
    ConfigError::Value {
        key: key.to_owned(),
        path: path.to_path_buf(),
        reason: reason.to_owned(),
    }
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
    )
}

fn syntax_error(path: &Path, text: &str, error: &toml::de::Error) -> ConfigError {
    let start = error.span().map_or(0, |span| span.start.min(text.len()));
    let line = 1 + text.bytes().take(start).filter(|byte| *byte == b'\n').count();
    ConfigError::Syntax {
        path: path.to_path_buf(),
        line,
        message: error.message().to_owned(),
    }
}

/// Takes the keys out of the tables that group them.
fn flatten(path: &Path, table: toml::Table) -> Result<Vec<(String, Value)>, ConfigError> {
    let mut settings = Vec::new();
    for (key, value) in table {
        let Value::Table(group) = value else {
            settings.push((key, value));
            continue;
        };
        if !TABLES.contains(&key.replace('_', "-").as_str()) {
            return Err(ConfigError::Unknown {
                what: "table",
                suggestion: nearest(&key, TABLES.into_iter()),
                name: key,
                place: path.display().to_string(),
            });
        }
        settings.extend(group);
    }
    Ok(settings)
}

/// Returns a value as it would stand on the command line.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(truth) => Some(truth.to_string()),
        Value::Array(items) => items
            .iter()
            .map(scalar)
            .collect::<Option<Vec<_>>>()
            .map(|items| items.join(",")),
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => None,
    }
}

/// Returns the file that `--config` names and the data directory, as far as the flags say.
pub(crate) fn places(matches: &clap::ArgMatches) -> (Option<PathBuf>, Option<PathBuf>) {
    let path = |name| matches.try_get_one::<PathBuf>(name).ok().flatten().cloned();
    let (config, data) = (path("config"), path("data"));
    match matches.subcommand() {
        Some((_, inner)) => {
            let (inner_config, inner_data) = places(inner);
            (inner_config.or(config), inner_data.or(data))
        }
        None => (config, data),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<FileSettings, ConfigError> {
        FileSettings::parse(Path::new("m.toml"), text)
    }

    fn refusal(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn reads_flat_keys_and_tables_that_group_them() {
        let settings = parse(
            "listen = '127.0.0.1:9'\nbatch_max_age_ms = 50\n[http]\ntrusted-proxies = ['10.0.0.0/8', '::1']\nbehind_tls = true",
        );
        let settings = settings.unwrap().0;
        assert_eq!(settings["listen"], "127.0.0.1:9");
        assert_eq!(settings["batch-max-age-ms"], "50");
        assert_eq!(settings["trusted-proxies"], "10.0.0.0/8,::1");
        assert_eq!(settings["behind-tls"], "true");
    }

    #[test]
    fn refuses_unknown_keys_and_tables_by_name() {
        assert_eq!(
            refusal("lisen = 'x'"),
            "unknown key \"lisen\" in m.toml (did you mean \"listen\"?)"
        );
        assert_eq!(refusal("colour = 'x'"), "unknown key \"colour\" in m.toml");
        assert_eq!(
            refusal("[htp]\nlisten = 'x'"),
            "unknown table \"htp\" in m.toml (did you mean \"http\"?)"
        );
        assert_eq!(refusal("config = 'x'"), "unknown key \"config\" in m.toml");
    }

    #[test]
    fn refuses_bad_values_by_key() {
        let refused = refusal("listen = 'nowhere'");
        assert!(
            refused.starts_with("key \"listen\" in m.toml: invalid value 'nowhere'"),
            "{refused}"
        );
        let refused = refusal("batch-max-age-ms = 0");
        assert!(
            refused.contains("batch-max-age-ms") && refused.contains("0 is not in 1..=60000"),
            "{refused}"
        );
        assert!(refusal("listen = 1.5").contains("must be text"));
        assert!(refusal("listen = '[::1]:1'\n[http]\nlisten = '[::1]:2'").contains("is given twice"));
        assert_eq!(
            refusal("a = 1\nb = = 2").split(':').next().unwrap(),
            "the configuration file m.toml is not valid TOML, line 2"
        );
    }

    #[test]
    fn flags_win_over_variables_and_variables_over_the_file() {
        let settings =
            parse("listen = '127.0.0.1:1'\nclickhouse-listen = '127.0.0.1:2'\ndata = '/from/file'").unwrap();
        let variable = if cfg!(windows) { "USERNAME" } else { "PATH" };
        let command = Config::augment_args(Command::new("m")).mut_arg("data", |arg| arg.env(variable));
        let matches = settings
            .apply(command)
            .try_get_matches_from(["m", "--listen", "127.0.0.1:3"])
            .unwrap();
        let address = |name: &str| matches.get_one::<std::net::SocketAddr>(name).unwrap().to_string();
        assert_eq!(address("listen"), "127.0.0.1:3");
        assert_eq!(address("clickhouse_listen"), "127.0.0.1:2");
        let data = matches.get_one::<PathBuf>("data").unwrap();
        assert_eq!(data.as_os_str(), std::env::var_os(variable).unwrap());
    }

    #[test]
    fn lists_from_the_file_are_split() {
        let settings = parse("trusted-proxies = ['10.0.0.0/8', '::1']").unwrap();
        let matches = settings
            .apply(Config::augment_args(Command::new("m")))
            .try_get_matches_from(["m"])
            .unwrap();
        let networks = matches.get_many::<marginstream_http::client_ip::IpNetwork>("trusted_proxies");
        assert_eq!(networks.unwrap().count(), 2);
    }

    #[test]
    fn every_setting_has_a_flag_and_a_variable_of_one_name() {
        let command = TelemetryConfig::augment_args(Config::augment_args(Command::new("m")));
        for arg in command.get_arguments() {
            assert_eq!(setting_name(arg).as_deref(), arg.get_long(), "{arg}");
            assert!(arg.get_help().is_some(), "{arg}");
        }
    }
}
