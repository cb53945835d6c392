//! Statement boundaries and the FORMAT clause.

use super::token::{TokenKind, Tokens};

/// Splits `sql` at semicolons outside quotes and comments; drops statements with no token.
pub(crate) fn split_statements(sql: &str) -> Vec<&str> {
    let mut statements = Vec::new();
    let mut start = 0;
    let mut has_token = false;
    let mut push = |range: std::ops::Range<usize>, has_token: bool| {
        if has_token && let Some(statement) = sql.get(range) {
            statements.push(statement.trim());
        }
    };
    for token in Tokens::new(sql.as_bytes()) {
        if token.kind == TokenKind::Semicolon {
            push(start..token.range.start, has_token);
            start = token.range.end;
            has_token = false;
        } else {
            has_token = true;
        }
    }
    push(start..sql.len(), has_token);
    statements
}

/// The format the last FORMAT clause of `sql` names, if it has one.
pub(crate) fn output_format(sql: &[u8]) -> Option<String> {
    let tokens: Vec<_> = Tokens::new(sql).collect();
    let word = |index: usize| {
        let token = tokens.get(index).filter(|token| token.kind == TokenKind::Word)?;
        sql.get(token.range.clone())
    };
    let clause = (0..tokens.len()).rev().find(|&index| {
        word(index).is_some_and(|text| text.eq_ignore_ascii_case(b"FORMAT")) && word(index + 1).is_some()
    })?;
    // Only SETTINGS and a semicolon may follow; `format` before them was something else.
    let clause_is_last = match tokens.get(clause + 2) {
        None => true,
        Some(token) => {
            token.kind == TokenKind::Semicolon
                || word(clause + 2).is_some_and(|text| text.eq_ignore_ascii_case(b"SETTINGS"))
        }
    };
    let name = word(clause + 1).filter(|_| clause_is_last)?;
    String::from_utf8(name.to_owned()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_outside_quotes_and_comments() {
        let sql =
            "CREATE TABLE a (s String DEFAULT ';'); -- not; here\n/* nor; here */\nSELECT `x;y`, $q$;$q$;\n;";
        let statements = split_statements(sql);
        assert_eq!(statements.len(), 2, "{statements:?}");
        assert!(statements[0].starts_with("CREATE TABLE") && statements[0].ends_with("';')"));
        assert!(statements[1].ends_with("$q$;$q$"));
    }

    #[test]
    fn escaped_quotes_do_not_end_a_string() {
        assert_eq!(
            split_statements(r"SELECT 'a\';b''; c'; SELECT 2"),
            [r"SELECT 'a\';b''; c'", "SELECT 2"]
        );
    }

    #[test]
    fn reads_the_format_clause_and_not_the_function() {
        assert_eq!(output_format(b"SELECT 1 FORMAT JSON"), Some("JSON".to_owned()));
        assert_eq!(
            output_format(b"select 1 format CSV settings max_threads=1;"),
            Some("CSV".to_owned())
        );
        assert_eq!(output_format(b"SELECT format('{}', 1)"), None);
        assert_eq!(output_format(b"SELECT 'FORMAT JSON' AS format FROM t"), None);
    }
}
