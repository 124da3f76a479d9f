//! Loki's time of day, from the `Date` header of its answers.
//!
//! Between answers the monotonic clock measures it, which is never set. That clock stops while the machine sleeps. So
//! when the two clocks of this host disagree about how much time has passed, Loki's time is unknown until it answers
//! again.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

/// How far the two clocks of the host may differ between two answers, in nanoseconds. NTP slews by 0.5 ms a second at
/// most, and a destination in use answers more often than once an hour.
const SLACK: i64 = 2_000_000_000;

/// See the [module](self).
#[derive(Debug, Default)]
pub struct LokiClock(Mutex<Option<Seen>>);

/// The `Date` of an answer, and when it arrived.
#[derive(Clone, Copy, Debug)]
struct Seen {
    date: i64,
    at: Instant,
    host: i64,
}

// === impl LokiClock ===

impl LokiClock {
    /// Records that an answer that arrived at `host`, by the clock of this host, was dated `date`; both in nanoseconds
    /// since 1970.
    pub fn saw(&self, date: i64, host: i64) {
        self.saw_at(date, host, Instant::now());
    }

    /// The time at the destination when it is `host` here, in nanoseconds since 1970; never later than it really is.
    pub fn at(&self, host: i64) -> Option<i64> {
        self.when(host, Instant::now())
    }

    fn saw_at(&self, date: i64, host: i64, at: Instant) {
        *self.seen() = Some(Seen { date, at, host });
    }

    fn when(&self, host: i64, now: Instant) -> Option<i64> {
        let seen = (*self.seen())?;
        let passed = i64::try_from(now.saturating_duration_since(seen.at).as_nanos()).ok()?;
        let apart = host.saturating_sub(seen.host).saturating_sub(passed);
        (apart.saturating_abs() <= SLACK).then(|| seen.date.saturating_add(passed))
    }

    fn seen(&self) -> MutexGuard<'_, Option<Seen>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn it_goes_on_between_answers_and_is_unknown_when_the_host_clock_was_set() {
        let (clock, begun) = (LokiClock::default(), Instant::now());
        assert_eq!(clock.when(5, begun), None);
        clock.saw_at(1000 * SECOND, 7 * SECOND, begun);
        let later = begun + Duration::from_secs(30);
        assert_eq!(clock.when(37 * SECOND, later), Some(1030 * SECOND));
        for host in [37 - 1800, 37 + 1800] {
            assert_eq!(clock.when(host * SECOND, later), None);
        }
        clock.saw_at(1030 * SECOND, 1837 * SECOND, later);
        assert_eq!(clock.when(1838 * SECOND, later), Some(1030 * SECOND));
    }
}
