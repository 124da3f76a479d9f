//! The place of a segment's bytes: a file in the ring's directory, or memory while the disk has no room.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, FallocateFlags, OFlag, RenameFlags, fallocate, renameat2};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::RingError;
use super::format::MOST;
use base::disk;

/// The time between two attempts to open a file while the process has no file descriptor left.
const EXHAUSTED: Duration = Duration::from_millis(10);

/// The place of a segment's bytes.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// A file that is opened for each read: an idle reader holds no descriptor and no deleted file's space.
    Disk(PathBuf),
    /// The active file, or one without a name.
    Open(Arc<File>),
}

// === impl Place ===

impl Place {
    /// Opens the file for reading. `NotFound` means that the segment was evicted meanwhile. A lack of file descriptors
    /// says nothing about the segment, so this waits for one, as for a disk that hangs.
    pub fn file(&self) -> io::Result<Arc<File>> {
        let path = match self {
            Self::Disk(path) => path,
            Self::Open(file) => return Ok(file.clone()),
        };
        loop {
            match open(path, false) {
                Err(error) if disk::is_exhausted(&error) => thread::sleep(EXHAUSTED),
                opened => return opened.map(Arc::new),
            }
        }
    }
}

pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.seg"))
}

/// Parses the number in a segment's file name.
pub(super) fn segment_number(path: &Path) -> Option<u64> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".seg")?;
    let number = (stem.len() == 16).then(|| u64::from_str_radix(stem, 16).ok())?;
    number.filter(|number| *number < MOST)
}

/// Opens a segment's file for reading, and for writing if asked. Anything but a regular file is refused without
/// waiting: a FIFO, a device, a symbolic link.
pub(super) fn open(path: &Path, write: bool) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).write(write).custom_flags(flags.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok(file)
}

/// Parses the number in the name of a segment that was set aside.
pub(super) fn aside_number(path: &Path) -> Option<u64> {
    let number = path.file_name()?.to_str()?.strip_suffix(UNREADABLE)?;
    segment_number(Path::new(&format!("{number}.seg")))
}

/// Creates a file; fails if the name exists, because that file may be in use.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// Creates the file of segment `number`, or of the next free number; returns the number too.
pub(super) fn create_segment(dir: &Path, mut number: u64) -> Result<(File, u64), RingError> {
    let fail = |number, source| RingError { doing: "make the segment", path: segment_path(dir, number), source };
    for _ in 0..MOST_TAKEN {
        match create(&segment_path(dir, number)) {
            Ok(file) => return Ok((file, number)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number = behind_all(dir).max(number + 1),
            Err(source) => return Err(fail(number, source)),
        }
    }
    Err(fail(number, io::ErrorKind::AlreadyExists.into()))
}

/// The most taken names that are skipped before the folder is given up: another program then creates files there.
const MOST_TAKEN: usize = 8;

/// A number above all segments in the folder.
fn behind_all(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let number = |path: PathBuf| segment_number(&path).or_else(|| aside_number(&path));
    entries.filter_map(|entry| number(entry.path())).max().map_or(0, |number| number + 1)
}

/// Renames a file to a free name.
pub(super) fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        Ok(()) => Ok(()),
        // Some file systems cannot refuse to replace a file. Only this process creates files here, so a check is
        // enough.
        Err(Errno::EINVAL | Errno::ENOSYS) if to.symlink_metadata().is_err() => fs::rename(from, to),
        Err(Errno::EINVAL | Errno::ENOSYS) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(errno) => Err(errno.into()),
    }
}

/// The suffix of unreadable files that were set aside.
const UNREADABLE: &str = ".unreadable.seg";

/// Renames an unreadable segment so that an operator can inspect it; returns the new path.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = path.with_extension(&UNREADABLE[1..]);
    rename_to_free(path, &aside).map(|()| aside)
}

/// Removes a segment's file and frees its blocks at once, also those that a reader or a sync has open. Such a reader
/// finds the end of the file, and then that the segment is gone. A file that cannot be removed now is found when the
/// ring is opened again.
pub(super) fn remove(path: &Path) {
    #[cfg(test)]
    if !super::tests::faults::is_removable() {
        return;
    }
    if let Ok(file) = open(path, true) {
        cut(&file);
    }
    let _ = fs::remove_file(path);
}

/// Frees the blocks of a file that is no longer read, unless it has another name.
pub(super) fn cut(file: &File) {
    #[cfg(test)]
    if !super::tests::faults::is_removable() {
        return;
    }
    if file.metadata().is_ok_and(|metadata| metadata.nlink() <= 1) {
        let _ = file.set_len(0);
    }
}

/// Bytes that the file at a path takes on disk, without following a link.
pub(super) fn used_at(path: &Path) -> u64 {
    path.symlink_metadata().map_or(0, |metadata| 512 * metadata.blocks())
}

/// Reads all of `bytes`.
pub(super) fn read_exact(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    #[cfg(test)]
    super::tests::faults::check_read(file, at, bytes.len())?;
    file.read_exact_at(bytes, at)
}

/// Reads what exists; missing bytes stay zero.
pub(super) fn read_up_to(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    #[cfg(test)]
    super::tests::faults::check_read(file, at, bytes.len())?;
    while !bytes.is_empty() {
        match file.read_at(bytes, at) {
            Ok(0) => break,
            Ok(n) => {
                bytes = &mut bytes[n..];
                at += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Bytes that a file takes on disk, with allocated space.
pub(super) fn used(file: &File) -> u64 {
    file.metadata().map_or(0, |metadata| 512 * metadata.blocks())
}

/// Whether `path` leads to this very file, so that no process has deleted or replaced it.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(there)) = (file.metadata(), path.metadata()) else { return false };
    (ours.dev(), ours.ino()) == (there.dev(), there.ino())
}

/// Copies the first `len` bytes of a file. Unreadable bytes become zeros, which are not a record.
pub(super) fn copy(from: &File, to: &File, len: u64) -> io::Result<()> {
    let mut piece = vec![0; 64 * 1024];
    let mut at = 0;
    while at < len {
        let piece = &mut piece[..(len - at).min(64 * 1024) as usize];
        if read_exact(from, piece, at).is_err() {
            piece.fill(0);
        }
        to.write_all_at(piece, at)?;
        at += piece.len() as u64;
    }
    Ok(())
}

/// Creates a file without a name, in memory.
pub(super) fn create_in_memory() -> io::Result<File> {
    Ok(memfd_create(c"loki-rs ring", MFdFlags::MFD_CLOEXEC)?.into())
}

/// Allocates space for the bytes from `from` to `to` of a file, without making it longer: a file is as long as what
/// landed in it.
pub(super) fn allocate(file: &File, from: u64, to: u64) -> io::Result<()> {
    let (offset, len) = (from as i64, (to - from) as i64);
    loop {
        match fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, len) {
            Ok(()) => return Ok(()),
            Err(Errno::EINTR) => {}
            // Some file systems cannot allocate. There a full disk shows when bytes land.
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}
