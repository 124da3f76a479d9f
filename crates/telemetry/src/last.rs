//! When something happened last.

use std::sync::atomic::{AtomicI64, Ordering};

use base::clock;

/// A time that the last one sets, in nanoseconds since 1970.
#[derive(Debug, Default)]
pub struct Last(AtomicI64);

// === impl Last ===

impl Last {
    /// It happened at `at`.
    pub fn set(&self, at: i64) {
        self.0.store(at, Ordering::Relaxed);
    }

    /// It happens now.
    pub fn set_now(&self) {
        self.set(clock::unix_nanos());
    }

    /// When it did; `None` before the first time.
    pub fn get(&self) -> Option<i64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|at| *at > 0)
    }
}
