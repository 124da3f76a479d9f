//! A time of day for rate limits that advances even when the clock of the host is set back.
//!
//! Without it, all lines would wait or be dropped until that clock has caught up.

use std::time::Duration;

use tokio::time::Instant;

/// See the [module](self).
#[derive(Clone, Copy, Debug, Default)]
pub struct Steady(Option<(i64, Instant)>);

// === impl Steady ===

impl Steady {
    /// The time when the host's clock says `host`, in nanoseconds since 1970: that, or the earlier time plus what has
    /// passed since.
    pub fn at(&mut self, host: i64) -> i64 {
        self.at_instant(host, Instant::now())
    }

    fn at_instant(&mut self, host: i64, now: Instant) -> i64 {
        let time = self.0.map_or(host, |(time, at)| {
            let passed = i64::try_from(now.saturating_duration_since(at).as_nanos()).unwrap_or(i64::MAX);
            host.max(time.saturating_add(passed))
        });
        self.0 = Some((time, now));
        time
    }

    /// The moment at which it is `time`.
    pub fn when(&self, time: i64) -> Instant {
        match self.0 {
            Some((last, at)) => at + Duration::from_nanos(u64::try_from(time.saturating_sub(last)).unwrap_or(0)),
            None => Instant::now(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600 * 1_000_000_000;

    #[test]
    fn it_goes_on_when_the_clock_of_the_host_is_set_back_and_follows_it_ahead() {
        let (mut steady, begun) = (Steady::default(), Instant::now());
        let second = |seconds| begun + Duration::from_secs(seconds);
        assert_eq!(steady.at_instant(5 * HOUR, second(0)), 5 * HOUR);
        assert_eq!(steady.at_instant(4 * HOUR, second(1)), 5 * HOUR + 1_000_000_000);
        assert_eq!(steady.when(5 * HOUR + 3_000_000_000), second(3));
        assert_eq!(steady.at_instant(6 * HOUR, second(2)), 6 * HOUR);
        assert_eq!(steady.when(4 * HOUR), second(2), "that is over");
    }
}
