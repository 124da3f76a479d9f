//! Small files and directories of the plugin's state: private, and replaced as a whole. A leaf that the other leaves
//! may use.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Makes a directory and those above it, readable by its owner alone: what containers print is nobody else's business.
///
/// # Errors
/// When the file system refuses.
pub fn make_dir(dir: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

/// Replaces a file: a crash leaves the old one or the new one.
///
/// # Errors
/// When the file system refuses; the old file is then still there, and nothing else.
pub fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    // On a full disk, what cannot be used must not stay.
    file.write_all(bytes).and_then(|()| fs::rename(&new, path)).inspect_err(|_| drop(fs::remove_file(&new)))
}

/// Whether something may be read and not written.
pub fn is_read_only(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied)
}

/// Makes the names in a directory survive a power loss.
///
/// # Errors
/// When the disk does not take it.
pub fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}
