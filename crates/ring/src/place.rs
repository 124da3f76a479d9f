//! Where the bytes of a segment are: in a file of the ring's directory, or in memory while the disk gives no room.

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

/// Between two tries to open a file while the process has no file descriptor left.
const EXHAUSTED: Duration = Duration::from_millis(10);

/// How to get at a segment's bytes.
#[derive(Clone, Debug)]
pub(super) enum Place {
    /// A file that is opened for each read: a reader that sleeps holds no descriptor and no deleted file's room.
    Disk(PathBuf),
    /// The file being written to, or one that has no name.
    Open(Arc<File>),
}

// === impl Place ===

impl Place {
    /// The file, for reading. `NotFound` means that the segment was retired meanwhile. That the process has no file
    /// descriptor left says nothing of the segment: one is waited for, as a disk that hangs is.
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

/// The number in a segment's file name.
pub(super) fn segment_number(path: &Path) -> Option<u64> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".seg")?;
    let number = (stem.len() == 16).then(|| u64::from_str_radix(stem, 16).ok())?;
    number.filter(|number| *number < MOST)
}

/// Opens a segment's file for reading, or for writing too. What is no regular file is no segment, and is not waited for:
/// a FIFO, a device, a symbolic link that leads elsewhere.
pub(super) fn open(path: &Path, write: bool) -> io::Result<File> {
    let flags = OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
    let file = OpenOptions::new().read(true).write(write).custom_flags(flags.bits()).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    Ok(file)
}

/// The number in the name of a segment that was set aside.
pub(super) fn aside_number(path: &Path) -> Option<u64> {
    let number = path.file_name()?.to_str()?.strip_suffix(UNREADABLE)?;
    segment_number(Path::new(&format!("{number}.seg")))
}

/// A new file. Never one that is there: that may be in use.
pub(super) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)
}

/// A new file for the segment `number`, or for the next number that is free; and which one it is.
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

/// How often a name is found to be taken before the folder is given up: it is somebody else who makes files there.
const MOST_TAKEN: usize = 8;

/// A number above all those in the folder.
fn behind_all(dir: &Path) -> u64 {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let number = |path: PathBuf| segment_number(&path).or_else(|| aside_number(&path));
    entries.filter_map(|entry| number(entry.path())).max().map_or(0, |number| number + 1)
}

/// Gives a file another name, under which there is nothing.
pub(super) fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    match renameat2(AT_FDCWD, from, AT_FDCWD, to, RenameFlags::RENAME_NOREPLACE) {
        Ok(()) => Ok(()),
        // Some file systems cannot promise it. This one process makes files here, so a look is as good.
        Err(Errno::EINVAL | Errno::ENOSYS) if to.symlink_metadata().is_err() => fs::rename(from, to),
        Err(Errno::EINVAL | Errno::ENOSYS) => Err(io::ErrorKind::AlreadyExists.into()),
        Err(errno) => Err(errno.into()),
    }
}

/// What the names of files end with that are in a segment's place and cannot be read as one.
const UNREADABLE: &str = ".unreadable.seg";

/// Gives what is in a segment's place another name, so that a person can look at it; and which one.
pub(super) fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let aside = path.with_extension(&UNREADABLE[1..]);
    rename_to_free(path, &aside).map(|()| aside)
}

/// Removes a segment's file, and gives its blocks back at once: a reader or a sync that has it open at this moment keeps
/// none of them. Such a reader finds the end of the file, and that the segment is gone. What cannot be removed now is
/// found when the ring is opened again.
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

/// Gives the blocks of a file back that nobody is to read again, unless it has another name somewhere.
pub(super) fn cut(file: &File) {
    #[cfg(test)]
    if !super::tests::faults::is_removable() {
        return;
    }
    if file.metadata().is_ok_and(|metadata| metadata.nlink() <= 1) {
        let _ = file.set_len(0);
    }
}

/// The same for what a path leads to, without following a link.
pub(super) fn used_at(path: &Path) -> u64 {
    path.symlink_metadata().map_or(0, |metadata| 512 * metadata.blocks())
}

/// Reads all of `bytes`.
pub(super) fn read_exact(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    #[cfg(test)]
    super::tests::faults::check_read(file, at, bytes.len())?;
    file.read_exact_at(bytes, at)
}

/// Reads what is there; what is not stays zero.
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

/// Bytes that a file takes on disk, with what is set aside for it.
pub(super) fn used(file: &File) -> u64 {
    file.metadata().map_or(0, |metadata| 512 * metadata.blocks())
}

/// Whether `path` leads to this very file: nobody has deleted it, or put something in its place.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(ours), Ok(there)) = (file.metadata(), path.metadata()) else { return false };
    (ours.dev(), ours.ino()) == (there.dev(), there.ino())
}

/// Copies the first `len` bytes of a file. Those that cannot be read become zeros, which are no record.
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

/// A file without a name, in memory.
pub(super) fn create_in_memory() -> io::Result<File> {
    Ok(memfd_create(c"loki-rs ring", MFdFlags::MFD_CLOEXEC)?.into())
}

/// Sets room for the bytes from `from` to `to` of a file aside, without making it longer: a file is as long as what
/// landed in it.
pub(super) fn allocate(file: &File, from: u64, to: u64) -> io::Result<()> {
    let (offset, len) = (from as i64, (to - from) as i64);
    loop {
        match fallocate(file, FallocateFlags::FALLOC_FL_KEEP_SIZE, offset, len) {
            Ok(()) => return Ok(()),
            Err(Errno::EINTR) => {}
            // Some file systems cannot promise room. There a full disk shows when bytes are to land.
            Err(Errno::EOPNOTSUPP | Errno::ENOSYS) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
    }
}
