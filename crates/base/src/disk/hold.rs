//! One process at a time on one folder.
//!
//! A process holds a folder by a lock (flock(2)) on a file in it. The kernel takes the lock back when the process ends, however it
//! ends: what follows a kill need not wait.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::make_dir;

/// The file that is locked.
const FILE: &str = "lock";

/// The right to work on a folder, until it is dropped or the process ends.
#[derive(Debug)]
pub struct Hold {
    _file: Flock<File>,
}

// === impl Hold ===

impl Hold {
    /// Takes a folder, which is made if it is not there; `None` while another process has it. Does not wait for that one.
    ///
    /// # Errors
    /// When the file system takes no file, or knows no locks.
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
    fn a_folder_is_one_holders_until_that_lets_go() {
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
