//! A response: its head, its chunks, and an error after rows were sent.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Response, header};
use bytes::Bytes;
use futures::stream;
use tokio::sync::{mpsc, oneshot};

use super::ServerState;
use super::cancel::CancelGuard;
use super::codec::Encoding;
use super::error::QueryError;
use crate::engine::Progress;

const QUERY_ID: HeaderName = HeaderName::from_static("x-clickhouse-query-id");
const DISPLAY_NAME: HeaderName = HeaderName::from_static("x-clickhouse-server-display-name");
const FORMAT: HeaderName = HeaderName::from_static("x-clickhouse-format");
const TIMEZONE: HeaderName = HeaderName::from_static("x-clickhouse-timezone");
const SUMMARY: HeaderName = HeaderName::from_static("x-clickhouse-summary");
const EXCEPTION_TAG: HeaderName = HeaderName::from_static("x-clickhouse-exception-tag");

/// What is known when the first rows are there.
#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) query_id: String,
    /// Format of the rows; `None` for a statement without a result.
    pub(super) format: Option<String>,
    pub(super) encoding: Encoding,
    /// Marks an error that follows rows.
    pub(super) exception_tag: String,
    pub(super) progress: Progress,
    pub(super) elapsed: Duration,
}

/// The statement's end of a response.
pub(super) struct ResponseSender {
    pub(super) head: Option<oneshot::Sender<Result<ResponseHead, QueryError>>>,
    pub(super) chunks: mpsc::Sender<Bytes>,
}

impl ResponseSender {
    /// Sends the head, once; `false` when the client is gone.
    pub(super) fn send_head(&mut self, head: Result<ResponseHead, QueryError>) -> bool {
        self.head.take().is_some_and(|sender| sender.send(head).is_ok())
    }

    /// Sends a chunk, waiting while the client is behind; `false` when it is gone.
    pub(super) fn send_chunk(&self, chunk: Bytes) -> bool {
        chunk.is_empty() || self.chunks.blocking_send(chunk).is_ok()
    }
}

/// Builds the response; its body holds `guard`, so that a client that goes away stops the statement.
pub(super) fn build(
    state: &ServerState,
    head: ResponseHead,
    chunks: mpsc::Receiver<Bytes>,
    guard: CancelGuard,
) -> Response<Body> {
    let body = stream::unfold((chunks, guard), |(mut chunks, guard)| async {
        let chunk = chunks.recv().await?;
        Some((Ok::<_, std::io::Error>(chunk), (chunks, guard)))
    });
    let mut response = Response::new(Body::from_stream(body));
    let facts = state.engine.facts();
    let headers = response.headers_mut();
    let mut insert = |name: HeaderName, value: &str| {
        // A query id of the client's may hold what a header cannot; it is left out then.
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    insert(QUERY_ID, &head.query_id);
    insert(DISPLAY_NAME, &facts.host_name);
    insert(TIMEZONE, &facts.timezone);
    insert(SUMMARY, &summary(&head.progress, head.elapsed));
    insert(EXCEPTION_TAG, &head.exception_tag);
    if let Some(encoding) = head.encoding.name() {
        insert(header::CONTENT_ENCODING, encoding);
    }
    if let Some(format) = &head.format {
        insert(FORMAT, format);
        insert(header::CONTENT_TYPE, content_type(format));
    } else {
        insert(header::CONTENT_TYPE, "text/plain; charset=UTF-8");
    }
    response
}

/// The summary header: numbers as strings, as ClickHouse prints them. For a result that is still
/// streaming, they are those of its first chunk.
fn summary(progress: &Progress, elapsed: Duration) -> String {
    format!(
        "{{\"read_rows\":\"{}\",\"read_bytes\":\"{}\",\"written_rows\":\"{}\",\"written_bytes\":\"{}\",\
         \"total_rows_to_read\":\"{}\",\"result_rows\":\"{}\",\"elapsed_ns\":\"{}\"}}",
        progress.read_rows,
        progress.read_bytes,
        progress.written_rows,
        progress.written_bytes,
        progress.read_rows,
        progress.result_rows,
        elapsed.as_nanos()
    )
}

/// An error after rows were sent, in the form clients look for at the end of a body.
/// Source: `WriteBufferFromHTTPServerResponse.cpp` of ClickHouse.
pub(super) fn late_error(tag: &str, error: &QueryError) -> Bytes {
    let message = format!("{}\n", error.message());
    let length = message.len();
    Bytes::from(format!(
        "\r\n__exception__\r\n{tag}\r\n{message}{length} {tag}\r\n__exception__\r\n"
    ))
}

fn content_type(format: &str) -> &'static str {
    match format {
        "JSON" | "JSONCompact" | "JSONStrings" | "JSONColumnsWithMetadata" => {
            "application/json; charset=UTF-8"
        }
        name if name.starts_with("JSON") => "application/x-ndjson; charset=UTF-8",
        "CSV" => "text/csv; charset=UTF-8; header=absent",
        name if name.starts_with("CSV") => "text/csv; charset=UTF-8; header=present",
        name if name.starts_with("TSV") || name.starts_with("TabSeparated") => {
            "text/tab-separated-values; charset=UTF-8"
        }
        "XML" => "application/xml; charset=UTF-8",
        "Native"
        | "RowBinary"
        | "RowBinaryWithNames"
        | "RowBinaryWithNamesAndTypes"
        | "Parquet"
        | "ORC"
        | "Avro"
        | "Arrow"
        | "ArrowStream" => "application/octet-stream",
        _ => "text/plain; charset=UTF-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_error_says_its_length_without_the_tag() {
        let error = QueryError::engine("Code: 1. DB::Exception: x. (X)".to_owned());
        let text = late_error("tag", &error);
        assert_eq!(
            text,
            "\r\n__exception__\r\ntag\r\nCode: 1. DB::Exception: x. (X)\n31 tag\r\n__exception__\r\n"
        );
    }
}
