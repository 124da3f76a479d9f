//! The connections that are open, and which of them has to go for a new one.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

/// Connections at once.
const MOST: usize = 32;

/// What a client has for a request and its answer before its connection may be closed for another.
const TURN: Duration = Duration::from_secs(5);

/// All open connections.
#[derive(Debug)]
pub struct Connections {
    places: Arc<Semaphore>,
    open: Mutex<HashMap<u64, Open>>,
}

#[derive(Debug)]
struct Open {
    /// When its last request began, or it was made.
    active: Instant,
    task: AbortHandle,
}

/// A place for a connection, which is free again when this is dropped.
#[derive(Debug)]
pub struct Place {
    number: u64,
    connections: Arc<Connections>,
    _permit: OwnedSemaphorePermit,
}

// === impl Connections ===

impl Default for Connections {
    fn default() -> Self {
        Self { places: Arc::new(Semaphore::new(MOST)), open: Mutex::default() }
    }
}

impl Connections {
    /// Waits for a place. When all are taken, the connection that has been idle the longest is closed, as soon
    /// as it has had its [turn](TURN).
    pub async fn place(self: &Arc<Self>) -> Place {
        loop {
            let oldest = self.open().iter().map(|(number, open)| (open.active, *number)).min();
            let due = oldest.map_or_else(Instant::now, |(active, _)| active + TURN);
            tokio::select! {
                biased;
                // Never closed.
                Ok(permit) = self.places.clone().acquire_owned() => {
                    let number = self.open().keys().max().map_or(0, |last| last + 1);
                    return Place { number, connections: self.clone(), _permit: permit };
                }
                () = sleep_until(due) => {
                    // It may have asked for something since.
                    let mut open = self.open();
                    if let Some((_, number)) = oldest
                        && open.get(&number).is_some_and(|open| open.active + TURN <= Instant::now())
                        && let Some(closed) = open.remove(&number)
                    {
                        closed.task.abort();
                    }
                }
            }
            tokio::task::yield_now().await;
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Place ===

impl Place {
    /// Serves a connection in a task of its own, which `serve` makes a future for.
    pub fn spawn<F: Future<Output = ()> + Send + 'static>(self, serve: impl FnOnce(Arc<Self>) -> F) {
        let (connections, number, place) = (self.connections.clone(), self.number, Arc::new(self));
        let mut open = connections.open();
        let task = tokio::spawn(serve(place)).abort_handle();
        open.insert(number, Open { active: Instant::now(), task });
    }

    /// A request has come.
    pub fn is_asked(&self) {
        if let Some(open) = self.connections.open().get_mut(&self.number) {
            open.active = Instant::now();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::time::{sleep, timeout};

    use super::*;

    /// Connections that never end, and the place of each.
    async fn full(connections: &Arc<Connections>) -> Vec<std::sync::Weak<Place>> {
        let mut places = Vec::new();
        for _ in 0..MOST {
            let mut kept = None;
            connections.place().await.spawn(|place| {
                kept = Some(Arc::downgrade(&place));
                async move {
                    let _place = place;
                    pending().await
                }
            });
            places.extend(kept);
        }
        places
    }

    #[tokio::test(start_paused = true)]
    async fn clients_that_never_end_are_closed_for_new_ones_after_their_turn() {
        let connections = Arc::<Connections>::default();
        let begun = Instant::now();
        full(&connections).await;
        assert_eq!(begun.elapsed(), Duration::ZERO);
        assert!(timeout(TURN / 2, connections.place()).await.is_err(), "each has its turn");
        for _ in 0..3 * MOST {
            timeout(2 * TURN, connections.place()).await.expect("a place").spawn(|place| async move {
                let _place = place;
                pending().await
            });
        }
        assert!(connections.open().len() <= MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_that_has_asked_for_nothing_for_the_longest_goes_first() {
        let connections = Arc::<Connections>::default();
        let places = full(&connections).await;
        sleep(TURN * 2).await;
        places.iter().skip(1).for_each(|place| place.upgrade().unwrap().is_asked());
        let _new = connections.place().await;
        assert!(places[0].upgrade().is_none());
        assert_eq!(places.iter().filter(|place| place.upgrade().is_some()).count(), MOST - 1);
    }
}
