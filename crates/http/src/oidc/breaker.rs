//! A circuit breaker: a provider that fails again and again is left alone for a while
//! (`spec/keys-orgs-auth.md` §3.2).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::{info, warn};

/// Closed: calls pass. After so many failures in a row it opens: none passes. When its time is over it
/// is half open: one call passes as a trial, whose outcome closes it or opens it anew.
#[derive(Debug)]
pub(super) struct Breaker {
    max_failures: u32,
    open_for: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed { num_failures: u32 },
    Open { until: Instant },
    Trial,
}

/// The right to make one call. Dropped without an outcome, as when the client hangs up, it counts
/// neither way, and another call may be the trial.
#[derive(Debug)]
pub(super) struct Permit<'a> {
    breaker: &'a Breaker,
    is_trial: bool,
    is_settled: bool,
}

impl Breaker {
    pub(super) fn new(max_failures: u32, open_for: Duration) -> Self {
        Self {
            max_failures,
            open_for,
            state: Mutex::new(State::Closed { num_failures: 0 }),
        }
    }

    /// Returns the right to make a call at `now`, unless the breaker is open or a trial under way.
    pub(super) fn admit(&self, now: Instant) -> Option<Permit<'_>> {
        let mut state = self.state();
        let is_trial = match *state {
            State::Closed { .. } => false,
            State::Open { until } if until <= now => true,
            State::Open { .. } | State::Trial => return None,
        };
        if is_trial {
            *state = State::Trial;
        }
        Some(Permit {
            breaker: self,
            is_trial,
            is_settled: false,
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self, state: &mut State, now: Instant) {
        let until = now + self.open_for;
        *state = State::Open { until };
        warn!(
            open_secs = self.open_for.as_secs(),
            "identity provider is left alone"
        );
    }
}

impl Permit<'_> {
    /// The provider answered, whatever it said.
    pub(super) fn succeed(mut self) {
        self.is_settled = true;
        let mut state = self.breaker.state();
        // What was sent before the breaker opened says nothing about now.
        if self.is_trial || matches!(*state, State::Closed { .. }) {
            *state = State::Closed { num_failures: 0 };
        }
        if self.is_trial {
            info!("identity provider answers again");
        }
    }

    /// The provider did not answer.
    pub(super) fn fail(mut self, now: Instant) {
        self.is_settled = true;
        let mut state = self.breaker.state();
        match *state {
            State::Trial if self.is_trial => self.breaker.open(&mut state, now),
            State::Closed { num_failures } => {
                let num_failures = num_failures.saturating_add(1);
                *state = State::Closed { num_failures };
                if num_failures >= self.breaker.max_failures {
                    self.breaker.open(&mut state, now);
                }
            }
            State::Open { .. } | State::Trial => {}
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        if self.is_trial && !self.is_settled {
            *self.breaker.state() = State::Open {
                until: Instant::now(),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN_FOR: Duration = Duration::from_secs(30);

    fn breaker() -> (Breaker, Instant) {
        (Breaker::new(5, OPEN_FOR), Instant::now())
    }

    fn fail(breaker: &Breaker, count: u32, now: Instant) {
        for _ in 0..count {
            breaker.admit(now).unwrap().fail(now);
        }
    }

    #[test]
    fn five_failures_in_a_row_open_it_for_thirty_seconds() {
        let (breaker, now) = breaker();
        fail(&breaker, 4, now);
        breaker.admit(now).unwrap().succeed();
        fail(&breaker, 5, now);
        assert!(breaker.admit(now).is_none());
        assert!(breaker.admit(now + OPEN_FOR - Duration::from_millis(1)).is_none());
        assert!(breaker.admit(now + OPEN_FOR).is_some());
    }

    #[test]
    fn one_trial_decides() {
        let (breaker, now) = breaker();
        fail(&breaker, 5, now);
        let later = now + OPEN_FOR;
        let trial = breaker.admit(later).unwrap();
        assert!(breaker.admit(later).is_none());
        trial.fail(later);
        assert!(breaker.admit(later).is_none());

        let trial = breaker.admit(later + OPEN_FOR).unwrap();
        trial.succeed();
        fail(&breaker, 4, later + OPEN_FOR);
        assert!(breaker.admit(later + OPEN_FOR).is_some());
    }

    #[test]
    fn an_abandoned_trial_leaves_room_for_another() {
        let (breaker, now) = breaker();
        fail(&breaker, 5, now);
        let later = now + OPEN_FOR;
        drop(breaker.admit(later).unwrap());
        assert!(breaker.admit(later).is_some());
    }

    #[test]
    fn late_outcomes_do_not_change_an_open_breaker() {
        let (breaker, now) = breaker();
        let late: Vec<_> = (0..2).map(|_| breaker.admit(now).unwrap()).collect();
        fail(&breaker, 5, now);
        for (index, permit) in late.into_iter().enumerate() {
            if index == 0 {
                permit.succeed();
            } else {
                permit.fail(now + OPEN_FOR / 2);
            }
        }
        assert!(breaker.admit(now + OPEN_FOR / 2).is_none());
        assert!(breaker.admit(now + OPEN_FOR).is_some());
    }
}
