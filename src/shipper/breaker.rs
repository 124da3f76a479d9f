//! A circuit breaker (closed, open, half-open), pure: it gets the time and the results of pushes, and decides which
//! push may go.
//!
//! ```text
//!            EVIDENCE streams failed, and none succeeded since            a probe succeeded
//!  closed ───────────────────────────────────────────────────▶ open ───────────────────────▶ half-open ──▶ closed
//!                                                               ▲                                │    every success
//!                                                               └────────────────────────────────┘    doubles how many
//!                                                                 EVIDENCE streams failed again        may go at once
//! ```
//!
//! One stream that fails alone opens nothing: it waits by itself, and the others are not affected. While the breaker is
//! open, one probe goes at a time, with exponential backoff and jitter, whatever the number of waiting streams. Streams
//! whose last push did not fail have their own schedule, and its first probe is due at once. So streams that hang or
//! are rejected cannot use up the probes of those that would succeed.

use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;

/// Streams that must fail without a success between them before the breaker opens. Fewer may be limited or rejected each
/// for itself, and cannot make a storm, because each waits by its own backoff.
pub const EVIDENCE: usize = 3;

/// Concurrent pushes that a half-open breaker allows before it closes: as many as one destination has in flight.
const FULLY_OPEN: u32 = 8;

/// A push that was not answered for this long is overdue: it delays neither the next probe nor pushes that are let go
/// gradually.
pub const OVERDUE: Duration = Duration::from_secs(2);

/// The stream that asks: one of a container, for one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its number, unique for the life of the process.
    pub stream: u64,
    /// Whether its last push failed and none has succeeded since.
    pub has_failed: bool,
}

/// Whether a push may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// The push may go now.
    Go,
    /// The push must wait until this time, or until the breaker changes.
    Wait(Instant),
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Breaker {
    state: State,
    /// The streams that failed since the last success, at most [`EVIDENCE`].
    failing: Vec<u64>,
}

#[derive(Clone, Debug)]
enum State {
    Closed,
    Open { backoff: Backoff, clean: Schedule, failed: Schedule },
    HalfOpen { allowed: u32, out: u32, tries: u32, granted: Instant },
}

/// When the next probe may go.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    tries: u32,
    next: Instant,
}

// === impl Breaker ===

impl Default for Breaker {
    fn default() -> Self {
        Self { state: State::Closed, failing: Vec::new() }
    }
}

impl Breaker {
    /// Whether it is closed and remembers no failure.
    pub fn is_at_rest(&self) -> bool {
        matches!(self.state, State::Closed) && self.failing.is_empty()
    }

    /// Whether it is open, so that only probes go.
    pub fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Whether a push may go at `now`, without taking the right to it.
    pub fn look(&self, now: Instant, who: Standing) -> Admission {
        let due = match &self.state {
            State::Closed => now,
            State::Open { clean, failed, .. } => if who.has_failed { failed } else { clean }.next,
            State::HalfOpen { allowed, out, .. } if out < allowed => now,
            State::HalfOpen { granted, .. } => *granted + OVERDUE,
        };
        if due <= now { Admission::Go } else { Admission::Wait(due) }
    }

    /// Takes the right to a push at `now`, if it may go. [`Breaker::succeeded`], [`Breaker::failed`] or
    /// [`Breaker::abandoned`] must follow.
    pub fn admit(&mut self, now: Instant, who: Standing) -> Admission {
        let admission = self.look(now, who);
        if admission == Admission::Go {
            match &mut self.state {
                State::Closed => {}
                State::Open { backoff, clean, failed } => {
                    let schedule = if who.has_failed { failed } else { clean };
                    schedule.advance(now, backoff, None);
                }
                State::HalfOpen { out, granted, .. } => {
                    *out += 1;
                    *granted = now;
                }
            }
        }
        admission
    }

    /// Reports an answer that is no failure of this key. True when more pushes may go than before.
    pub fn succeeded(&mut self, now: Instant) -> bool {
        self.failing.clear();
        match &mut self.state {
            State::Closed => return false,
            State::Open { clean, failed, .. } => {
                let tries = clean.tries.max(failed.tries);
                self.state = State::HalfOpen { allowed: 2, out: 0, tries, granted: now };
            }
            State::HalfOpen { allowed, out, .. } => {
                *out = out.saturating_sub(1);
                *allowed = allowed.saturating_mul(2);
                if *allowed > FULLY_OPEN {
                    self.state = State::Closed;
                }
            }
        }
        true
    }

    /// Reports a failure whose cause may be this key. `asked` is how long the answer asks to wait. True when the
    /// breaker has opened.
    pub fn failed(&mut self, now: Instant, stream: u64, backoff: &Backoff, asked: Option<Duration>) -> bool {
        if self.failing.len() < EVIDENCE && !self.failing.contains(&stream) {
            self.failing.push(stream);
        }
        let is_everybodys = self.failing.len() >= EVIDENCE;
        let tries = match &mut self.state {
            State::Open { clean, failed, .. } => {
                if let Some(asked) = asked {
                    clean.next = clean.next.max(now + asked);
                    failed.next = failed.next.max(now + asked);
                }
                return false;
            }
            State::HalfOpen { allowed, out, tries, .. } => {
                *out = out.saturating_sub(1);
                *allowed = (*allowed / 2).max(1);
                // It was open a moment ago, so the backoff restarts at half of its tries.
                *tries / 2
            }
            State::Closed => 0,
        };
        if is_everybodys {
            let mut failed = Schedule { tries, next: now };
            failed.advance(now, backoff, asked);
            let clean = Schedule { tries: 0, next: now + asked.unwrap_or_default() };
            self.state = State::Open { backoff: *backoff, clean, failed };
        }
        is_everybodys
    }

    /// Reports a push that was admitted but not made or not finished: there was nothing to send, or its container is
    /// gone. If it was a probe, the next one may go at once.
    pub fn abandoned(&mut self, now: Instant, who: Standing, is_probe: bool) {
        match &mut self.state {
            State::Closed => {}
            State::Open { clean, failed, .. } if is_probe => {
                let schedule = if who.has_failed { failed } else { clean };
                schedule.tries = schedule.tries.saturating_sub(1);
                schedule.next = now;
            }
            State::Open { .. } => {}
            State::HalfOpen { out, .. } => *out = out.saturating_sub(1),
        }
    }
}

// === impl Schedule ===

impl Schedule {
    fn advance(&mut self, now: Instant, backoff: &Backoff, asked: Option<Duration>) {
        self.tries = self.tries.saturating_add(1);
        self.next = now + backoff.delay(self.tries).max(asked.unwrap_or_default());
    }
}

#[cfg(test)]
mod tests;
