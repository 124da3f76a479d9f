//! Locks that are held for a few instructions, and a check that no blocking call is made meanwhile.
//!
//! If a thread held a lock across a disk access, every thread that needs the lock would wait for that disk. One hanging
//! file system would then block every call of dockerd. So shared state is behind a [`ShortLock`], and helpers that
//! access a disk begin with [`may_wait`]. In debug builds, tests included, a blocking call under such a lock panics.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A mutex that must not be held across a blocking call.
#[derive(Debug, Default)]
pub struct ShortLock<T>(Mutex<T>);

/// The guard of a [`ShortLock`].
#[derive(Debug)]
pub struct ShortGuard<'a, T> {
    guard: MutexGuard<'a, T>,
    _held: Held,
}

/// Asserts, in debug builds, that this thread holds no [`ShortLock`], because the caller is about to block.
///
/// # Panics
/// In debug builds, when a lock is held.
#[track_caller]
pub fn may_wait() {
    #[cfg(debug_assertions)]
    assert_eq!(HELD.get(), 0, "a lock that others need is held across a call that can wait");
}

// === impl ShortLock ===

impl<T> ShortLock<T> {
    /// Creates a lock around `value`.
    pub const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Locks, also after a panic of an earlier holder: every critical section leaves consistent state behind.
    pub fn lock(&self) -> ShortGuard<'_, T> {
        ShortGuard { guard: self.0.lock().unwrap_or_else(PoisonError::into_inner), _held: Held::new() }
    }
}

impl<T> Deref for ShortGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for ShortGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}

// === the count of held locks ===

#[cfg(debug_assertions)]
thread_local! {
    static HELD: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// Counts one held lock of this thread, in debug builds.
#[derive(Debug)]
struct Held;

impl Held {
    fn new() -> Self {
        #[cfg(debug_assertions)]
        HELD.set(HELD.get() + 1);
        Self
    }
}

#[cfg(debug_assertions)]
impl Drop for Held {
    fn drop(&mut self) {
        HELD.set(HELD.get() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_that_can_wait_are_allowed_once_the_lock_is_released() {
        let lock = ShortLock::new(1);
        *lock.lock() += 1;
        may_wait();
        assert_eq!(*lock.lock(), 2);
    }

    #[test]
    #[should_panic(expected = "held across a call that can wait")]
    fn a_call_that_can_wait_under_the_lock_is_found() {
        let lock = ShortLock::new(());
        let _guard = lock.lock();
        may_wait();
    }
}
