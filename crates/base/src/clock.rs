//! The time of day. Every module reads it here, so that a test can set it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Nanoseconds since 1970, UTC. 0 while the machine's clock is before 1970.
#[must_use]
pub fn unix_nanos() -> i64 {
    #[cfg(any(test, feature = "simulation"))]
    if let Some(time) = test::set_time() {
        return time;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_nanos()).unwrap_or(i64::MAX)
}

/// The time since the machine was booted, sleep included. It cannot be set; zero if the kernel does not report it.
#[must_use]
pub fn since_boot() -> Duration {
    #[cfg(any(test, feature = "simulation"))]
    if let Some(passed) = test::passed() {
        return passed;
    }
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default()
}

/// A clock of one thread, for tests.
#[cfg(any(test, feature = "simulation"))]
pub mod test {
    use std::cell::Cell;

    use tokio::time::Instant;

    /// The time of day at an instant of Tokio's clock, which a test can pause.
    #[derive(Clone, Copy, Debug)]
    struct Anchor {
        at: Instant,
        unix_nanos: i64,
    }

    thread_local! {
        static ANCHOR: Cell<Option<Anchor>> = const { Cell::new(None) };
        static BOOT: Cell<Option<(Instant, std::time::Duration)>> = const { Cell::new(None) };
    }

    /// Sets the time of day on this thread; from here it follows Tokio's clock.
    pub fn set(unix_nanos: i64) {
        ANCHOR.set(Some(Anchor { at: Instant::now(), unix_nanos }));
    }

    /// Goes back to the machine's clock.
    pub fn reset() {
        ANCHOR.set(None);
    }

    /// Sets the time since boot; from here on it follows Tokio's clock.
    pub fn set_since_boot(passed: std::time::Duration) {
        BOOT.set(Some((Instant::now(), passed)));
    }

    /// The time since boot, or else since the clock was first set. Setting the clock again does not change it.
    pub(super) fn passed() -> Option<std::time::Duration> {
        thread_local! {
            static FIRST: Cell<Option<Instant>> = const { Cell::new(None) };
        }
        if let Some((at, passed)) = BOOT.get() {
            return Some(passed + at.elapsed());
        }
        let anchor = ANCHOR.get()?;
        let first = FIRST.get().filter(|first| *first <= anchor.at).unwrap_or(anchor.at);
        FIRST.set(Some(first));
        Some(first.elapsed())
    }

    pub(super) fn set_time() -> Option<i64> {
        let anchor = ANCHOR.get()?;
        let passed = i64::try_from(anchor.at.elapsed().as_nanos()).unwrap_or(i64::MAX);
        Some(anchor.unix_nanos.saturating_add(passed))
    }
}
