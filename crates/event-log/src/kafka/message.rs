//! A message as the log's record.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use rdkafka::Message;
use rdkafka::message::{BorrowedMessage, Headers};

use crate::LogRecord;

/// Stands for a header's name that is not UTF-8.
const UNREADABLE_NAME: &str = "\u{fffd}";

/// Copies a message, so that the client's buffer is free. No key and no payload are empty ones.
pub(super) fn log_record(message: &BorrowedMessage<'_>) -> LogRecord {
    let (key, value) = (
        message.key().unwrap_or_default(),
        message.payload().unwrap_or_default(),
    );
    let mut bytes = Vec::with_capacity(key.len() + value.len());
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(value);
    let mut value = Bytes::from(bytes);
    LogRecord {
        // Offsets of records that were fetched are not negative.
        offset: message.offset().unsigned_abs(),
        timestamp_ms: message.timestamp().to_millis().unwrap_or_default(),
        key: value.split_to(key.len()),
        headers: message.headers().map(headers).unwrap_or_default(),
        value,
    }
}

/// Copies headers. The client library panics at a name that is not UTF-8, which any producer can write:
/// such a header keeps its place without its value.
fn headers(headers: &impl Headers) -> Vec<(String, Bytes)> {
    let get = |index| {
        let header = catch_unwind(AssertUnwindSafe(|| headers.get(index)));
        header.map_or_else(
            |_| (UNREADABLE_NAME.to_owned(), Bytes::new()),
            |header| {
                let value = header.value.unwrap_or_default();
                (header.key.to_owned(), Bytes::copy_from_slice(value))
            },
        )
    };
    (0..headers.count()).map(get).collect()
}
