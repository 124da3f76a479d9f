//! Where the bytes of a segment are: in a file of the ring's directory, or in memory while the disk gives no room.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::memfd::{MFdFlags, memfd_create};

use super::RingError;

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
    /// The file, for reading. `NotFound` means that the segment was retired meanwhile.
    pub fn file(&self) -> io::Result<Arc<File>> {
        match self {
            Self::Disk(path) => File::open(path).map(Arc::new),
            Self::Open(file) => Ok(file.clone()),
        }
    }
}

pub(super) fn segment_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.seg"))
}

/// The number in a segment's file name.
pub(super) fn segment_number(path: &Path) -> Option<u64> {
    let stem = path.file_name()?.to_str()?.strip_suffix(".seg")?;
    (stem.len() == 16).then(|| u64::from_str_radix(stem, 16).ok())?
}

/// An empty file for a segment.
pub(super) fn create(path: &Path) -> Result<File, RingError> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .map_err(|source| RingError { doing: "make the segment", path: path.into(), source })
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
        if from.read_exact_at(piece, at).is_err() {
            piece.fill(0);
        }
        to.write_all_at(piece, at)?;
        at += piece.len() as u64;
    }
    Ok(())
}

/// Reads what is there; what is not stays zero.
pub(super) fn read_up_to(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
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
