//! A pool of byte buffers for short-lived data: chunks of rings, batches, request bodies.
//!
//! A batch is built, sent and freed within milliseconds, by any of a thousand containers. Fresh memory for each would
//! cost a page fault every 4 KiB, which is more than its lines cost. Memory per container would stay allocated for
//! silent containers. So all containers share the buffers: [`take`] and [`give`] move them, and [`trim`] frees those
//! that stayed unused.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The most buffers the pool keeps: eight pushes to one destination run at once, with up to four buffers each.
const MOST: usize = 32;

/// The most bytes the pool keeps.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// A larger buffer is freed instead of kept.
const LARGEST: usize = 4 * 1024 * 1024;

#[derive(Debug)]
struct Pool {
    buffers: Vec<Vec<u8>>,
    /// The fewest buffers in the pool since the last trim: these were not needed.
    idle: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { buffers: Vec::new(), idle: 0 });

/// Returns a buffer, which may still have old content. Prefers one with room for `least` bytes.
pub fn take(least: usize) -> Vec<u8> {
    let mut pool = pool();
    let fitting = pool.buffers.iter().rposition(|buffer| buffer.capacity() >= least);
    let buffer = match fitting {
        Some(at) => pool.buffers.swap_remove(at),
        None => pool.buffers.pop().unwrap_or_default(),
    };
    pool.idle = pool.idle.min(pool.buffers.len());
    buffer
}

/// Gives a buffer back to the pool and leaves an empty one in its place.
pub fn give(buffer: &mut Vec<u8>) {
    let buffer = std::mem::take(buffer);
    let mut pool = pool();
    let kept: usize = pool.buffers.iter().map(Vec::capacity).sum();
    let fits = buffer.capacity() <= LARGEST && kept + buffer.capacity() <= MOST_BYTES;
    if buffer.capacity() > 0 && fits && pool.buffers.len() < MOST {
        pool.buffers.push(buffer);
    }
}

/// Frees the buffers that stayed unused since the last call.
pub fn trim() {
    let mut pool = pool();
    let idle = pool.idle;
    pool.buffers.drain(..idle);
    pool.idle = pool.buffers.len();
}

fn pool() -> MutexGuard<'static, Pool> {
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tests that run at the same time share the pool, so this test recognizes its own buffers by their capacity.
    #[test]
    fn buffers_are_reused_until_they_stay_unused_for_a_while() {
        const ODD: usize = 3_999_999;
        let has_it = || pool().buffers.iter().any(|buffer| buffer.capacity() == ODD);
        give(&mut Vec::with_capacity(ODD));
        let mut taken = take(ODD);
        assert_eq!(taken.capacity(), ODD);
        give(&mut taken);
        assert_eq!((taken.capacity(), has_it()), (0, true));
        for _ in 0..2 * MOST {
            trim();
        }
        assert!(!has_it());
        give(&mut Vec::with_capacity(LARGEST + 1));
        assert!(pool().buffers.iter().all(|buffer| buffer.capacity() <= LARGEST));
    }
}
