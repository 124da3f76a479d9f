//! The pace limits the size of requests after some did not get through in time.
//!
//! On a slow link a full batch needs longer than `loki-timeout`; retried as it is, it would never arrive. So each
//! request that was sent without an answer halves the following ones, and answers to requests that were large enough
//! let them grow again. All containers of a destination share the pace, because they share the link.

use std::time::{Duration, Instant};

/// The largest number of halvings: 1 MiB becomes 16 KiB. Below that the overhead of a request costs more than its
/// lines.
const MOST_HALVINGS: u32 = 6;

/// The smallest batch that halving makes, in bytes of lines.
const SMALLEST_BATCH: usize = 16 << 10;

/// Bodies up to this size pass any usable link; when one gets no answer, the other side is silent.
const SMALL_BODY: usize = 4 << 10;

/// The longest wait for a long line, as a multiple of `loki-timeout`.
const MOST_PATIENCE: u32 = 8;

/// Answers that are needed before batches grow. It doubles each time that growing failed, so that a slow link is tested
/// less and less.
const NEEDED: u32 = 8;

/// The largest number of answers that are needed.
const MOST_NEEDED: u32 = 64;

/// After this long without a halving any answer lets batches grow: there may be too few lines for a large body.
const FORGET: Duration = Duration::from_secs(60);

/// The part of a batch that is sent at once; pure, because the time is an argument.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    halvings: u32,
    /// The size of the last body that did not get through.
    stalled: usize,
    /// When it last changed.
    changed: Option<Instant>,
    answers: u32,
    needed: u32,
    has_grown: bool,
}

// === impl Pace ===

impl Default for Pace {
    fn default() -> Self {
        Self { halvings: 0, stalled: 0, changed: None, answers: 0, needed: NEEDED, has_grown: false }
    }
}

impl Pace {
    /// The number of halvings when a request starts, for its report. Requests in flight together count as one
    /// observation.
    #[must_use]
    pub const fn halvings(&self) -> u32 {
        self.halvings
    }

    /// The size of a batch, where `typed` is configured.
    #[must_use]
    pub fn batch_size(&self, typed: usize) -> usize {
        (typed >> self.halvings).max(SMALLEST_BATCH).min(typed)
    }

    /// How long a body of `bytes` may take, as a multiple of `loki-timeout`. It is more than one only for a single long
    /// line, which cannot be halved, on a link that carries just the smallest batch in that time.
    #[must_use]
    pub fn patience(&self, bytes: usize) -> u32 {
        if self.halvings < MOST_HALVINGS {
            return 1;
        }
        u32::try_from(bytes.div_ceil(SMALLEST_BATCH)).unwrap_or(MOST_PATIENCE).clamp(1, MOST_PATIENCE)
    }

    /// Reports that a request with a body of `bytes`, sent at `halvings`, got no answer.
    pub fn stalled(&mut self, bytes: usize, halvings: u32, now: Instant) {
        if bytes <= SMALL_BODY || halvings != self.halvings {
            return;
        }
        if self.has_grown {
            self.needed = (self.needed * 2).min(MOST_NEEDED);
        }
        let halvings = (self.halvings + 1).min(MOST_HALVINGS);
        *self =
            Self { halvings, stalled: bytes, changed: Some(now), answers: 0, needed: self.needed, has_grown: false };
    }

    /// Reports that a request with a body of `bytes`, sent at `halvings`, was answered.
    pub fn answered(&mut self, bytes: usize, halvings: u32, now: Instant) {
        let Some(changed) = self.changed.filter(|_| halvings == self.halvings) else { return };
        // A body is large enough at a quarter of the one that stalled: halving leaves half, and lines may compress
        // twice as well.
        if bytes.saturating_mul(4) < self.stalled && now.saturating_duration_since(changed) < FORGET {
            return;
        }
        self.answers += 1;
        if self.answers < self.needed {
            return;
        }
        if self.halvings == 0 {
            *self = Self::default();
        } else {
            *self = Self { halvings: self.halvings - 1, changed: Some(now), answers: 0, has_grown: true, ..*self };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    #[test]
    fn batches_shrink_to_a_floor_while_nothing_gets_through() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let mut sizes = Vec::new();
        for _ in 0..9 {
            sizes.push(pace.batch_size(MIB) >> 10);
            pace.stalled(pace.batch_size(MIB), pace.halvings(), now);
        }
        assert_eq!(sizes, [1024, 512, 256, 128, 64, 32, 16, 16, 16]);
        assert_eq!((pace.batch_size(100), pace.batch_size(32 << 10)), (100, 16 << 10), "never more than was asked for");
    }

    #[test]
    fn requests_that_stall_together_halve_once() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        for _ in 0..8 {
            pace.stalled(MIB, 0, now);
        }
        assert_eq!(pace.halvings(), 1);
        // A request that was sent before the last halving says nothing about the current size.
        pace.answered(MIB, 0, now);
        pace.answered(MIB, 0, now);
        assert_eq!(pace.halvings(), 1);
    }

    #[test]
    fn a_line_that_cannot_be_halved_gets_more_time_on_the_slowest_link() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        assert_eq!(pace.patience(MIB), 1);
        for _ in 0..MOST_HALVINGS {
            pace.stalled(MIB, pace.halvings(), now);
        }
        assert_eq!([0, 100, 16 << 10, 17 << 10, 100 << 10, MIB].map(|bytes| pace.patience(bytes)), [1, 1, 1, 2, 7, 8]);
    }

    #[test]
    fn small_bodies_that_stall_say_that_the_other_side_is_silent() {
        let mut pace = Pace::default();
        pace.stalled(SMALL_BODY, 0, Instant::now());
        assert_eq!(pace.halvings(), 0);
    }

    /// On a link that carries at most a fixed size in time, batches come to fit, and larger ones are tried less and
    /// less.
    #[test]
    fn a_slow_link_gets_what_it_can_carry_and_a_mended_one_gets_all() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        let mut carries = 400 << 10;
        let send = |pace: &mut Pace, carries: usize| {
            let size = pace.batch_size(MIB);
            if size <= carries {
                pace.answered(size, pace.halvings(), now)
            } else {
                pace.stalled(size, pace.halvings(), now)
            }
            size <= carries
        };
        let through = (0..300).filter(|_| send(&mut pace, carries)).count();
        assert!(through >= 285, "{through} of 300");
        carries = MIB;
        let needed = (0..1000).take_while(|_| send(&mut pace, carries) && pace.batch_size(MIB) < MIB).count();
        assert!(needed <= 2 * MOST_NEEDED as usize, "{needed}");
    }

    #[test]
    fn small_bodies_do_not_let_batches_grow_until_a_while_has_passed() {
        let (mut pace, now) = (Pace::default(), Instant::now());
        pace.stalled(MIB, 0, now);
        for _ in 0..100 {
            pace.answered(100, 1, now);
        }
        assert_eq!(pace.halvings(), 1);
        for _ in 0..NEEDED {
            pace.answered(100, 1, now + FORGET);
        }
        assert_eq!(pace.halvings(), 0);
    }
}
