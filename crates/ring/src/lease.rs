//! The lease of a ring on its folder: one folder, one owner.
//!
//! A container that stops and starts again has two [`Ring`](super::Ring)s on one folder for as long as a round of syncs
//! or a reader still holds the older one. [`Lease::take`] ends the older lease. From then on the older ring changes
//! nothing in the folder, because every change holds a [`Tenure`].

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, TryLockError, Weak};

use super::lock;

/// The valid lease of each folder. The lock is held for a few instructions, never while a lease is taken away.
static OWNERS: Mutex<Option<HashMap<PathBuf, Weak<State>>>> = Mutex::new(None);

/// The right of a ring to change its folder, until a newer ring takes it.
#[derive(Debug)]
pub(super) struct Lease {
    /// The key in [`OWNERS`]; `None` for a read-only ring.
    folder: Option<PathBuf>,
    state: Arc<State>,
}

#[derive(Debug, Default)]
struct State {
    is_over: AtomicBool,
    /// Shared by all changes of the folder; locked exclusively to end the lease.
    work: RwLock<()>,
}

/// A guard that proves that the ring owns the folder; the lease cannot end while it lives.
#[derive(Debug)]
pub(super) struct Tenure<'a> {
    _work: RwLockReadGuard<'a, ()>,
}

/// The error for a change without a lease: a newer ring has the folder, or the ring is read-only.
#[derive(Debug, thiserror::Error)]
#[error("the folder belongs to a newer instance of the ring")]
pub(super) struct Revoked;

// === impl Lease ===

impl Lease {
    /// Takes the folder from the ring that has it. Waits for a change that the other ring is making, so the caller must
    /// hold no lock that others need. It does not wait for syncs, which change nothing.
    pub fn take(dir: &Path) -> Self {
        let folder = resolved(dir);
        let state = Arc::new(State::default());
        let before = lock(&OWNERS).get_or_insert_default().insert(folder.clone(), Arc::downgrade(&state));
        if let Some(before) = before.and_then(|before| before.upgrade()) {
            before.end();
        }
        Self { folder: Some(folder), state }
    }

    /// Takes the folder briefly if no ring has it: a ring that is opened meanwhile takes it away.
    pub fn take_free(dir: &Path) -> Option<Self> {
        let folder = resolved(dir);
        let mut owners = lock(&OWNERS);
        let owners = owners.get_or_insert_default();
        if owners.get(&folder).is_some_and(|owner| owner.strong_count() > 0) {
            return None;
        }
        let state = Arc::new(State::default());
        owners.insert(folder.clone(), Arc::downgrade(&state));
        Some(Self { folder: Some(folder), state })
    }

    /// Whether this is the lease of a read-only ring.
    pub fn is_none(&self) -> bool {
        self.folder.is_none()
    }

    /// The lease of a read-only ring.
    pub fn none() -> Self {
        let state = State { is_over: AtomicBool::new(true), ..State::default() };
        Self { folder: None, state: Arc::new(state) }
    }

    /// Acquires the right to change the folder while the guard lives; `None` once the lease is over. Never waits.
    pub fn enter(&self) -> Option<Tenure<'_>> {
        let work = match self.state.work.try_read() {
            Ok(work) => work,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Only the end of the lease locks exclusively.
            Err(TryLockError::WouldBlock) => return None,
        };
        (!self.state.is_over.load(Ordering::Acquire)).then_some(Tenure { _work: work })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(folder) = &self.folder else { return };
        let mut owners = lock(&OWNERS);
        let Some(owners) = owners.as_mut() else { return };
        if owners.get(folder).is_some_and(|owner| std::ptr::eq(owner.as_ptr(), Arc::as_ptr(&self.state))) {
            owners.remove(folder);
        }
    }
}

// === impl State ===

impl State {
    fn end(&self) {
        self.is_over.store(true, Ordering::Release);
        // Waits for changes in progress.
        drop(self.work.write().unwrap_or_else(PoisonError::into_inner));
    }
}

/// The canonical path of a folder, however it is named, also before it exists.
fn resolved(dir: &Path) -> PathBuf {
    fs::canonicalize(dir).unwrap_or_else(|_| match (dir.parent().map(fs::canonicalize), dir.file_name()) {
        (Some(Ok(parent)), Some(name)) => parent.join(name),
        _ => dir.to_path_buf(),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::sync::mpsc;
    use std::thread;

    use super::*;

    #[test]
    fn the_newest_lease_on_a_folder_is_the_only_one() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("ring");
        let first = Lease::take(&dir);
        assert!(first.enter().is_some());
        // The folder is reached by another name, after it was created.
        fs::create_dir(&dir).unwrap();
        symlink(parent.path(), parent.path().join("link")).unwrap();
        let second = Lease::take(&parent.path().join("link/ring"));
        assert!(first.enter().is_none() && second.enter().is_some());
        drop(first);
        let third = Lease::take(&dir);
        assert!(second.enter().is_none() && third.enter().is_some());
        assert!(Lease::none().enter().is_none());
        assert!(Lease::take_free(&dir).is_none());
        drop(third);
        let free = Lease::take_free(&dir).unwrap();
        assert!(free.enter().is_some());
        let _fourth = Lease::take(&dir);
        assert!(free.enter().is_none());
    }

    #[test]
    fn a_lease_ends_after_changes_in_progress() {
        let dir = tempfile::tempdir().unwrap();
        let first = Lease::take(dir.path());
        let tenure = first.enter().unwrap();
        let (taken, is_taken) = mpsc::channel();
        thread::scope(|scope| {
            let path = dir.path();
            scope.spawn(move || taken.send(Lease::take(path)).unwrap());
            // The lease reports at once that it is over, and does not block the caller.
            while first.enter().is_some() {
                thread::yield_now();
            }
            assert!(is_taken.try_recv().is_err());
            drop(tenure);
            assert!(is_taken.recv().unwrap().enter().is_some());
        });
        assert!(first.enter().is_none());
    }

    #[test]
    fn a_folder_without_a_ring_is_not_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let folder = resolved(dir.path());
        drop((Lease::take(dir.path()), Lease::take(dir.path())));
        assert!(!lock(&OWNERS).get_or_insert_default().contains_key(&folder));
    }
}
