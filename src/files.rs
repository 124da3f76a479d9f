//! Files that options name, where a file system that hangs holds up only those who need it.
//!
//! They are below folders that are meant for it ([`Folders`]). They are read on the threads of [`Pool::Files`], one call a folder at a time, and no caller waits longer than
//! [`PATIENCE`]. So a folder that hangs takes one thread, however many containers name a file in it.

mod beneath;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::pools::Pool;
pub use beneath::{Folders, Named, Outside};

/// A file system that has not answered for so long counts as one that does not answer: dockerd holds the container's lock
/// while its start is checked, and shows the refusal afterwards.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The file system has not answered within [`PATIENCE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file system has not answered for {} s (check the mount that the file is on)", PATIENCE.as_secs())]
pub struct Silent;

/// Runs `work`, which looks at files in these folders and nothing else that can wait. It goes on when the caller has given up, and the next caller for one
/// of the folders waits for its end.
///
/// # Errors
/// When it takes too long, panics, or the runtime goes down.
pub async fn look<T: Send + 'static>(
    folders: impl IntoIterator<Item = PathBuf>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Silent> {
    let mut folders: Vec<_> = folders.into_iter().collect();
    folders.sort();
    folders.dedup();
    if folders.is_empty() {
        // There is nothing to wait for.
        return Ok(work());
    }
    let places: Vec<_> = folders.into_iter().map(turn).collect();
    let looked = timeout(PATIENCE, async {
        let turns = all(&places).await;
        let work = Pool::Files.run(move || {
            let done = work();
            drop(turns);
            done
        });
        work.await.map_err(|_| Silent)
    });
    looked.await.unwrap_or(Err(Silent))
}

/// All turns at once: who waits for one folder keeps nobody from another.
async fn all(places: &[Arc<Semaphore>]) -> Vec<OwnedSemaphorePermit> {
    // The turn that was waited for stays, or others who wait would pass it round.
    let mut waited: Option<(usize, OwnedSemaphorePermit)> = None;
    loop {
        let mut turns = Vec::with_capacity(places.len());
        let busy = places.iter().enumerate().find(|(at, place)| {
            if waited.as_ref().is_some_and(|(waited, _)| waited == at) {
                return false;
            }
            Arc::clone(place).try_acquire_owned().map(|turn| turns.push(turn)).is_err()
        });
        let Some((at, busy)) = busy else {
            turns.extend(waited.map(|(_, turn)| turn));
            return turns;
        };
        drop((turns, waited));
        // Never closed.
        waited = Arc::clone(busy).acquire_owned().await.ok().map(|turn| (at, turn));
    }
}

/// The folder of a file.
pub fn folder(file: &Path) -> PathBuf {
    file.parent().unwrap_or(file).to_owned()
}

/// The right to look at files in a folder. Of folders that nobody looks at now, nothing is kept.
fn turn(folder: PathBuf) -> Arc<Semaphore> {
    static TURNS: Mutex<Option<HashMap<PathBuf, Weak<Semaphore>>>> = Mutex::new(None);
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    let turns = turns.get_or_insert_default();
    turns.retain(|_, turn| turn.strong_count() > 0);
    if let Some(turn) = turns.get(&folder).and_then(Weak::upgrade) {
        return turn;
    }
    let turn = Arc::new(Semaphore::new(1));
    turns.insert(folder, Arc::downgrade(&turn));
    turn
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn a_folder_that_hangs_takes_one_thread_and_the_others_are_looked_at() {
        let hanging = || PathBuf::from("/hangs");
        let (begun, begins) = mpsc::channel::<()>();
        let (release, hang) = mpsc::channel::<()>();
        let first = tokio::spawn(look([hanging()], move || {
            begun.send(()).unwrap();
            hang.recv().is_ok()
        }));
        tokio::task::spawn_blocking(move || begins.recv()).await.unwrap().unwrap();
        let later: Vec<_> =
            (0..50).map(|at| tokio::spawn(look([PathBuf::from("/a"), hanging()], move || at))).collect();
        tokio::task::yield_now().await;
        for folder in ["/well", "/a"] {
            assert_eq!(look([PathBuf::from(folder)], || 7).await, Ok(7), "{folder}");
        }
        release.send(()).unwrap();
        assert_eq!(first.await.unwrap(), Ok(true));
        for (at, looked) in later.into_iter().enumerate() {
            assert_eq!(looked.await.unwrap(), Ok(at), "each has its turn");
        }
    }

    #[tokio::test]
    async fn work_that_panics_gives_its_turn_back() {
        let folder = || PathBuf::from("/panics");
        assert_eq!(look([folder()], || assert_eq!(1, 2)).await, Err(Silent));
        assert_eq!(look([folder()], || 1).await, Ok(1));
    }
}
