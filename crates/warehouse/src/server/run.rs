//! Runs one statement, on a thread of its own, against a connection of its own.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;

use super::body::{BodyChunks, BodyReader};
use super::chunks::{self, Header};
use super::codec::{Encoder, Encoding};
use super::error::{QueryError, code};
use super::guard;
use super::request::QueryRequest;
use super::response::{ResponseHead, ResponseSender, late_error};
use crate::engine::{
    Connection, Engine, Progress, QueryClass, QueryResult, QueryStream, Role, Session, renew_exit_hook,
};
use crate::sql::{self, InsertHead};

/// Largest result, before it is formatted, in a format that cannot be streamed.
const MAX_WHOLE_RESULT_BYTES: u64 = 512 << 20;

/// A statement and all it needs.
pub(super) struct Job {
    pub(super) engine: Arc<Engine>,
    /// Places among the engine's and the analyst's statements, given back at the end.
    pub(super) permits: (OwnedSemaphorePermit, Option<OwnedSemaphorePermit>),
    pub(super) request: QueryRequest,
    pub(super) body: BodyChunks,
    pub(super) max_statement_bytes: usize,
    pub(super) response: ResponseSender,
    /// Set when the statement is over, so that nobody kills it any more.
    pub(super) ended: Arc<AtomicBool>,
}

/// Runs `job` and sends its response. Blocks.
pub(super) fn run(job: Job) {
    let Job {
        engine,
        permits,
        request,
        body,
        max_statement_bytes,
        mut response,
        ended,
    } = job;
    let outcome = Session::open(&engine, &request.session)
        .map_err(QueryError::engine)
        .and_then(|mut session| {
            let body = BodyReader::new(body, request.request_encoding, request.native_request)
                .map_err(unreadable)?;
            let mut run = Run {
                engine: &engine,
                request: &request,
                response: &mut response,
                started: Instant::now(),
            };
            run.statement(&mut session.connection, body, max_statement_bytes)
        });
    // The connection is closed by now. The client sees the end of its response after this.
    drop(permits);
    renew_exit_hook();
    ended.store(true, Ordering::Release);
    if let Err(error) = outcome {
        // After the head was sent, `outcome` is Ok: late errors are part of the body.
        response.send_head(Err(error));
    }
}

struct Run<'j> {
    engine: &'j Engine,
    request: &'j QueryRequest,
    response: &'j mut ResponseSender,
    started: Instant,
}

impl Run<'_> {
    fn statement(
        &mut self,
        connection: &mut Connection,
        mut body: BodyReader,
        max_bytes: usize,
    ) -> Result<(), QueryError> {
        let mut text = self.request.statement.clone().into_bytes();
        if !text.is_empty() {
            // What the server puts between the URL's part and the body's.
            text.push(b'\n');
        }
        let mut complete = false;
        // The analyst's INSERTs are for the guard to refuse, as whole texts.
        if self.request.role == Role::Service {
            loop {
                match sql::insert_head(&text, complete) {
                    InsertHead::NotAnInsert => break,
                    InsertHead::Insert {
                        statement,
                        format,
                        data,
                    } => {
                        let rows = text.split_off(data);
                        return self.insert(connection, &statement, &format, Bytes::from(rows), body);
                    }
                    InsertHead::Incomplete => complete = !read_more(&mut text, &mut body, max_bytes)?,
                }
            }
        }
        while !complete {
            complete = !read_more(&mut text, &mut body, max_bytes)?;
        }
        self.query(connection, &text)
    }

    /// Runs an INSERT whose rows are `first` and then the body's.
    fn insert(
        &mut self,
        connection: &mut Connection,
        statement: &str,
        format: &str,
        first: Bytes,
        mut body: BodyReader,
    ) -> Result<(), QueryError> {
        let mut insert = connection
            .insert(statement, format, &self.request.parameters)
            .map_err(QueryError::engine)?;
        let mut accepted = first.is_empty() || insert.append(&first);
        while accepted {
            // An error here drops the insert, which cancels it: a body that broke off is not committed.
            let Some(chunk) = body.next_chunk().map_err(unreadable)? else {
                break;
            };
            accepted = insert.append(&chunk);
        }
        let progress = insert.finish().map_err(QueryError::engine)?;
        let head = self.head(None, progress);
        self.response.send_head(Ok(head));
        Ok(())
    }

    /// Runs anything else.
    fn query(&mut self, connection: &mut Connection, text: &[u8]) -> Result<(), QueryError> {
        let analysis = connection.classify(text);
        if analysis.class == QueryClass::Unknown || analysis.statements == 0 {
            return Err(syntax_error(self.engine, text));
        }
        if analysis.statements > 1 {
            let text = "Multi-statements are not allowed";
            return Err(QueryError::new(code::SYNTAX_ERROR, "SYNTAX_ERROR", text));
        }
        if self.request.role == Role::Analyst {
            guard::check(
                connection,
                self.engine.facts(),
                text,
                analysis,
                &self.request.parameters,
            )?;
        }
        if analysis.class == QueryClass::ReadOnly {
            return self.select(connection, text);
        }
        self.whole(connection, text)
    }

    /// Runs a statement and sends its result when it is complete.
    fn whole(&mut self, connection: &mut Connection, text: &[u8]) -> Result<(), QueryError> {
        if self.request.role == Role::Service && !self.request.session.sets("max_result_bytes") {
            let limit = format!("SET max_result_bytes = {MAX_WHOLE_RESULT_BYTES}");
            // Refused only in a session that the client made read-only itself; its result is not limited.
            drop(connection.query(limit.as_bytes(), "Null", &[]));
        }
        let result = connection
            .query(text, &self.request.default_format, &self.request.parameters)
            .map_err(QueryError::engine)?;
        let head = self.head(Some(self.format(text)), result.progress());
        if self.response.send_head(Ok(head)) {
            self.send_rows(std::iter::once(Ok(Bytes::from_owner(result))));
        }
        Ok(())
    }

    /// Streams the rows of a statement that only reads.
    fn select(&mut self, connection: &mut Connection, text: &[u8]) -> Result<(), QueryError> {
        let format = self.format(text);
        let Some(header) = chunks::header_of(&format).filter(|_| !contains(text, b"json_array_of_rows"))
        else {
            return self.whole(connection, text);
        };
        let refusal = match connection.stream(text, &self.request.default_format, &self.request.parameters) {
            Ok(stream) => return self.stream(stream, format, header),
            Err(message) => message,
        };
        // SHOW, DESCRIBE and EXPLAIN cannot be streamed, and are short.
        if refusal.contains("Streaming query is not supported") {
            return self.whole(connection, text);
        }
        Err(QueryError::engine(refusal))
    }

    fn stream(
        &mut self,
        mut stream: QueryStream<'_>,
        format: String,
        header: Header,
    ) -> Result<(), QueryError> {
        let first = stream.next_chunk().map_err(QueryError::engine)?;
        let progress = first.as_ref().map(QueryResult::progress).unwrap_or_default();
        let head = self.head(Some(format), progress);
        if self.response.send_head(Ok(head)) {
            let rest = std::iter::from_fn(|| stream.next_chunk().transpose());
            let rest = rest.map(|chunk| chunk.map(|chunk| header.cut(chunk)));
            self.send_rows(
                first
                    .map(|chunk| Ok(Bytes::from_owner(chunk)))
                    .into_iter()
                    .chain(rest),
            );
        }
        Ok(())
    }

    /// Sends chunks until they end, fail, or the client is gone.
    fn send_rows(&mut self, chunks: impl Iterator<Item = Result<Bytes, String>>) {
        let request = self.request;
        let Ok(mut encoder) = Encoder::new(request.response_encoding, request.native_response) else {
            return;
        };
        for chunk in chunks {
            let (bytes, is_last) = match chunk {
                Ok(chunk) => (chunk, false),
                Err(message) => (late_error(&self.tag(), &QueryError::engine(message)), true),
            };
            // Encoding into memory does not fail.
            let Ok(encoded) = encoder.encode(bytes) else {
                return;
            };
            if !self.response.send_chunk(encoded) {
                return;
            }
            if is_last {
                break;
            }
        }
        if let Ok(end) = encoder.finish() {
            self.response.send_chunk(end);
        }
    }

    fn head(&self, format: Option<String>, progress: Progress) -> ResponseHead {
        let encoding = if format.is_some() {
            self.request.response_encoding
        } else {
            Encoding::Identity
        };
        ResponseHead {
            query_id: self.request.query_id.clone(),
            format,
            encoding,
            exception_tag: self.tag(),
            progress,
            elapsed: self.started.elapsed(),
        }
    }

    fn format(&self, text: &[u8]) -> String {
        sql::output_format(text).unwrap_or_else(|| self.request.default_format.clone())
    }

    /// Sixteen characters that a client cannot have put into its data beforehand.
    fn tag(&self) -> String {
        self.request
            .cancel_key
            .chars()
            .filter(|c| *c != '-')
            .take(16)
            .collect()
    }
}

/// Appends the next part of the body to `text`; `false` at the end.
fn read_more(text: &mut Vec<u8>, body: &mut BodyReader, max_bytes: usize) -> Result<bool, QueryError> {
    let Some(chunk) = body.next_chunk().map_err(unreadable)? else {
        return Ok(false);
    };
    if text.len() + chunk.len() > max_bytes {
        let text = format!("the statement is longer than {max_bytes} bytes");
        return Err(QueryError::new(
            code::QUERY_IS_TOO_LARGE,
            "QUERY_IS_TOO_LARGE",
            text,
        ));
    }
    text.extend_from_slice(&chunk);
    Ok(true)
}

/// Says what does not parse, without running any of it: the engine's formatter parses a string.
fn syntax_error(engine: &Engine, text: &[u8]) -> QueryError {
    let statement = [("text".to_owned(), escaped(&String::from_utf8_lossy(text)))];
    let parsed = engine.connect().and_then(|mut connection| {
        connection
            .query(b"SELECT formatQuery({text:String})", "Null", &statement)
            .map(drop)
    });
    match parsed {
        Err(message) => QueryError::engine(message),
        Ok(()) => QueryError::new(
            code::SYNTAX_ERROR,
            "SYNTAX_ERROR",
            "Empty query or unsupported statement",
        ),
    }
}

fn contains(text: &[u8], needle: &[u8]) -> bool {
    text.windows(needle.len()).any(|window| window == needle)
}

/// A parameter's value in the engine's escaped text form.
fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('\t', "\\t")
        .replace('\n', "\\n")
}

fn unreadable(error: io::Error) -> QueryError {
    if error.kind() == io::ErrorKind::ConnectionAborted {
        return QueryError::new(code::QUERY_WAS_CANCELLED, "QUERY_WAS_CANCELLED", error);
    }
    QueryError::new(
        code::CANNOT_DECOMPRESS,
        "CANNOT_DECOMPRESS",
        format!("the body cannot be read: {error}"),
    )
}
