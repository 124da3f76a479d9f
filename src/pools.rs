//! Threads for calls that can wait: for a disk, a file system that hangs, a name server.
//!
//! Each kind of call has a bound of its own, so that one kind that hangs leaves the others their threads. Tokio's pool of
//! blocking threads, of [`THREADS`], lies under all of them.

use std::sync::{Arc, OnceLock};

use tokio::sync::Semaphore;
use tokio::task::JoinError;

/// A kind of call that can wait, with threads of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// StartLogging, and what is recovered at the start: opens FIFOs and rings.
    Start,
    /// Reads for `docker logs`.
    Read,
    /// Syncs, and the removal of rings.
    Sync,
    /// Files that options name: certificates, passwords, stage files.
    Files,
    /// The status page and metrics.
    Status,
    /// Name resolution.
    Names,
}

/// Threads of all kinds together, in one runtime.
pub const THREADS: usize = {
    let mut all = 0;
    let mut at = 0;
    while at < Pool::ALL.len() {
        all += Pool::ALL[at].threads();
        at += 1;
    }
    all
};

// === impl Pool ===

impl Pool {
    const ALL: [Self; 6] = [Self::Start, Self::Read, Self::Sync, Self::Files, Self::Status, Self::Names];

    /// The most calls of this kind at once; further ones wait for their turn.
    #[must_use]
    pub const fn threads(self) -> usize {
        match self {
            Self::Start | Self::Read => 8,
            Self::Sync | Self::Files | Self::Names => 4,
            Self::Status => 2,
        }
    }

    /// Runs `work` on a thread that may wait. It runs to its end also when the caller gives up.
    ///
    /// # Errors
    /// When `work` panicked, or the runtime goes down.
    pub async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
        // Never closed, so this waits and does not fail.
        let place = self.places().clone().acquire_owned().await.ok();
        let done = tokio::task::spawn_blocking(move || {
            let _place = place;
            work()
        });
        done.await
    }

    fn places(self) -> &'static Arc<Semaphore> {
        static PLACES: [OnceLock<Arc<Semaphore>>; 6] = [const { OnceLock::new() }; 6];
        PLACES[self as usize].get_or_init(|| Arc::new(Semaphore::new(self.threads())))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_kind_that_hangs_leaves_the_others_their_threads() {
        let (release, hang) = mpsc::channel::<()>();
        let hang = Arc::new(std::sync::Mutex::new(hang));
        for _ in 0..100 {
            let hang = hang.clone();
            tokio::spawn(Pool::Names.run(move || hang.lock().unwrap().recv().is_ok()));
        }
        tokio::task::yield_now().await;
        for pool in [Pool::Start, Pool::Read, Pool::Sync, Pool::Files, Pool::Status] {
            assert_eq!(pool.run(move || pool).await.unwrap(), pool);
        }
        drop(release);
    }
}
