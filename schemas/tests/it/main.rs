//! What is published for others: schemas that say what the decoders do, and files that are up to date.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

// The name that the other crates know it by.
extern crate marginstream_schemas as schemas;

mod agreement;
mod published;
mod validator;
mod written;
