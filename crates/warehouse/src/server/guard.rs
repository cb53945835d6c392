//! What an analyst's statement may be: decided on the engine's own parse of it, deny by default.
//!
//! Behind this stand the engine's grants (a role that can SELECT the listed tables and has no
//! sources), and `readonly = 1`. What those leave open is closed here: system tables, functions
//! that reach the host, settings in the statement.

mod functions;
mod nodes;

use super::error::{QueryError, code};
use crate::engine::{Analysis, Connection, EngineFacts, QueryClass};

/// Checks `text` before it runs on `connection`. `parameters` are those it will run with.
///
/// # Errors
/// 164 for anything but one reading statement, 497 for what it touches.
pub(super) fn check(
    connection: &mut Connection,
    facts: &EngineFacts,
    text: &[u8],
    analysis: Analysis,
    parameters: &[(String, String)],
) -> Result<(), QueryError> {
    if analysis.class != QueryClass::ReadOnly || analysis.statements != 1 {
        let text = "Cannot execute query in readonly mode: one reading statement is allowed";
        return Err(QueryError::new(code::READONLY, "READONLY", text));
    }
    let mut explain = b"EXPLAIN AST ".to_vec();
    explain.extend_from_slice(text);
    // A FORMAT clause of the statement belongs to the parsed text, so none is added here.
    let tree = connection
        .query(&explain, "TSVRaw", parameters)
        .map_err(QueryError::engine)?;
    let tree =
        std::str::from_utf8(tree.as_ref()).map_err(|_| QueryError::denied("statement is not UTF-8"))?;
    nodes::check_tree(tree, facts).map_err(QueryError::denied)
}
