//! Injected disk faults for the calls of one thread: unreadable sectors, and files that cannot be removed.

use std::cell::{Cell, RefCell};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

thread_local! {
    /// By inode.
    static BAD: RefCell<Vec<(u64, Range<u64>)>> = const { RefCell::new(Vec::new()) };
    static REMOVES_NOTHING: Cell<bool> = const { Cell::new(false) };
}

/// Sets whether files can be removed.
pub fn set_removable(removable: bool) {
    REMOVES_NOTHING.set(!removable);
}

/// Whether files can be removed.
pub fn is_removable() -> bool {
    !REMOVES_NOTHING.get()
}

/// Unreadable bytes of a file, until the value is dropped. It has the file open, so that no other gets its inode.
pub struct BadSector {
    _file: File,
    inode: u64,
    range: Range<u64>,
}

impl BadSector {
    pub fn of(path: &Path, range: Range<u64>) -> Self {
        let file = File::open(path).unwrap();
        let inode = file.metadata().unwrap().ino();
        BAD.with_borrow_mut(|bad| bad.push((inode, range.clone())));
        Self { _file: file, inode, range }
    }
}

impl Drop for BadSector {
    fn drop(&mut self) {
        BAD.with_borrow_mut(|bad| bad.retain(|(inode, range)| (*inode, range) != (self.inode, &self.range)));
    }
}

/// Fails like the kernel when a read touches a bad sector.
pub fn check_read(file: &File, at: u64, len: usize) -> io::Result<()> {
    BAD.with_borrow(|bad| {
        if bad.is_empty() {
            return Ok(());
        }
        let inode = file.metadata()?.ino();
        let touches = |range: &Range<u64>| at < range.end && range.start < at + len as u64;
        let is_bad = bad.iter().any(|(of, range)| *of == inode && touches(range));
        if is_bad { Err(io::Error::from_raw_os_error(nix::libc::EIO)) } else { Ok(()) }
    })
}
