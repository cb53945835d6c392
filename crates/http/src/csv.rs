//! CSV answers (`spec/cost-events.md` §13.1).

use std::fmt::Display;
use std::fmt::Write as _;

use axum::http::header;
use axum::response::{IntoResponse, Response};

use crate::error::ApiError;

/// Builds CSV text: cells joined by commas, rows by `\n`, no newline at the end.
#[derive(Debug, Clone, Default)]
pub struct CsvText {
    text: String,
    is_row_open: bool,
}

impl CsvText {
    /// Starts with a header row. The names are taken as they are.
    #[must_use]
    pub fn with_header(names: &str) -> Self {
        Self {
            text: names.to_owned(),
            is_row_open: false,
        }
    }

    /// Starts a row.
    pub fn start_row(&mut self) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.is_row_open = false;
    }

    /// Adds a text cell, guarded against formulas and quoted where needed.
    pub fn text(&mut self, cell: &str) {
        self.separate();
        push_text_cell(&mut self.text, cell);
    }

    /// Adds a numeric cell, which is never guarded: `-5` stays a number.
    pub fn number(&mut self, cell: impl Display) {
        self.separate();
        // Writing to a String cannot fail.
        write!(self.text, "{cell}").ok();
    }

    /// Adds an empty cell.
    pub fn empty(&mut self) {
        self.separate();
    }

    /// Returns the text.
    #[must_use]
    pub fn finish(self) -> String {
        self.text
    }

    fn separate(&mut self) {
        if self.is_row_open {
            self.text.push(',');
        }
        self.is_row_open = true;
    }
}

/// A spreadsheet takes these for the start of a formula.
const FORMULA_STARTS: [char; 6] = ['=', '+', '-', '@', '\t', '\r'];

fn push_text_cell(out: &mut String, cell: &str) {
    let guard = if cell.starts_with(FORMULA_STARTS) { "'" } else { "" };
    if cell.contains([',', '"', '\n', '\r']) {
        out.push('"');
        out.push_str(guard);
        out.push_str(&cell.replace('"', "\"\""));
        out.push('"');
    } else {
        out.push_str(guard);
        out.push_str(cell);
    }
}

/// Answers a CSV file. `content_type` is the endpoint's: some carry a charset, some do not.
///
/// # Errors
/// 500 `internal_error` where the file's name cannot stand in a header; names are made by
/// handlers from dates, periods and constants.
pub fn csv_response(filename: &str, content_type: &'static str, body: String) -> Result<Response, ApiError> {
    let is_plain = filename
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    if !is_plain {
        return Err(ApiError::internal(InvalidFilename));
    }
    let disposition = format!("attachment; filename=\"{filename}\"");
    Ok((
        [
            (header::CONTENT_TYPE, content_type.to_owned()),
            (header::CONTENT_DISPOSITION, disposition),
        ],
        body,
    )
        .into_response())
}

#[derive(Debug, thiserror::Error)]
#[error("name of a CSV file has characters that a header cannot carry")]
struct InvalidFilename;

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(text: &str) -> String {
        let mut csv = CsvText::default();
        csv.text(text);
        csv.finish()
    }

    #[test]
    fn quotes_what_would_break_a_row() {
        assert_eq!(cell("plain"), "plain");
        assert_eq!(cell("a,b"), "\"a,b\"");
        assert_eq!(cell("say \"hi\""), "\"say \"\"hi\"\"\"");
        assert_eq!(cell("a\nb"), "\"a\nb\"");
        assert_eq!(cell("a\rb"), "\"a\rb\"");
    }

    #[test]
    fn guards_text_that_a_spreadsheet_would_compute() {
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", "\tx"] {
            assert_eq!(cell(formula), format!("'{formula}"));
        }
        assert_eq!(cell("\rx"), "\"'\rx\"");
        assert_eq!(cell("=A1,\"b\""), "\"'=A1,\"\"b\"\"\"");
        assert_eq!(cell("a=1"), "a=1");
    }

    #[test]
    fn joins_cells_and_rows_without_a_newline_at_the_end() {
        let mut csv = CsvText::with_header("key,cost,id");
        for (key, cost) in [("a", -5_i64), ("b", 7)] {
            csv.start_row();
            csv.text(key);
            csv.number(cost);
            csv.empty();
        }
        assert_eq!(csv.finish(), "key,cost,id\na,-5,\nb,7,");
    }
}
