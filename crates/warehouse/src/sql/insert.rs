//! Where the data of an INSERT begins in the text of a request.

use super::token::{TokenKind, Tokens};

/// What the beginning of a request's text is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum InsertHead {
    /// No INSERT with data of its own: the whole text is SQL.
    NotAnInsert,
    /// More text is needed to tell.
    Incomplete,
    /// `INSERT INTO t (a, b)`, with rows from byte `data` on.
    Insert {
        /// The statement up to VALUES or FORMAT.
        statement: String,
        /// Name of the rows' format.
        format: String,
        /// Where the rows begin.
        data: usize,
    },
}

/// Looks for an INSERT's head in `text`; `complete` says that no more text follows.
pub(crate) fn insert_head(text: &[u8], complete: bool) -> InsertHead {
    let mut tokens = Tokens::new(text);
    let undecided = if complete {
        InsertHead::NotAnInsert
    } else {
        InsertHead::Incomplete
    };
    let mut depth = 0_usize;
    let mut index = 0;
    let mut after_into = false;
    while let Some(token) = tokens.next() {
        // A token that touches the end may go on in the next chunk.
        if tokens.unfinished || (token.range.end == text.len() && !complete) {
            return undecided;
        }
        let word = text.get(token.range.clone()).unwrap_or_default();
        let is =
            |keyword: &str| token.kind == TokenKind::Word && word.eq_ignore_ascii_case(keyword.as_bytes());
        match token.kind {
            TokenKind::Open => depth += 1,
            TokenKind::Close => depth = depth.saturating_sub(1),
            TokenKind::Semicolon => return InsertHead::NotAnInsert,
            _ => {}
        }
        if index == 0 && !is("INSERT") {
            return InsertHead::NotAnInsert;
        }
        index += 1;
        // What follows INTO is a name, whatever it spells.
        let is_name = after_into;
        after_into = is("INTO") || (after_into && is("TABLE"));
        if is_name || depth > 0 {
            continue;
        }
        if is("SELECT") || is("WITH") || is("FROM") || is("EXPLAIN") {
            return InsertHead::NotAnInsert;
        }
        let (format, data) = if is("VALUES") {
            ("Values".to_owned(), token.range.end)
        } else if is("FORMAT") {
            match format_and_data(text, &mut tokens, complete) {
                Some(found) => found,
                None => return undecided,
            }
        } else {
            continue;
        };
        let statement = text.get(..token.range.start).unwrap_or_default();
        return InsertHead::Insert {
            statement: String::from_utf8_lossy(statement).into_owned(),
            format,
            data,
        };
    }
    undecided
}

/// Reads the format's name after FORMAT, and finds the first byte of data: after spaces and one
/// line break, as the server does.
fn format_and_data(text: &[u8], tokens: &mut Tokens<'_>, complete: bool) -> Option<(String, usize)> {
    let name = tokens.next().filter(|token| token.kind == TokenKind::Word)?;
    let mut data = name.range.end;
    while matches!(text.get(data), Some(b' ' | b'\t' | 0x0c)) {
        data += 1;
    }
    if text.get(data) == Some(&b'\r') {
        data += 1;
    }
    match text.get(data) {
        Some(b'\n') => data += 1,
        Some(_) => {}
        None if complete => {}
        None => return None,
    }
    let format = String::from_utf8(text.get(name.range)?.to_owned()).ok()?;
    Some((format, data))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(statement: &str, format: &str, data: usize) -> InsertHead {
        InsertHead::Insert {
            statement: statement.to_owned(),
            format: format.to_owned(),
            data,
        }
    }

    #[test]
    fn finds_the_data_of_each_form() {
        let text = b"INSERT INTO t (a, `values`) FORMAT TSV\n1\t2\n";
        assert_eq!(
            insert_head(text, false),
            head("INSERT INTO t (a, `values`) ", "TSV", 39)
        );
        let text = b"insert into values values (1)";
        assert_eq!(insert_head(text, true), head("insert into values ", "Values", 25));
        let text = b"/* ; */ INSERT INTO t SETTINGS async_insert=0 FORMAT Native\n\n";
        assert_eq!(
            insert_head(text, true),
            head("/* ; */ INSERT INTO t SETTINGS async_insert=0 ", "Native", 60)
        );
    }

    #[test]
    fn waits_for_the_rest_of_a_head_that_is_cut() {
        for cut in [
            "INS",
            "INSERT INTO t (a) VAL",
            "INSERT INTO t FORMAT",
            "INSERT INTO t FORMAT TSV",
            "INSERT INTO `t",
        ] {
            assert_eq!(
                insert_head(cut.as_bytes(), false),
                InsertHead::Incomplete,
                "{cut}"
            );
        }
    }

    #[test]
    fn leaves_other_statements_alone() {
        for sql in [
            "SELECT 1 FORMAT TSV",
            "INSERT INTO t SELECT 1",
            "INSERT INTO t WITH x AS (SELECT 1) SELECT 1",
            "",
        ] {
            assert_eq!(
                insert_head(sql.as_bytes(), true),
                InsertHead::NotAnInsert,
                "{sql}"
            );
        }
    }
}
