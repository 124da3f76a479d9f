//! Small files, directories and sockets of the plugin: private, and replaced as a whole.
//!
//! [`small`] files survive a power loss too; [`hold`] keeps two processes apart. The other modules of this crate may
//! use this one.

pub mod hold;
pub mod small;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nix::errno::Errno;
use tokio::net::UnixListener;

use crate::lock;

/// Creates a directory and its parents. Only the owner may read them, because container output is private.
///
/// # Errors
/// When the file system refuses.
pub fn make_dir(dir: &Path) -> io::Result<()> {
    lock::may_wait();
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Replaces a file. A crash of the process leaves the old file or the new one. A power loss may leave neither, so only
/// [`small::stage`] uses this.
///
/// # Errors
/// When the file system refuses; the old file is then unchanged.
fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    lock::may_wait();
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    // On a full disk, the unusable file must not keep its space.
    file.write_all(bytes).and_then(|()| fs::rename(&new, path)).inspect_err(|_| drop(fs::remove_file(&new)))
}

/// Whether the error means that the file or file system is read-only.
pub fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

/// Whether the process has no file descriptor or memory left. Such an error says nothing about the file.
pub fn is_exhausted(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM))
}

/// Makes the names in a directory survive a power loss.
///
/// # Errors
/// When the disk fails the sync.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    lock::may_wait();
    File::open(dir)?.sync_all()
}

/// Binds a socket, and replaces the socket of a dead process.
///
/// # Errors
/// When the directory or the socket cannot be created, or another kind of file has the name. That file is left alone.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if let Some(dir) = path.parent() {
        make_dir(dir)?;
    }
    if path.symlink_metadata().is_ok_and(|there| there.file_type().is_socket()) {
        fs::remove_file(path)?;
    }
    UnixListener::bind(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bind_replaces_a_dead_socket_and_no_other_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("made/a.sock");
        drop(bind(&path).unwrap());
        assert!(path.exists(), "the file is still there");
        drop(bind(&path).unwrap());
        let file = dir.path().join("precious");
        fs::write(&file, "text").unwrap();
        assert_eq!(bind(&file).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read(&file).unwrap(), b"text");
    }
}
