//! Memory that is used for a moment by whoever has something to move: chunks of rings, batches, bodies of requests.
//!
//! A batch is built, sent and forgotten within milliseconds, by any of a thousand containers. Fresh memory for each
//! would cost a page fault every 4 KiB, which is more than the lines cost that go into it; memory of its own for each
//! container would stay with those that are silent. So buffers go round: whoever is done gives them back, whoever
//! begins takes one, and [`trim`] lets go of what nobody needed for a while.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Buffers that are kept. Eight pushes to one destination are on their way at once, with up to four buffers each.
const MOST: usize = 32;

/// Bytes of all buffers that are kept.
const MOST_BYTES: usize = 16 * 1024 * 1024;

/// A buffer that has grown above this is not kept.
const LARGEST: usize = 4 * 1024 * 1024;

#[derive(Debug)]
struct Pool {
    buffers: Vec<Vec<u8>>,
    /// The fewest that there were since the last trim: nobody has needed those.
    idle: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { buffers: Vec::new(), idle: 0 });

/// A buffer, with whatever is in it. One with room for `least` bytes is preferred.
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

/// Gives a buffer back, and leaves none in its place.
pub fn give(buffer: &mut Vec<u8>) {
    let buffer = std::mem::take(buffer);
    let mut pool = pool();
    let kept: usize = pool.buffers.iter().map(Vec::capacity).sum();
    let fits = buffer.capacity() <= LARGEST && kept + buffer.capacity() <= MOST_BYTES;
    if buffer.capacity() > 0 && fits && pool.buffers.len() < MOST {
        pool.buffers.push(buffer);
    }
}

/// Lets go of the buffers that nobody has needed since the last call.
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

    /// The pool is everybody's, also of tests that run beside this one: only buffers that are told by their capacity
    /// are looked at.
    #[test]
    fn what_was_given_is_taken_again_until_nobody_has_needed_it_for_a_while() {
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
