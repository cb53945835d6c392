//! Reads columns of a row into the types they hold.

use schemas::time::TimestampMs;
use sqlx::Row;
use sqlx::any::AnyRow;
use uuid::Uuid;

use crate::error::ControlError;

fn column<'r, T>(row: &'r AnyRow, column: &'static str) -> Result<T, ControlError>
where
    T: sqlx::Decode<'r, sqlx::Any> + sqlx::Type<sqlx::Any>,
{
    row.try_get(column).map_err(|_| ControlError::Corrupt { column })
}

pub(crate) fn text(row: &AnyRow, name: &'static str) -> Result<String, ControlError> {
    column(row, name)
}

pub(crate) fn optional_text(row: &AnyRow, name: &'static str) -> Result<Option<String>, ControlError> {
    column(row, name)
}

pub(crate) fn integer(row: &AnyRow, name: &'static str) -> Result<i64, ControlError> {
    column(row, name)
}

pub(crate) fn optional_integer(row: &AnyRow, name: &'static str) -> Result<Option<i64>, ControlError> {
    column(row, name)
}

pub(crate) fn timestamp(row: &AnyRow, name: &'static str) -> Result<TimestampMs, ControlError> {
    integer(row, name).map(TimestampMs)
}

/// A count or sequence number, which is never negative.
pub(crate) fn unsigned(row: &AnyRow, name: &'static str) -> Result<u64, ControlError> {
    u64::try_from(integer(row, name)?).map_err(|_| ControlError::Corrupt { column: name })
}

pub(crate) fn uuid(row: &AnyRow, name: &'static str) -> Result<Uuid, ControlError> {
    schemas::id::parse_hyphenated(&text(row, name)?).ok_or(ControlError::Corrupt { column: name })
}

/// The stored form of an id: hyphenated, lower case.
pub(crate) fn stored_id(id: Uuid) -> String {
    id.hyphenated().to_string()
}

/// Writes JSON that a column holds as text.
pub(crate) fn json(value: &impl serde::Serialize, column: &'static str) -> Result<String, ControlError> {
    serde_json::to_string(value).map_err(|_| ControlError::Corrupt { column })
}

/// Tells whether a store can hold the text: Postgres has none with the character NUL. One that
/// cannot be held is not found either.
pub(crate) fn is_storable(text: &str) -> bool {
    !text.contains('\0')
}
