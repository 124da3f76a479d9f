//! Reading of files that options name, so that a hanging file system delays only the containers that need it.
//!
//! The files are below folders that the operator allows ([`Folders`]). The threads of [`Pool::Files`] read them, with
//! one call per folder and two per mount at a time, and no caller waits longer than [`PATIENCE`]. So a hanging folder
//! occupies one thread, however many containers name a file in it. A hanging file system occupies two, however many of
//! its folders are named.

mod beneath;
mod mounts;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::pools::Pool;
pub use beneath::{Folders, Named, Outside};
use mounts::Mounts;

/// Calls at once for one mount. The second covers a link that leads from a mount that answers to one that hangs.
const CALLS_A_MOUNT: usize = 2;

/// How long the list of mounts is cached.
const MOUNTS_AGE: Duration = Duration::from_secs(5);

/// A file system that has not answered for this long counts as hanging. dockerd holds the container's lock while its
/// start is checked, and shows the error afterwards.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// The error for a file system that did not answer within [`PATIENCE`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the file system has not answered for {} s (check the mount that the file is on)", PATIENCE.as_secs())]
pub struct Silent;

/// The place whose calls take turns.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Place {
    Folder(PathBuf),
    /// A mount, by its device.
    Mount(String),
}

/// Runs `work`, which reads files in these folders and waits for nothing else. It continues after the caller has given
/// up, and the next call for one of the folders waits for its end.
///
/// # Errors
/// When it takes too long, panics, or the runtime goes down.
pub async fn look<T: Send + 'static>(
    folders: impl IntoIterator<Item = PathBuf>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Silent> {
    look_at(folders.into_iter().collect(), &mounts_now(), work).await
}

async fn look_at<T: Send + 'static>(
    mut folders: Vec<PathBuf>,
    mounts: &Mounts,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Silent> {
    folders.sort_unstable();
    folders.dedup();
    if folders.is_empty() {
        // Work without a folder does not wait.
        return Ok(work());
    }
    let mut devices: Vec<_> = folders.iter().map(|folder| mounts.device(folder).to_owned()).collect();
    devices.sort_unstable();
    devices.dedup();
    let places = folders.into_iter().map(Place::Folder).chain(devices.into_iter().map(Place::Mount));
    let places: Vec<_> = places.map(turn).collect();
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

/// The current mounts, cached.
fn mounts_now() -> Arc<Mounts> {
    static SEEN: Mutex<Option<(Instant, Arc<Mounts>)>> = Mutex::new(None);
    let seen = || SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((at, mounts)) = &*seen()
        && at.elapsed() < MOUNTS_AGE
    {
        return mounts.clone();
    }
    let mounts = Arc::new(Mounts::now());
    *seen() = Some((Instant::now(), mounts.clone()));
    mounts
}

/// Acquires all turns at once, so that a caller that waits for one folder does not block the others.
async fn all(places: &[Arc<Semaphore>]) -> Vec<OwnedSemaphorePermit> {
    // The turn that this call waited for is kept, or waiting calls would pass it round.
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
        // The semaphore is never closed.
        waited = Arc::clone(busy).acquire_owned().await.ok().map(|turn| (at, turn));
    }
}

/// The folder of a file.
pub fn folder(file: &Path) -> PathBuf {
    file.parent().unwrap_or(file).to_owned()
}

/// The semaphore of a place. Places without calls are removed from the table.
fn turn(place: Place) -> Arc<Semaphore> {
    static TURNS: Mutex<Option<HashMap<Place, Weak<Semaphore>>>> = Mutex::new(None);
    let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    let turns = turns.get_or_insert_default();
    turns.retain(|_, turn| turn.strong_count() > 0);
    if let Some(turn) = turns.get(&place).and_then(Weak::upgrade) {
        return turn;
    }
    let turn = Arc::new(Semaphore::new(match place {
        Place::Folder(_) => 1,
        Place::Mount(_) => CALLS_A_MOUNT,
    }));
    turns.insert(place, Arc::downgrade(&turn));
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
    async fn many_folders_of_a_file_system_that_hangs_leave_threads_to_the_others() {
        let mounts = Mounts::parse("1 0 8:1 / / rw\n2 1 0:44 / /many rw\n");
        let mounts = Arc::new(mounts);
        let (begun, begins) = mpsc::channel::<()>();
        let (release, hang) = mpsc::channel::<()>();
        let hang = Arc::new(Mutex::new(hang));
        let hung: Vec<_> = (0..50)
            .map(|at| {
                let (mounts, begun, hang) = (mounts.clone(), begun.clone(), hang.clone());
                let work = move || {
                    begun.send(()).unwrap();
                    hang.lock().unwrap().recv().is_err()
                };
                tokio::spawn(async move { look_at(vec![format!("/many/{at}").into()], &mounts, work).await })
            })
            .collect();
        let begins = tokio::task::spawn_blocking(move || {
            (0..CALLS_A_MOUNT).for_each(|_| begins.recv().unwrap());
            begins
        });
        let begins = begins.await.unwrap();
        assert_eq!(look_at(vec!["/etc/well".into()], &mounts, || 7).await, Ok(7));
        assert!(begins.try_recv().is_err(), "no more of them have a thread");
        drop(release);
        for looked in hung {
            assert_eq!(looked.await.unwrap(), Ok(true), "each has its turn");
        }
    }

    #[tokio::test]
    async fn work_that_panics_gives_its_turn_back() {
        let folder = || PathBuf::from("/panics");
        assert_eq!(look([folder()], || assert_eq!(1, 2)).await, Err(Silent));
        assert_eq!(look([folder()], || 1).await, Ok(1));
    }
}
