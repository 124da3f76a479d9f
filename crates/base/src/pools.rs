//! Threads for blocking calls: disks, hanging file systems, name servers.
//!
//! Each kind of call has its own bound, so one kind that hangs leaves the other kinds their threads. All share Tokio's
//! pool of [`THREADS`] blocking threads.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::Semaphore;
use tokio::task::JoinError;

/// A kind of blocking call with its own threads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// StartLogging: opens a FIFO and a ring.
    Start,
    /// Recovery of the last process's streams, and records of streams.
    Adopt,
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
    const ALL: [Self; 7] = [Self::Start, Self::Adopt, Self::Read, Self::Sync, Self::Files, Self::Status, Self::Names];

    /// The most calls of this kind at once; further ones wait for their turn.
    #[must_use]
    pub const fn threads(self) -> usize {
        match self {
            Self::Start | Self::Read | Self::Files | Self::Names => 8,
            Self::Adopt | Self::Sync => 4,
            Self::Status => 2,
        }
    }

    /// Runs `work` on a thread that may block. It runs to its end even if the caller gives up.
    ///
    /// # Errors
    /// When `work` panicked, or the runtime shuts down.
    pub async fn run<T: Send + 'static>(self, work: impl FnOnce() -> T + Send + 'static) -> Result<T, JoinError> {
        #[cfg(any(test, feature = "simulation"))]
        if let Some(simulated) = test::simulated(self) {
            return simulated.run(work).await;
        }
        // The semaphore is never closed, so this waits and does not fail.
        let place = self.places().clone().acquire_owned().await.ok();
        let answer = Arc::new(Mutex::new(None));
        let to_answer = answer.clone();
        // Boxed, because Tokio generates kilobytes of code for each type of work.
        let work: Box<dyn FnOnce() + Send> = Box::new(move || {
            let _place = place;
            let done = work();
            *to_answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(done);
        });
        tokio::task::spawn_blocking(work).await?;
        let answer = answer.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ok(answer.expect("work that has ended has answered"))
    }

    fn places(self) -> &'static Arc<Semaphore> {
        static PLACES: [OnceLock<Arc<Semaphore>>; 7] = [const { OnceLock::new() }; 7];
        PLACES[self as usize].get_or_init(|| Arc::new(Semaphore::new(self.threads())))
    }
}

/// Pools of one thread, for a simulation: work runs in place once a delay has passed on Tokio's clock.
#[cfg(any(test, feature = "simulation"))]
pub mod test {
    use std::cell::{Cell, RefCell};
    use std::rc::Rc;
    use std::time::Duration;

    use tokio::time::sleep;

    use super::{Arc, JoinError, Pool, Semaphore};

    type Delay = Rc<dyn Fn(Pool) -> Duration>;

    thread_local! {
        static SIMULATED: RefCell<Option<(Vec<Arc<Semaphore>>, Delay)>> = const { RefCell::new(None) };
        static RUNNING: Cell<Option<Pool>> = const { Cell::new(None) };
    }

    /// One call on a simulated pool.
    pub(super) struct Call {
        pool: Pool,
        places: Arc<Semaphore>,
        delay: Duration,
    }

    /// Runs the work of all pools on this thread, each call after the delay from `delay`, once it has a place.
    pub fn simulate(delay: impl Fn(Pool) -> Duration + 'static) {
        let places = Pool::ALL.iter().map(|pool| Arc::new(Semaphore::new(pool.threads()))).collect();
        SIMULATED.set(Some((places, Rc::new(delay))));
    }

    /// Goes back to real threads.
    pub fn reset() {
        SIMULATED.set(None);
    }

    /// The pool whose work this thread does now.
    pub fn running() -> Option<Pool> {
        RUNNING.get()
    }

    pub(super) fn simulated(pool: Pool) -> Option<Call> {
        SIMULATED.with_borrow(|simulated| {
            let (places, delay) = simulated.as_ref()?;
            Some(Call { pool, places: places[pool as usize].clone(), delay: delay(pool) })
        })
    }

    impl Call {
        /// Spawns a task, because work runs to its end even if the caller gives up.
        pub(super) async fn run<T: Send + 'static>(
            self,
            work: impl FnOnce() -> T + Send + 'static,
        ) -> Result<T, JoinError> {
            let Self { pool, places, delay } = self;
            let place = places.acquire_owned().await.ok();
            let done = tokio::spawn(async move {
                let _place = place;
                sleep(delay).await;
                let before = RUNNING.replace(Some(pool));
                let result = work();
                RUNNING.set(before);
                result
            });
            done.await
        }
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
        for pool in [Pool::Start, Pool::Adopt, Pool::Read, Pool::Sync, Pool::Files, Pool::Status] {
            assert_eq!(pool.run(move || pool).await.unwrap(), pool);
        }
        drop(release);
    }

    #[tokio::test(start_paused = true)]
    async fn a_simulated_pool_has_the_same_bounds_and_runs_in_place_after_its_delay() {
        let start = tokio::time::Instant::now();
        test::simulate(|_| std::time::Duration::from_secs(3));
        let mut all = tokio::task::JoinSet::new();
        for _ in 0..2 * Pool::Sync.threads() {
            all.spawn(Pool::Sync.run(move || (test::running(), start.elapsed().as_secs())));
        }
        let mut done: Vec<_> = all.join_all().await.into_iter().map(Result::unwrap).collect();
        done.sort_unstable_by_key(|(_, at)| *at);
        let expected = [[3; Pool::Sync.threads()], [6; Pool::Sync.threads()]].concat();
        assert_eq!(done, expected.into_iter().map(|at| (Some(Pool::Sync), at)).collect::<Vec<_>>());
        test::reset();
    }
}
