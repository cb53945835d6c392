//! Columns of UUIDs.

use arrow::array::{Array, FixedSizeBinaryArray};
use arrow::buffer::Buffer;
use uuid::Uuid;

/// Builds a column of UUIDs without nulls.
#[derive(Debug, Default)]
pub struct UuidBuilder {
    bytes: Vec<u8>,
}

impl UuidBuilder {
    /// Makes room for `rows`.
    #[must_use]
    pub fn with_capacity(rows: usize) -> Self {
        Self {
            bytes: Vec::with_capacity(rows * 16),
        }
    }

    /// Adds a row.
    pub fn append(&mut self, id: Uuid) {
        self.bytes.extend_from_slice(id.as_bytes());
    }

    /// Returns the column, and starts anew.
    pub fn finish(&mut self) -> FixedSizeBinaryArray {
        FixedSizeBinaryArray::new(16, Buffer::from_vec(std::mem::take(&mut self.bytes)), None)
    }
}

/// Returns the UUID in `row`.
///
/// # Panics
/// When the row is out of bounds, or the column's width is not 16.
#[must_use]
pub fn uuid_at(column: &FixedSizeBinaryArray, row: usize) -> Uuid {
    debug_assert!(
        column.value_length() == 16 && row < column.len(),
        "a UUID column has 16-byte rows"
    );
    Uuid::from_slice(column.value(row)).unwrap_or_default()
}
