//! ClickHouse SQL as text: quoting, splitting into statements, and where an INSERT's data begins.
//!
//! Decisions about what a statement may do are the engine's; this module only finds boundaries.

mod insert;
mod statements;
mod token;

pub(crate) use insert::{InsertHead, insert_head};
pub(crate) use statements::{output_format, split_statements};

/// Quotes `name` as an identifier.
pub(crate) fn identifier(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// Quotes `text` as a string literal.
pub(crate) fn string_literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}
