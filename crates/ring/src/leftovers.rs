//! Files that the disk failed to remove: they count against the ring's bound, and removal is retried.

use std::io;
use std::path::{Path, PathBuf};

use super::{Ring, State, place};

/// The most files that are retried, which bounds the disk accesses for each allocation.
const MOST_LEFTOVERS: usize = 64;

/// A file that is in no list of the ring and still takes space.
#[derive(Debug)]
pub(super) struct Leftover {
    path: PathBuf,
    /// Bytes on disk.
    used: u64,
}

// === impl Ring ===

impl Ring {
    /// Removes a file of the ring. If the disk fails, the file counts until its removal succeeds.
    pub(super) fn remove_file(&self, path: &Path) {
        let Err(used) = remove(path) else { return };
        let mut state = self.state();
        if state.leftovers.len() < MOST_LEFTOVERS {
            state.leftovers.push(Leftover { path: path.to_path_buf(), used });
        }
    }

    /// Retries the removal of files that the disk failed to remove.
    ///
    /// # Errors
    /// When `more` bytes do not fit the budget on disk because of files that cannot be removed.
    pub(super) fn remove_leftovers(&self, more: u64) -> io::Result<()> {
        let leftovers = std::mem::take(&mut self.state().leftovers);
        if leftovers.is_empty() {
            return Ok(());
        }
        // Removed outside the lock, because the disk may block.
        let kept = leftovers.into_iter().filter_map(|Leftover { path, .. }| {
            let used = remove(&path).err()?;
            Some(Leftover { path, used })
        });
        let mut kept: Vec<_> = kept.collect();
        let mut state = self.state();
        kept.append(&mut state.leftovers);
        kept.truncate(MOST_LEFTOVERS);
        state.leftovers = kept;
        if state.leftovers.is_empty() || state.used(false) + more <= self.budget(false) {
            return Ok(());
        }
        Err(io::Error::other("the disk does not remove older segments"))
    }
}

// === impl State ===

impl State {
    /// Bytes on disk of files that could not be removed.
    pub(super) fn used_by_leftovers(&self) -> u64 {
        self.leftovers.iter().map(|leftover| leftover.used).sum()
    }
}

/// Removes a file; returns its bytes on disk when that fails.
fn remove(path: &Path) -> Result<(), u64> {
    place::remove(path);
    match place::used_at(path) {
        0 => Ok(()),
        used => Err(used),
    }
}
