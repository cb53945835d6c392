//! The parts of a server as tasks: which runs, which ended, and how they are stopped.

use std::collections::HashMap;
use std::time::Duration;

use tokio::task::{AbortHandle, Id, JoinError, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::error::{CommandError, sentence};

/// How long the parts that only need a moment get.
const SHORT_DEADLINE: Duration = Duration::from_secs(5);

/// A part of a server that runs until it is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Api,
    Operator,
    Outbox,
    Follower,
    Processor,
    ClickHouse,
}

/// How long a stop waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    /// For open requests.
    requests: Duration,
    /// For what the processor has still to count.
    drain: Duration,
}

impl Deadlines {
    pub(crate) const fn new(requests: Duration, drain: Duration) -> Self {
        Self { requests, drain }
    }
}

impl Part {
    fn name(self) -> &'static str {
        match self {
            Self::Api => "the API",
            Self::Operator => "the operator's socket",
            Self::Outbox => "the outbox",
            Self::Follower => "the follower of the log",
            Self::Processor => "the processor",
            Self::ClickHouse => "ClickHouse's HTTP interface",
        }
    }
}

#[derive(Debug)]
struct Running {
    part: Part,
    stop: CancellationToken,
    abort: AbortHandle,
}

/// The running parts.
#[derive(Debug, Default)]
pub(crate) struct Tasks {
    set: JoinSet<Result<(), CommandError>>,
    running: HashMap<Id, Running>,
}

impl Tasks {
    /// Starts a part, which ends soon after its token is cancelled.
    pub(crate) fn spawn<F>(&mut self, part: Part, start: impl FnOnce(CancellationToken) -> F)
    where
        F: Future<Output = Result<(), CommandError>> + Send + 'static,
    {
        let stop = CancellationToken::new();
        let abort = self.set.spawn(start(stop.clone()));
        self.running.insert(abort.id(), Running { part, stop, abort });
    }

    /// Waits until any part ends, which none should, and says why. For ever where none runs.
    pub(crate) async fn first_end(&mut self) -> CommandError {
        match self.set.join_next_with_id().await {
            Some(ended) => {
                let (part, outcome) = self.take(ended);
                let name = part.map_or("a part", Part::name);
                outcome.err().unwrap_or(CommandError::PartEnded {
                    part: name,
                    reason: None,
                })
            }
            None => std::future::pending().await,
        }
    }

    /// Runs until `shutdown` or until a part ends by itself, then stops all in order.
    ///
    /// # Errors
    /// That of the part that ended.
    pub(crate) async fn run_until(
        &mut self,
        shutdown: CancellationToken,
        deadlines: Deadlines,
    ) -> Result<(), CommandError> {
        let failure = tokio::select! {
            () = shutdown.cancelled() => None,
            failure = self.first_end() => Some(failure),
        };
        match &failure {
            Some(failure) => error!(error = %sentence(failure), "stopping after a failure"),
            None => info!("stopping"),
        }
        let stopped = self.stop_all(deadlines).await;
        failure.map_or(stopped, Err)
    }

    /// Stops all parts, in the order in which nothing that was accepted is left behind.
    ///
    /// # Errors
    /// The first error that a part ended with.
    pub(crate) async fn stop_all(&mut self, deadlines: Deadlines) -> Result<(), CommandError> {
        // Two that take requests end side by side.
        self.cancel(Part::Operator);
        let mut outcome = self.stop(Part::Api, deadlines.requests).await;
        outcome = outcome.and(self.stop(Part::Operator, deadlines.requests).await);
        outcome = outcome.and(self.stop(Part::Outbox, SHORT_DEADLINE).await);
        outcome = outcome.and(self.stop(Part::Follower, SHORT_DEADLINE).await);
        outcome = outcome.and(self.stop(Part::Processor, deadlines.drain).await);
        outcome.and(self.stop(Part::ClickHouse, SHORT_DEADLINE).await)
    }

    fn cancel(&self, part: Part) {
        self.running
            .values()
            .filter(|running| running.part == part)
            .for_each(|running| running.stop.cancel());
    }

    /// Stops one part, by force after `deadline`.
    pub(crate) async fn stop(&mut self, part: Part, deadline: Duration) -> Result<(), CommandError> {
        self.cancel(part);
        if let Ok(outcome) = timeout(deadline, self.wait_for(part)).await {
            return outcome;
        }
        let consequence = match part {
            Part::Processor => "the rest of the log is counted at the next start",
            _ => "open requests are cut off",
        };
        warn!(
            part = part.name(),
            deadline_secs = deadline.as_secs(),
            consequence,
            "not done in time"
        );
        self.running
            .values()
            .filter(|running| running.part == part)
            .for_each(|running| running.abort.abort());
        self.wait_for(part).await
    }

    async fn wait_for(&mut self, part: Part) -> Result<(), CommandError> {
        while self.running.values().any(|running| running.part == part) {
            let Some(ended) = self.set.join_next_with_id().await else {
                break;
            };
            let (ended_part, outcome) = self.take(ended);
            if ended_part == Some(part) {
                return outcome;
            }
            if let Err(error) = outcome {
                error!(part = ended_part.map(Part::name), error = %sentence(&error), "failed while stopping");
            }
        }
        Ok(())
    }

    /// Takes note of an ended part. One that was aborted ended as it should.
    fn take(
        &mut self,
        ended: Result<(Id, Result<(), CommandError>), JoinError>,
    ) -> (Option<Part>, Result<(), CommandError>) {
        let (id, outcome) = match ended {
            Ok((id, outcome)) => (id, outcome),
            Err(error) if error.is_cancelled() => (error.id(), Ok(())),
            Err(error) => {
                let part = self
                    .running
                    .get(&error.id())
                    .map_or("a part", |running| running.part.name());
                let reason = Some("it panicked".to_owned());
                (error.id(), Err(CommandError::PartEnded { part, reason }))
            }
        };
        (self.running.remove(&id).map(|running| running.part), outcome)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    const ORDER: [Part; 6] = [
        Part::Api,
        Part::Operator,
        Part::Outbox,
        Part::Follower,
        Part::Processor,
        Part::ClickHouse,
    ];

    const PATIENT: Deadlines = Deadlines::new(Duration::from_secs(10), Duration::from_secs(30));

    #[tokio::test]
    async fn stops_what_accepts_before_what_counts() {
        let ended = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Tasks::default();
        for part in ORDER.into_iter().rev() {
            let ended = Arc::clone(&ended);
            tasks.spawn(part, |stop| async move {
                stop.cancelled().await;
                ended.lock().unwrap().push(part);
                Ok(())
            });
        }
        tasks.stop_all(PATIENT).await.unwrap();
        let ended = ended.lock().unwrap();
        let place = |part| ended.iter().position(|ended| *ended == part).unwrap();
        assert!(place(Part::Api) < place(Part::Outbox) && place(Part::Operator) < place(Part::Outbox));
        assert!(
            place(Part::Outbox) < place(Part::Processor) && place(Part::Processor) < place(Part::ClickHouse)
        );
    }

    #[tokio::test]
    async fn cuts_off_what_does_not_end_in_time() {
        let mut tasks = Tasks::default();
        tasks.spawn(Part::Api, |_| std::future::pending());
        let at_once = Deadlines::new(Duration::ZERO, Duration::ZERO);
        tasks.stop_all(at_once).await.unwrap();
        assert!(tasks.running.is_empty());
    }

    #[tokio::test]
    async fn a_part_that_ends_by_itself_is_a_failure() {
        let mut tasks = Tasks::default();
        tasks.spawn(Part::ClickHouse, |_| std::future::pending());
        tasks.spawn(Part::Outbox, |_| async { Ok(()) });
        assert_eq!(
            tasks.first_end().await.to_string(),
            "the outbox ended unexpectedly"
        );
        tasks.spawn(Part::Processor, |_| async { panic!("broken") });
        assert_eq!(
            tasks.first_end().await.to_string(),
            "the processor ended unexpectedly: it panicked"
        );
    }
}
