//! `POST /api/cost-events/stream` (spec decision 3): NDJSON of any length, in bounded memory.
//!
//! Lines are read in chunks of about 2 MiB. A chunk is parsed on a blocking thread, claimed in
//! order, then appended as one record per partition; up to [`MAX_APPENDS`] chunks are appended at
//! a time while the next one is read. The answer is given once all accepted events are durable.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use async_compression::tokio::bufread::{GzipDecoder, ZstdDecoder};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use futures::TryStreamExt;
use marginstream_http::{ApiError, ApiKeyCaller, ErrorCode, Issue, reply};
use schemas::api::stream::{LineError, MAX_LISTED_ERRORS, StreamOutcome};
use schemas::cost_event::{InvalidEvent, Overrides, Receipt, WireEvent};
use schemas::time::TimestampMs;
use tokio::io::{AsyncBufRead, AsyncRead};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::io::StreamReader;

use crate::IngestState;
use crate::acceptor::{Acceptor, BatchOutcome};
use crate::batch::{EventBatch, EventBatchBuilder};
use crate::error::IngestError;
use crate::lines::{Chunk, LineChunks, MAX_LINE_BYTES};
use crate::metrics::Tally;

/// Chunks that one request may have on their way to the log.
const MAX_APPENDS: usize = 3;
/// An event takes about this many bytes; only a guess for the first allocation.
const TYPICAL_LINE_BYTES: usize = 400;

/// The bytes of a body, decompressed.
type ByteStream = Pin<Box<dyn AsyncRead + Send>>;

pub(super) async fn stream_cost_events(
    State(state): State<IngestState>,
    caller: ApiKeyCaller,
    request: Request,
) -> Result<Response, ApiError> {
    check_media_type(request.headers())?;
    let bytes = decompressed(request)?;
    let outcome = Stream::new(Arc::clone(&state.acceptor), caller)
        .run(bytes)
        .await?;
    reply::data(StatusCode::OK, &outcome)
}

fn check_media_type(headers: &HeaderMap) -> Result<(), ApiError> {
    let essence = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok()?.split(';').next())
        .map(|essence| essence.trim().to_ascii_lowercase());
    match essence.as_deref() {
        Some("application/x-ndjson" | "application/ndjson") => Ok(()),
        _ => Err(unsupported("Content-Type must be application/x-ndjson.")),
    }
}

fn unsupported(message: &'static str) -> ApiError {
    ApiError::new(ErrorCode::UnsupportedMediaType, message)
}

fn decompressed(request: Request) -> Result<ByteStream, ApiError> {
    let encoding = request
        .headers()
        .get(header::CONTENT_ENCODING)
        .map(|value| value.as_bytes().to_ascii_lowercase());
    let body = buffered(request.into_body());
    match encoding.as_deref() {
        None | Some(b"" | b"identity") => Ok(Box::pin(body)),
        Some(b"gzip" | b"x-gzip") => {
            let mut decoder = GzipDecoder::new(body);
            decoder.multiple_members(true);
            Ok(Box::pin(decoder))
        }
        Some(b"zstd") => {
            let mut decoder = ZstdDecoder::new(body);
            decoder.multiple_members(true);
            Ok(Box::pin(decoder))
        }
        Some(_) => Err(unsupported("Content-Encoding must be gzip, zstd or identity.")),
    }
}

fn buffered(body: Body) -> impl AsyncBufRead + Send + Unpin {
    StreamReader::new(Box::pin(body.into_data_stream().map_err(std::io::Error::other)))
}

/// One request under way.
struct Stream {
    acceptor: Arc<Acceptor>,
    caller: ApiKeyCaller,
    outcome: StreamOutcome,
    appends: VecDeque<JoinHandle<Result<BatchOutcome, IngestError>>>,
}

/// The lines of a chunk that are valid events, and those that are not.
struct Parsed {
    events: EventBatch,
    rejected: RejectedLines,
    errors: Vec<LineError>,
}

/// Lines that are no events, by what is wrong with them.
#[derive(Debug, Clone, Copy, Default)]
struct RejectedLines {
    not_json: u64,
    invalid: u64,
    too_long: u64,
}

impl RejectedLines {
    fn total(self) -> u64 {
        self.not_json + self.invalid + self.too_long
    }

    /// Counts a line, and says what is wrong with it.
    fn issues_of(&mut self, invalid: InvalidEvent) -> Vec<Issue> {
        match invalid {
            InvalidEvent::Json => {
                self.not_json += 1;
                vec![Issue::new(Vec::new(), "Line is not valid JSON")]
            }
            InvalidEvent::Issues(issues) => {
                self.invalid += 1;
                issues
            }
        }
    }

    fn tell(self, tally: &mut Tally) {
        tally.reject(self.not_json, ErrorCode::InvalidJson);
        tally.reject(self.invalid, ErrorCode::ValidationError);
        tally.reject(self.too_long, ErrorCode::PayloadTooLarge);
    }
}

impl Stream {
    fn new(acceptor: Arc<Acceptor>, caller: ApiKeyCaller) -> Self {
        Self {
            acceptor,
            caller,
            outcome: StreamOutcome::default(),
            appends: VecDeque::new(),
        }
    }

    async fn run(mut self, bytes: ByteStream) -> Result<StreamOutcome, ApiError> {
        let mut chunks = LineChunks::new(bytes);
        // What was read so far is kept even where the rest cannot be: it is durable or on its way.
        while let Some(chunk) = chunks.next().await.map_err(|_| broken_body())? {
            let share = self.acceptor.enter_chunk().await?;
            self.take(chunk, share).await?;
        }
        while !self.appends.is_empty() {
            self.finish_one().await?;
        }
        Ok(self.outcome)
    }

    async fn take(&mut self, chunk: Chunk, share: OwnedSemaphorePermit) -> Result<(), ApiError> {
        let caller = self.caller.clone();
        let room = MAX_LISTED_ERRORS.saturating_sub(self.outcome.errors.len());
        let parsed = spawn_blocking(move || parse(&caller, &chunk, room)).await;
        let parsed = parsed.map_err(IngestError::from)??;
        let num_rejected = parsed.rejected.total();
        let mut tally = self.acceptor.receive(parsed.events.len() + num_rejected as usize);
        parsed.rejected.tell(&mut tally);
        self.outcome.rejected += num_rejected;
        self.outcome.errors.extend(parsed.errors);
        self.caller.pace_events(parsed.events.len()).await;
        if self.appends.len() >= MAX_APPENDS {
            self.finish_one().await?;
        }
        // Claimed only now that nothing holds the append up: other requests may wait for it.
        let claimed = self.acceptor.claim(parsed.events);
        let acceptor = Arc::clone(&self.acceptor);
        self.appends.push_back(tokio::spawn(async move {
            let outcome = acceptor.accept_claimed(claimed, tally).await;
            drop(share);
            outcome
        }));
        Ok(())
    }

    async fn finish_one(&mut self) -> Result<(), IngestError> {
        if let Some(append) = self.appends.pop_front() {
            let outcome = append.await??;
            self.outcome.accepted += outcome.num_new();
            self.outcome.duplicates += outcome.num_duplicates();
        }
        Ok(())
    }
}

fn broken_body() -> ApiError {
    ApiError::invalid_json("Request body broke off or could not be decompressed; send it again.")
}

fn parse(caller: &ApiKeyCaller, chunk: &Chunk, room_for_errors: usize) -> Result<Parsed, IngestError> {
    let receipt = Receipt {
        org_id: caller.org_id(),
        api_key_id: caller.key_id(),
        default_tags: caller.default_tags(),
        received_at: TimestampMs::now(),
    };
    let no_overrides = Overrides::default();
    let mut builder = EventBatchBuilder::new(caller.org_id(), chunk.bytes.len() / TYPICAL_LINE_BYTES + 1);
    let (mut rejected, mut errors) = (RejectedLines::default(), Vec::new());
    for (number, line) in (chunk.first_line..).zip(chunk.bytes.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let event = if line.len() > MAX_LINE_BYTES || is_cut_off(chunk, line) {
            rejected.too_long += 1;
            let issue = format!("Line is longer than {MAX_LINE_BYTES} bytes");
            Err(vec![Issue::new(Vec::new(), issue)])
        } else {
            WireEvent::parse(line)
                .and_then(|event| {
                    let resolved = event.resolve(&receipt, &no_overrides);
                    resolved.map_err(InvalidEvent::Issues)
                })
                .map_err(|invalid| rejected.issues_of(invalid))
        };
        match event {
            Ok(event) => builder.append(&event)?,
            Err(issues) => {
                if errors.len() < room_for_errors {
                    errors.push(LineError { line: number, issues });
                }
            }
        }
    }
    Ok(Parsed {
        events: builder.finish()?,
        rejected,
        errors,
    })
}

/// Tells whether `line` is the last one of a chunk that ends in a line too long to be read.
fn is_cut_off(chunk: &Chunk, line: &[u8]) -> bool {
    chunk.ends_in_long_line && line.as_ptr_range().end >= chunk.bytes.trim_ascii_end().as_ptr_range().end
}
