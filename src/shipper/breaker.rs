//! A circuit breaker (closed, open, half-open) as pure code: it is told the time and what became of pushes, and says who may push.
//!
//! ```text
//!            EVIDENCE streams failed, and none succeeded since            a probe succeeded
//!  closed ───────────────────────────────────────────────────▶ open ───────────────────────▶ half-open ──▶ closed
//!                                                               ▲                                │    every success
//!                                                               └────────────────────────────────┘    doubles how many
//!                                                                 EVIDENCE streams failed again        may go at once
//! ```
//!
//! One stream that fails alone opens nothing: it waits by itself, and the others never learn of it. While the breaker is open one
//! probe goes at a time, with exponential backoff and jitter, whatever the number of those that wait. Streams whose last push did not fail
//! have a schedule of their own, and its first probe is due at once: streams that hang or are refused cannot take the probes away from those
//! that would succeed.

use std::time::Duration;

use tokio::time::Instant;

use super::backoff::Backoff;

/// Streams that must fail without a success between them before a failure counts as everybody's. Fewer may be limited or refused each for
/// itself; and so few cannot make a storm, because each waits by its own backoff.
pub const EVIDENCE: usize = 3;

/// Pushes at once that a half-open breaker allows before it closes: as many as one destination has in flight.
const FULLY_OPEN: u32 = 8;

/// A push that was not answered for this long is overdue: it holds up neither the next probe nor those that are let go gradually.
pub const OVERDUE: Duration = Duration::from_secs(2);

/// Who asks: a stream of one container on its way to one destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Which one it is, for as long as the process lives.
    pub stream: u64,
    /// Its last push failed, and none has succeeded since.
    pub has_failed: bool,
}

/// Whether a push may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may go now.
    Go,
    /// Not before this time, or before something changes.
    Wait(Instant),
}

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Breaker {
    state: State,
    /// The streams that failed since the last success, [`EVIDENCE`] at most.
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
    /// Whether pushes go as they come, and no failure is remembered.
    pub fn is_at_rest(&self) -> bool {
        matches!(self.state, State::Closed) && self.failing.is_empty()
    }

    /// Whether it is open: only probes go.
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

    /// The same, and the push goes: [`Breaker::succeeded`], [`Breaker::failed`] or [`Breaker::abandoned`] is to follow.
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

    /// A push was answered in a way that says nothing bad of this key. True when more may go than before.
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

    /// A push failed for a reason that may be this key's. `asked` is how long the answer asks to wait. True when the breaker has opened.
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
                // It was open a moment ago: not from the beginning, and not as if nothing had succeeded.
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

    /// A push that was let go was not made, or came to no end: there was nothing to send, or its container is gone. If it was a probe, the next
    /// one may go at once.
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
