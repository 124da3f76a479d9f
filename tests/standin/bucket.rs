//! A token bucket, which is how Loki measures both the rate of a tenant and the rate of a stream.
//!
//! Rule: the bucket starts full with `burst` bytes and gains `rate` bytes a second. A request that
//! does not fit takes nothing, so retrying does not drain it, and one that is bigger than the burst
//! never fits.

use std::time::Instant;

/// Starts full the first time something is taken from it.
#[derive(Debug, Default)]
pub struct Bucket {
    /// Bytes that are left and when that was; `None` until the first use.
    level: Option<(f64, Instant)>,
}

// === impl Bucket ===

impl Bucket {
    /// Takes `bytes` if they fit. Rate and burst come with each call, as limits may change.
    pub fn take(&mut self, bytes: u64, rate: f64, burst: u64, now: Instant) -> bool {
        let burst = burst as f64;
        let available = match self.level {
            None => burst,
            Some((left, at)) => {
                let gained = now.saturating_duration_since(at).as_secs_f64() * rate;
                (left + gained).min(burst)
            }
        };
        let fits = bytes as f64 <= available;
        let left = if fits { available - bytes as f64 } else { available };
        self.level = Some((left, now));
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_refused_request_takes_nothing_and_time_gives_back() {
        let mut bucket = Bucket::default();
        let start = Instant::now();
        let mut take = |bytes, ms| bucket.take(bytes, 1000.0, 2000, start + Duration::from_millis(ms));
        assert!(!take(2001, 0), "more than the burst never fits");
        assert!(take(1500, 0));
        assert!(!take(600, 0), "500 are left");
        assert!(take(600, 100), "and 100 more after 0.1 s");
        assert!(!take(2001, 60_000), "not even after a minute");
        assert!(take(2000, 60_000));
    }
}
