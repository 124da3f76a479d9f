//! Locks that are held for a few instructions, and a check that no call that can wait is made meanwhile.
//!
//! A lock that is held across a disk access makes everybody who needs it wait for that disk: one file system that hangs
//! would freeze every call of dockerd. What many share is therefore behind a [`ShortLock`], and helpers that reach for
//! a disk begin with [`may_wait`]. In debug builds, tests included, the one inside the other is a panic.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A mutex that may not be held across a call that can wait.
#[derive(Debug, Default)]
pub struct ShortLock<T>(Mutex<T>);

/// The right to what is behind a [`ShortLock`].
#[derive(Debug)]
pub struct ShortGuard<'a, T> {
    guard: MutexGuard<'a, T>,
    _held: Held,
}

/// Asserts, in debug builds, that this thread holds no [`ShortLock`]: what follows can wait for a disk.
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
    /// A lock around `value`.
    pub const fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Locks. A panic of an earlier holder is no hindrance: every critical section leaves whole state behind.
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
