//! Walks the engine's dump of a syntax tree, node by node.
//!
//! A line is `<depth spaces><kind> <details>[ (alias x)][ (children n)]`. The number of children
//! must match the lines below, so that nothing in a statement can pass for lines of the dump.

use super::functions;
use crate::engine::EngineFacts;

/// Kinds a tree may begin with.
const ROOTS: &[&str] = &[
    "DescribeQuery",
    "ExistsDatabaseQuery",
    "ExistsTableQuery",
    "ExistsViewQuery",
    "Explain",
    "SelectIntersectExceptQuery",
    "SelectWithUnionQuery",
    "ShowColumns",
    "ShowCreateTableQuery",
    "ShowCreateViewQuery",
    "ShowFunctions",
    "ShowTables",
];

/// Kinds that may stand below. Left out on purpose: `Set` (a SETTINGS clause), and
/// `ColumnsApplyTransformer`, whose function the dump does not show.
const INNER: &[&str] = &[
    "ArrayJoin",
    "Asterisk",
    "ColumnsExceptTransformer",
    "ColumnsListMatcher",
    "ColumnsRegexpMatcher",
    "ColumnsReplaceTransformer",
    "ColumnsReplaceTransformer::Replacement",
    "ColumnsTransformerList",
    "ExpressionList",
    "InterpolateElement",
    "Literal",
    "OrderByElement",
    "QualifiedAsterisk",
    "QualifiedColumnsListMatcher",
    "QualifiedColumnsRegexpMatcher",
    "SampleRatio",
    "SelectIntersectExceptQuery",
    "SelectQuery",
    "SelectWithUnionQuery",
    "Subquery",
    "TableExpression",
    "TableJoin",
    "TablesInSelectQuery",
    "TablesInSelectQueryElement",
    "WindowDefinition",
    "WindowListElement",
    "WithElement",
];

/// Tables of the `system` database that tell of this database and of ClickHouse, not of the host,
/// of other users or of their statements. Rows about tables are filtered by the engine's grants.
const SYSTEM_TABLES: &[&str] = &[
    "aggregate_function_combinators",
    "collations",
    "columns",
    "data_type_families",
    "databases",
    "formats",
    "functions",
    "keywords",
    "numbers",
    "one",
    "settings",
    "table_engines",
    "table_functions",
    "tables",
    "time_zones",
    "views",
];

struct Node<'t> {
    depth: usize,
    kind: &'t str,
    details: &'t str,
    children: usize,
}

/// Checks every node of `tree`.
pub(super) fn check_tree(tree: &str, facts: &EngineFacts) -> Result<(), String> {
    let mut nodes = Vec::new();
    for line in tree.lines().filter(|line| !line.is_empty()) {
        nodes.push(parse(line)?);
    }
    let root = nodes.first().ok_or("the statement has no syntax tree")?;
    if root.depth != 0 || !ROOTS.contains(&root.kind) {
        return Err(format!(
            "the analyst cannot run a statement of kind {}",
            root.kind
        ));
    }
    let mut index = 0;
    check_shape(&nodes, &mut index)?;
    if index != nodes.len() {
        return Err("the statement has more than one syntax tree".to_owned());
    }
    let mut ancestors: Vec<&str> = Vec::new();
    for node in &nodes {
        ancestors.truncate(node.depth);
        check_node(node, ancestors.last().copied(), facts)?;
        ancestors.push(node.kind);
    }
    Ok(())
}

fn parse(line: &str) -> Result<Node<'_>, String> {
    let text = line.trim_start_matches(' ');
    let depth = line.len() - text.len();
    let (text, children) = match text
        .strip_suffix(')')
        .and_then(|text| text.rsplit_once(" (children "))
    {
        Some((text, number)) => (
            text,
            number.parse().map_err(|_| "unreadable syntax tree".to_owned())?,
        ),
        None => (text, 0),
    };
    let (kind, details) = text.split_once(' ').unwrap_or((text, ""));
    Ok(Node {
        depth,
        kind,
        details,
        children,
    })
}

/// Checks that the node at `index` has the children it says, and moves `index` behind them.
fn check_shape(nodes: &[Node<'_>], index: &mut usize) -> Result<(), String> {
    // (depth of the children, children still to come), innermost last. A loop, for depth is the sender's.
    let mut open: Vec<(usize, usize)> = Vec::new();
    while let Some(node) = nodes.get(*index) {
        let expected_depth = open.last().map_or(0, |&(depth, _)| depth);
        if node.depth != expected_depth {
            return Err("unreadable syntax tree".to_owned());
        }
        *index += 1;
        if let Some((_, left)) = open.last_mut() {
            *left -= 1;
        }
        open.push((node.depth + 1, node.children));
        while open.last().is_some_and(|&(_, left)| left == 0) {
            open.pop();
        }
        if open.is_empty() {
            return Ok(());
        }
    }
    Err("unreadable syntax tree".to_owned())
}

fn check_node(node: &Node<'_>, parent: Option<&str>, facts: &EngineFacts) -> Result<(), String> {
    let name = node.details.split(" (alias ").next().unwrap_or_default();
    match node.kind {
        "TableIdentifier" => check_table(name),
        "Identifier" => check_identifier(name),
        "Function" if parent == Some("TableExpression") => functions::check_table_function(name),
        "Function" => functions::check(name, facts),
        "Explain" if parent.is_some() => Err("the analyst cannot nest EXPLAIN".to_owned()),
        "Set" => Err("the analyst cannot use a SETTINGS clause".to_owned()),
        kind if parent.is_none() && ROOTS.contains(&kind) => Ok(()),
        kind if INNER.contains(&kind) => Ok(()),
        kind => Err(format!("the analyst cannot use syntax of kind {kind}")),
    }
}

/// A name in FROM. Which tables of other databases may be read is the engine's grants to say.
fn check_table(name: &str) -> Result<(), String> {
    match name.split_once('.') {
        Some(("system", table)) => check_system_table(table),
        // The engine's `default` database shows the host's files as tables.
        Some(("default" | "_temporary_and_external_tables", _)) => {
            Err(format!("the analyst cannot read {name}"))
        }
        _ if name.contains('/') => Err(format!("the analyst cannot read {name}")),
        _ => Ok(()),
    }
}

/// A column, or after IN a table.
fn check_identifier(name: &str) -> Result<(), String> {
    match name.split_once('.') {
        Some(("system", rest)) => check_system_table(rest.split('.').next().unwrap_or_default()),
        Some(("default" | "_temporary_and_external_tables", _)) => {
            Err(format!("the analyst cannot read {name}"))
        }
        _ => Ok(()),
    }
}

fn check_system_table(table: &str) -> Result<(), String> {
    if SYSTEM_TABLES.contains(&table) {
        return Ok(());
    }
    Err(format!("the analyst cannot read system.{table}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(tree: &str) -> Result<(), String> {
        check_tree(tree, &EngineFacts::default())
    }

    const SELECT_ONE: &str = "SelectWithUnionQuery (children 1)\n ExpressionList (children 1)\n  \
        SelectQuery (children 1)\n   ExpressionList (children 1)\n    Literal UInt64_1\n";

    #[test]
    fn passes_what_it_knows() {
        assert_eq!(check(SELECT_ONE), Ok(()));
    }

    #[test]
    fn refuses_unknown_kinds_and_settings() {
        for kind in ["Set", "ColumnsApplyTransformer", "SomethingNew"] {
            assert!(
                check(&SELECT_ONE.replace("Literal UInt64_1", kind)).is_err(),
                "{kind}"
            );
        }
        assert!(check("SystemQuery\n").is_err());
        assert!(check("").is_err());
    }

    #[test]
    fn refuses_a_tree_whose_shape_does_not_add_up() {
        assert!(
            check(&SELECT_ONE.replace("(children 1)\n    Literal", "(children 2)\n    Literal")).is_err()
        );
        assert!(check(&format!("{SELECT_ONE}    Literal UInt64_2\n")).is_err());
        assert!(check(&format!("{SELECT_ONE}{SELECT_ONE}")).is_err());
    }

    #[test]
    fn refuses_system_tables_and_files_by_name() {
        for name in ["system.processes", "default.f.csv", "/etc/passwd"] {
            assert!(check_table(name).is_err(), "{name}");
        }
        for name in ["system.one", "marginstream.cost_events", "t"] {
            assert_eq!(check_table(name), Ok(()), "{name}");
        }
    }
}
