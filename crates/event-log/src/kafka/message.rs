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

#[cfg(test)]
mod tests {
    use rdkafka::message::Header;

    use super::*;

    /// Headers as the client library shows them whose second name is not UTF-8.
    struct BrokenSecond;

    impl Headers for BrokenSecond {
        fn count(&self) -> usize {
            3
        }

        fn try_get(&self, index: usize) -> Option<Header<'_, &[u8]>> {
            assert_ne!(index, 1, "not UTF-8");
            let value = (index == 0).then_some(&b"value"[..]);
            Some(Header { key: "name", value })
        }
    }

    #[test]
    fn a_header_that_is_not_text_does_not_stop_the_reader() {
        let read = headers(&BrokenSecond);
        let expected = [("name", &b"value"[..]), (UNREADABLE_NAME, b""), ("name", b"")];
        let expected = expected.map(|(name, value)| (name.to_owned(), Bytes::from_static(value)));
        assert_eq!(read, expected);
    }
}
