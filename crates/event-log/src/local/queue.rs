//! The way from many appenders to the one writer, bounded by bytes.

use std::sync::mpsc;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use super::frame::EncodedRecord;
use super::writer::Writer;
use crate::LogError;

/// Bytes that may wait or be in writing; beyond it appenders wait.
const MAX_QUEUED_BYTES: usize = 64 << 20;
/// What one permit stands for; a request takes at least one, which bounds their number as well.
const BYTES_PER_PERMIT: usize = 1024;

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Command {
    Append(AppendRequest),
    /// Make everything that was acknowledged durable.
    Sync(oneshot::Sender<Result<(), LogError>>),
    /// As `Sync`, then stop.
    Stop(oneshot::Sender<Result<(), LogError>>),
}

/// One call's records, each with the index of its partition in the writer.
#[derive(Debug)]
pub(super) struct AppendRequest {
    pub(super) records: Vec<(usize, EncodedRecord)>,
    pub(super) reply: oneshot::Sender<Result<Vec<u64>, LogError>>,
    /// Given back when the request was answered.
    pub(super) _permit: OwnedSemaphorePermit,
}

/// The queue and the writer's thread. Dropping it lets the writer finish what was queued.
#[derive(Debug)]
pub(super) struct AppendQueue {
    budget: Arc<Semaphore>,
    sender: Option<mpsc::Sender<Command>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl AppendQueue {
    /// Starts `writer` on a thread of its own: it waits for the disk most of the time.
    ///
    /// # Errors
    /// [`LogError::Config`] if the system gives no thread.
    pub(super) fn start(writer: Writer) -> Result<Self, LogError> {
        // Unbounded by itself; the permits bound it.
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("log-writer".to_owned())
            .spawn(move || writer.run(&receiver))
            .map_err(|error| LogError::Config(format!("no thread for the log writer: {error}")))?;
        Ok(Self {
            budget: Arc::new(Semaphore::new(MAX_QUEUED_BYTES / BYTES_PER_PERMIT)),
            sender: Some(sender),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// Waits until `num_bytes` more may be queued.
    pub(super) async fn reserve(&self, num_bytes: usize) -> Result<OwnedSemaphorePermit, LogError> {
        // One request over the whole budget waits until it is alone.
        let permits = num_bytes.min(MAX_QUEUED_BYTES).div_ceil(BYTES_PER_PERMIT).max(1) as u32;
        Arc::clone(&self.budget)
            .acquire_many_owned(permits)
            .await
            .map_err(|_| LogError::Closed)
    }

    /// Hands records to the writer and waits for their offsets.
    pub(super) async fn append(
        &self,
        records: Vec<(usize, EncodedRecord)>,
        permit: OwnedSemaphorePermit,
    ) -> Result<Vec<u64>, LogError> {
        self.ask(|reply| {
            Command::Append(AppendRequest {
                records,
                reply,
                _permit: permit,
            })
        })
        .await
    }

    /// Makes everything acknowledged so far durable.
    pub(super) async fn sync(&self) -> Result<(), LogError> {
        self.ask(Command::Sync).await
    }

    /// Lets the writer finish what was queued and sync, then ends it. Does nothing when it has ended.
    pub(super) async fn stop(&self) -> Result<(), LogError> {
        self.budget.close();
        let result = self.ask(Command::Stop).await;
        match result {
            Err(LogError::Closed) => Ok(()),
            result => result,
        }
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, LogError>>) -> Command,
    ) -> Result<T, LogError> {
        let (reply, answer) = oneshot::channel();
        let sender = self.sender.as_ref().ok_or(LogError::Closed)?;
        sender.send(command(reply)).map_err(|_| LogError::Closed)?;
        answer.await.map_err(|_| LogError::Closed)?
    }
}

impl Drop for AppendQueue {
    fn drop(&mut self) {
        self.sender = None;
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("log writer panicked");
        }
    }
}
