//! True time, which always advances, and the host's clock, which is sometimes set.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

use base::clock;

/// The beginning of every simulation: 2026-01-01, in nanoseconds since 1970.
const BEGINNING: i64 = 1_767_225_600_000_000_000;

thread_local! {
    /// The instant at which a life of the plugin began, and the true time then.
    static LIFE: Cell<Option<(Instant, i64)>> = const { Cell::new(None) };
    /// True time while there is no runtime.
    static STOPPED: Cell<i64> = const { Cell::new(BEGINNING) };
    /// True time when the machine was booted.
    static BOOTED: Cell<i64> = const { Cell::new(BEGINNING) };
    /// How far the host's clock is ahead, in nanoseconds.
    static AHEAD: Cell<i64> = const { Cell::new(0) };
}

/// Boots the machine.
pub fn boot() {
    BOOTED.set(now());
}

/// Begins a simulation.
pub fn begin() {
    stop_at(BEGINNING);
    boot();
    AHEAD.set(0);
}

/// Stops at `now`, because the runtime of the clock has ended.
pub fn stop_at(now: i64) {
    LIFE.set(None);
    STOPPED.set(now);
}

/// True time in nanoseconds since 1970.
pub fn now() -> i64 {
    let Some((at, then)) = LIFE.get() else { return STOPPED.get() };
    then + i64::try_from(at.elapsed().as_nanos()).unwrap_or(i64::MAX)
}

/// Continues true time from `then`, because another runtime has its own clock.
pub fn go_on_from(then: i64) {
    LIFE.set(Some((Instant::now(), then)));
    clock::test::set(then + AHEAD.get());
    clock::test::set_since_boot(Duration::from_nanos((then - BOOTED.get()).unsigned_abs()));
}

/// Sets the host's clock `ahead` nanoseconds ahead of true time.
pub fn step(ahead: i64) {
    AHEAD.set(ahead);
    clock::test::set(now() + ahead);
}

/// The time since the simulation began.
pub fn passed() -> Duration {
    Duration::from_nanos((now() - BEGINNING).unsigned_abs())
}

/// Waits until that much time has passed since the simulation began.
pub async fn until(passed_then: Duration) {
    tokio::time::sleep(passed_then.saturating_sub(passed())).await;
}
