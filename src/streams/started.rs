//! Notes about containers that have started before and have no ring: they never printed, or nothing of them is kept.
//!
//! Options that cannot be used refuse a new container, but not an old one (see [`resolve`](super::resolve)). Most old
//! ones have a ring. The others have an empty file in `<state>/started`, created when their stream ends. It is removed
//! after a time, or when there are too many: such a container counts as new again.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use base::clock;
use base::disk;
use base::lock;

/// The most containers with a note.
pub const MOST: usize = 10_000;

/// The folder of containers that have started.
#[derive(Clone, Debug)]
pub struct Started {
    dir: PathBuf,
}

// === impl Started ===

impl Started {
    /// The notes below the state directory.
    pub fn new(state: &Path) -> Self {
        Self { dir: state.join("started") }
    }

    /// Notes a container, whose id is a plain name. If the disk refuses, the container counts as new later.
    pub fn remember(&self, container: &str) {
        lock::may_wait();
        let _ = disk::make_dir(&self.dir);
        // The file's time is that of the last end.
        let file =
            fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(self.path(container));
        let _ = file.and_then(|file| file.set_modified(now()));
    }

    /// Whether a container has a note.
    pub fn has(&self, container: &str) -> bool {
        lock::may_wait();
        self.path(container).exists()
    }

    /// Removes notes of containers that ended longer ago than `age`, and the oldest of too many.
    pub fn tidy(&self, age: Duration) {
        lock::may_wait();
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        let mut all: Vec<_> =
            entries.filter_map(|entry| Some((entry.metadata().ok()?.modified().ok()?, entry.path()))).collect();
        all.sort_by(|one, other| other.cmp(one));
        let is_old = |ended: SystemTime| now().duration_since(ended).is_ok_and(|ago| ago > age);
        for (_, path) in
            all.iter().enumerate().filter(|(at, (ended, _))| *at >= MOST || is_old(*ended)).map(|(_, one)| one)
        {
            let _ = fs::remove_file(path);
        }
    }

    fn path(&self, container: &str) -> PathBuf {
        self.dir.join(container)
    }
}

/// The time of day.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_nanos(u64::try_from(clock::unix_nanos()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_earlier(started: &Started, container: &str, by: Duration) {
        let file = fs::File::options().write(true).open(started.path(container)).unwrap();
        file.set_modified(now() - by).unwrap();
    }

    #[test]
    fn a_container_is_remembered_for_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let started = Started::new(dir.path());
        let week = Duration::from_secs(7 * 86_400);
        started.tidy(week);
        assert!(!started.has("c"));
        started.remember("c");
        started.tidy(week);
        assert!(started.has("c"));
        end_earlier(&started, "c", week + Duration::from_secs(60));
        started.tidy(week);
        assert!(!started.has("c"));
    }

    #[test]
    fn the_oldest_of_too_many_notes_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let started = Started::new(dir.path());
        started.remember("oldest");
        end_earlier(&started, "oldest", Duration::from_secs(60));
        (0..MOST).for_each(|at| started.remember(&format!("c{at}")));
        started.tidy(Duration::from_secs(86_400));
        assert!(!started.has("oldest") && started.has("c0"));
    }
}
