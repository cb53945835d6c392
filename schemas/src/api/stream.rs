//! `POST /api/cost-events/stream` (spec decision 3).

use schemars::JsonSchema;
use serde::Serialize;

use crate::reject::Issue;

/// The most broken lines that an answer lists.
pub const MAX_LISTED_ERRORS: usize = 100;

/// What became of the lines; they add up to the non-blank lines sent.
#[derive(Debug, Default, Serialize, JsonSchema)]
pub struct StreamOutcome {
    /// New events, durable.
    pub accepted: u64,
    /// Events that were there already.
    pub duplicates: u64,
    /// Lines that are no valid event.
    pub rejected: u64,
    /// The first [`MAX_LISTED_ERRORS`] of the rejected lines.
    pub errors: Vec<LineError>,
}

/// A line that is no valid event.
#[derive(Debug, Serialize, JsonSchema)]
pub struct LineError {
    /// The line's number in the request body, from 1.
    pub line: u64,
    /// What is wrong with it.
    pub issues: Vec<Issue>,
}
