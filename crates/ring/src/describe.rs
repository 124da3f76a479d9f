//! The description of a ring, `info.json` beside the segments.
//!
//! It says where the records may go: without it they cannot be delivered. So it is [staged](small::stage) before the
//! first segment is created, or at once if segments exist. No writer waits for its sync: every [`Ring::sync`] settles
//! it before it counts any record as synced.

use std::io;
use std::path::{Path, PathBuf};

use super::{Ring, RingError, lock};
use base::disk::small::{self, Content};
use base::disk::{self};

/// The name of the description beside the segments.
pub const INFO: &str = "info.json";

/// The description, and how far it has been written.
#[derive(Debug, Default)]
pub(super) struct Description {
    bytes: Option<Vec<u8>>,
    /// Counters of descriptions given, staged and settled.
    given: u64,
    staged: u64,
    settled: u64,
    /// The ring's folder was created since the last sync.
    made_dir: bool,
}

/// Reads the description in a ring's folder.
pub fn described(dir: &Path) -> Content {
    small::read(&dir.join(INFO))
}

// === impl Ring ===

impl Ring {
    /// Sets the content of `info.json`. It is written now if the ring exists, else with the first segment.
    ///
    /// # Errors
    /// When the file cannot be written, which each segment and each sync retries, or a [newer instance](Ring::open) has
    /// the folder.
    pub fn describe(&self, info: &[u8]) -> Result<(), RingError> {
        let _tenure = self.enter()?;
        let _one_at_a_time = lock(&self.staging);
        {
            let mut description = lock(&self.describe);
            description.bytes = Some(info.to_vec());
            description.given += 1;
        }
        if !self.dir.is_dir() {
            return Ok(());
        }
        let path = self.info_path();
        match small::read(&path) {
            // The description has not changed since the container last ran.
            Content::Whole(there) if there == info => {
                let is_staged = small::is_staged(&path);
                let mut description = lock(&self.describe);
                description.staged = description.given;
                description.settled = if is_staged { 0 } else { description.given };
                Ok(())
            }
            _ => self.stage_given(),
        }
    }

    /// The description that [`Ring::describe`] set last.
    pub fn description(&self) -> Option<Vec<u8>> {
        lock(&self.describe).bytes.clone()
    }

    /// Creates the ring's directory and stages the description in it. Does not wait for a sync.
    pub(super) fn make_dir(&self) -> Result<(), RingError> {
        if !self.dir.is_dir() {
            let fail = |source| RingError { doing: "make the directory", path: self.dir.clone(), source };
            disk::make_dir(&self.dir).map_err(fail)?;
            let mut description = lock(&self.describe);
            (description.made_dir, description.staged) = (true, 0);
        }
        self.stage_description()
    }

    /// Makes the description, and the names of the ring's directory, survive a power loss.
    pub(super) fn settle_description(&self) -> Result<(), RingError> {
        if !self.dir.is_dir() {
            return Ok(());
        }
        {
            let _tenure = self.enter()?;
            self.stage_description()?;
        }
        let (staged, is_settled, made_dir) = {
            let mut description = lock(&self.describe);
            let is_settled = description.settled >= description.staged;
            (description.staged, is_settled, std::mem::take(&mut description.made_dir))
        };
        // This includes the files that the owner has staged beside it meanwhile.
        let settled = if is_settled { Ok(()) } else { small::settle_all(&self.dir) };
        let settled = settled.and_then(|()| if made_dir { sync_parents(&self.dir) } else { Ok(()) });
        let mut description = lock(&self.describe);
        match settled {
            Ok(()) => {
                description.settled = description.settled.max(staged);
                Ok(())
            }
            Err(source) => {
                description.made_dir |= made_dir;
                Err(RingError { doing: "sync the description of the ring", path: self.info_path(), source })
            }
        }
    }

    /// Stages a description that is not written yet, or that another process has deleted.
    fn stage_description(&self) -> Result<(), RingError> {
        let _one_at_a_time = lock(&self.staging);
        self.stage_given()
    }

    /// Stages the description; the caller holds the lock for staging.
    fn stage_given(&self) -> Result<(), RingError> {
        let path = self.info_path();
        let (given, bytes) = {
            let description = lock(&self.describe);
            let is_staged = description.staged == description.given;
            match &description.bytes {
                Some(bytes) if !is_staged => (description.given, bytes.clone()),
                _ if small::exists(&path) => return Ok(()),
                Some(bytes) => (description.given, bytes.clone()),
                None => return Ok(()),
            }
        };
        small::stage(&path, &bytes).map_err(|source| RingError { doing: "write", path, source })?;
        let mut description = lock(&self.describe);
        description.staged = description.staged.max(given);
        description.settled = description.settled.min(given.saturating_sub(1));
        Ok(())
    }

    fn info_path(&self) -> PathBuf {
        self.dir.join(INFO)
    }
}

/// Syncs the names of the ring's folder and of its parent.
fn sync_parents(dir: &Path) -> io::Result<()> {
    dir.ancestors().skip(1).take(2).try_for_each(disk::sync_dir)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::super::tests;
    use super::*;

    /// One thread starts the container, another syncs its ring: both write through one file.
    #[test]
    fn two_threads_that_describe_a_ring_leave_the_newest_description() {
        let dir = tempfile::tempdir().unwrap();
        let ring = tests::open(dir.path(), tests::BOOT);
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        ring.stage_description().unwrap();
                    }
                });
            }
            let failed = (0..2000).map(|at| format!("{at}")).find(|text| {
                let is_told = ring.describe(text.as_bytes()).is_ok();
                !is_told || described(dir.path()) != Content::Whole(text.clone().into())
            });
            is_over.store(true, Ordering::Relaxed);
            assert_eq!(failed, None);
        });
    }
}
