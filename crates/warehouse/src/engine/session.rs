//! One request's connection: its database, settings and role, gone when it is dropped.

use super::files::ANALYST_ROLE;
use super::{Connection, Engine};
use crate::sql;

/// Whose grants a session runs with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The project's own processes: everything.
    Service,
    /// Data teams: SELECT on the listed tables.
    Analyst,
}

/// How a session is set up before its statement runs.
#[derive(Debug, Clone)]
pub(crate) struct SessionOptions {
    pub(crate) database: String,
    /// Name and value, in order; a later one wins.
    pub(crate) settings: Vec<(String, String)>,
    pub(crate) role: Role,
    /// Forbids writes, and changes to any setting, from the statement on.
    pub(crate) read_only: bool,
}

impl SessionOptions {
    /// Whether the request sets `name`.
    pub(crate) fn sets(&self, name: &str) -> bool {
        self.settings.iter().any(|(setting, _)| setting == name)
    }
}

/// A connection set up for one statement.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) connection: Connection,
}

impl Session {
    /// Connects and applies `options`. Blocks for about 0.3 ms.
    ///
    /// # Errors
    /// The engine's message: an unknown database (81), an unknown setting (115) or a bad value.
    pub(crate) fn open(engine: &Engine, options: &SessionOptions) -> Result<Self, String> {
        let mut connection = engine.connect()?;
        let mut run = |statement: String| connection.query(statement.as_bytes(), "Null", &[]).map(drop);
        if let Some(statement) = set_statement(&options.settings)? {
            run(statement)?;
        }
        run(format!("USE {}", sql::identifier(&options.database)))?;
        if options.role == Role::Analyst {
            run(format!("SET ROLE {ANALYST_ROLE}"))?;
        }
        if options.read_only {
            run("SET readonly = 1".to_owned())?;
        }
        Ok(Self { connection })
    }
}

/// One SET for all of `settings`; values are sent as strings, which the engine converts.
fn set_statement(settings: &[(String, String)]) -> Result<Option<String>, String> {
    if settings.is_empty() {
        return Ok(None);
    }
    let mut assignments = Vec::with_capacity(settings.len());
    for (name, value) in settings {
        if !is_setting_name(name) {
            return Err(format!(
                "Code: 115. DB::Exception: Unknown setting '{name}'. (UNKNOWN_SETTING)"
            ));
        }
        assignments.push(format!("{name} = {}", sql::string_literal(value)));
    }
    Ok(Some(format!("SET {}", assignments.join(", "))))
}

fn is_setting_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_values_and_refuses_names_that_are_not_names() {
        let settings = [
            ("a".to_owned(), "it's".to_owned()),
            ("b".to_owned(), "1".to_owned()),
        ];
        assert_eq!(
            set_statement(&settings).unwrap().unwrap(),
            r"SET a = 'it\'s', b = '1'"
        );
        let error = set_statement(&[("a = 1, readonly".to_owned(), "0".to_owned())]).unwrap_err();
        assert!(error.starts_with("Code: 115"), "{error}");
    }
}
