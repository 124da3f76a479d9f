//! How fast something is counted.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What is looked back at.
const WINDOW: Duration = Duration::from_secs(60);

/// The speed of a counter that somebody looks at every few seconds, over the last minute.
#[derive(Debug, Default)]
pub struct Rate(Mutex<VecDeque<(Instant, u64)>>);

// === impl Rate ===

impl Rate {
    /// The counter stands at `count` now.
    pub fn sample(&self, count: u64) {
        self.sample_at(Instant::now(), count);
    }

    /// In a second, as of the samples so far; `None` with fewer than two.
    pub fn per_second(&self) -> Option<f64> {
        let samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ((since, from), (until, to)) = (samples.front()?, samples.back()?);
        let passed = until.duration_since(*since).as_secs_f64();
        (passed > 0.0).then(|| to.saturating_sub(*from) as f64 / passed)
    }

    fn sample_at(&self, now: Instant, count: u64) {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back((now, count));
        // One that is older stays, so that the window is whole.
        while samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            samples.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_that_of_the_last_minute() {
        let (rate, start) = (Rate::default(), Instant::now());
        rate.sample_at(start, 100);
        assert_eq!(rate.per_second(), None);
        for second in 1..=120 {
            // Twice as fast in the second minute.
            let count = 100 + if second <= 60 { 10 * second } else { 600 + 20 * (second - 60) };
            rate.sample_at(start + Duration::from_secs(second), count);
            match second {
                1 | 60 => assert_eq!(rate.per_second(), Some(10.0)),
                120 => assert_eq!(rate.per_second(), Some(20.0)),
                _ => {}
            }
        }
        assert!(rate.0.lock().unwrap().len() <= 61);
    }
}
