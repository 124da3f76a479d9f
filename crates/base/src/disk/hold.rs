//! A lock that lets one process at a time use a folder.
//!
//! It is an flock(2) on a file in the folder. The kernel releases it when the process ends, however it ends, so the
//! next process need not wait after a kill.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::make_dir;

/// The file that is locked.
const FILE: &str = "lock";

/// The lock on a folder, held until it is dropped or the process ends.
#[derive(Debug)]
pub struct Hold {
    _file: Flock<File>,
}

// === impl Hold ===

impl Hold {
    /// Locks a folder and creates it if necessary; `None` while another process holds the lock. Does not wait for it.
    ///
    /// # Errors
    /// When the file cannot be created, or the file system has no locks.
    pub fn take(dir: &Path) -> io::Result<Option<Self>> {
        make_dir(dir)?;
        let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(dir.join(FILE))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Some(Self { _file: file })),
            Err((_, Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_until_its_holder_releases_it() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("made");
        let first = Hold::take(&state).unwrap();
        assert!(first.is_some());
        assert!(Hold::take(&state).unwrap().is_none());
        drop(first);
        assert!(Hold::take(&state).unwrap().is_some());
        assert!(Hold::take(Path::new("/proc/none")).is_err());
    }
}
