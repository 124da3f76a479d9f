//! Exponential backoff with jitter, with bounds that were checked once.

use std::time::Duration;

/// Delays that double from `min` to `max`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    min: Duration,
    max: Duration,
}

// === impl Backoff ===

impl Default for Backoff {
    /// Promtail's: half a second to five minutes.
    fn default() -> Self {
        Self { min: Duration::from_millis(500), max: Duration::from_secs(300) }
    }
}

impl Backoff {
    /// `None` when `min` is zero, which would be a busy loop, or above `max`.
    pub fn try_new(min: Duration, max: Duration) -> Option<Self> {
        (!min.is_zero() && min <= max).then_some(Self { min, max })
    }

    /// The same, but never above `max`.
    #[must_use]
    pub fn capped(self, max: Duration) -> Self {
        Self { min: self.min.min(max), max: self.max.min(max) }
    }

    /// The delay before try `failures + 1`: uniform in `[d, 2d)` with `d = min * 2^(failures - 1)`, as Promtail draws
    /// it, and never above the maximum.
    pub fn delay(&self, failures: u32) -> Duration {
        let doubled = self.min.saturating_mul(1u32.checked_shl(failures.saturating_sub(1).min(31)).unwrap_or(u32::MAX));
        let base = doubled.min(self.max);
        (base + base.mul_f64(fastrand::f64())).min(self.max)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_jitter_and_stop_at_the_maximum() {
        let backoff = Backoff::try_new(Duration::from_millis(500), Duration::from_secs(300)).unwrap();
        for failures in 1..200 {
            let base = 500.0 * 2f64.powi(failures as i32 - 1);
            for _ in 0..50 {
                let delay = backoff.delay(failures).as_secs_f64() * 1000.0;
                assert!(delay >= base.min(300_000.0) - 0.1, "{failures}: {delay}");
                assert!(delay <= (2.0 * base).min(300_000.0) + 0.1, "{failures}: {delay}");
            }
        }
    }

    #[test]
    fn a_busy_loop_is_no_backoff() {
        assert_eq!(Backoff::try_new(Duration::ZERO, Duration::from_secs(1)), None);
        assert_eq!(Backoff::try_new(Duration::from_secs(2), Duration::from_secs(1)), None);
    }
}
