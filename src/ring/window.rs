//! The stretch of a segment that `read(2)` lands in, mapped into memory.
//!
//! This is the one place of the ring with `unsafe` in it, and the reason that a `kill -9` loses nothing: bytes go
//! from the pipe to the page cache in one system call and are never in this process alone. A window is a part of the
//! segment, not the whole, because pages that were touched count as the plugin's memory.

use std::fs::File;
use std::io;

use memmap2::{MmapOptions, MmapRaw};

/// A mapped part of a file, from `start` on.
#[derive(Debug)]
pub(super) struct Window {
    map: MmapRaw,
    start: u64,
}

// === impl Window ===

impl Window {
    /// Maps `len` bytes of `file`, which must have that many from `start` on, a multiple of the page size.
    pub fn map(file: &File, start: u64, len: u64) -> io::Result<Self> {
        let map = MmapOptions::new().offset(start).len(len as usize).map_raw(file)?;
        Ok(Self { map, start })
    }

    /// Whether the bytes from `from` to `to` of the file are inside.
    pub fn covers(&self, from: u64, to: u64) -> bool {
        self.start <= from && to <= self.start + self.map.len() as u64
    }

    /// The bytes from `from` to `to` of the file, for the segment's one writer.
    ///
    /// # Panics
    /// When they are not inside the window: the writer asks [`Window::covers`] first.
    pub fn bytes_mut(&mut self, from: u64, to: u64) -> &mut [u8] {
        assert!(from <= to && self.covers(from, to), "the window was asked for bytes outside it");
        let at = (from - self.start) as usize;
        // SAFETY: the range is inside the mapping, which lives as long as `self`, and `&mut self` makes this the only
        // slice of it in the process. Other parts of the process read the file by `pread`, never by mapping it.
        // Another process that truncates the file would raise SIGBUS here; the directory is the plugin's own and mode
        // 0700.
        unsafe { std::slice::from_raw_parts_mut(self.map.as_mut_ptr().add(at), (to - from) as usize) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn what_is_stored_in_the_window_is_in_the_file() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(3 * 4096).unwrap();
        let mut window = Window::map(&file, 4096, 8192).unwrap();
        window.bytes_mut(5000, 5005).copy_from_slice(b"hello");
        let mut read = [0; 5];
        file.read_exact_at(&mut read, 5000).unwrap();
        assert_eq!(&read, b"hello");
        assert!(window.covers(4096, 12288) && !window.covers(4095, 4097) && !window.covers(8192, 12289));
    }

    #[test]
    #[should_panic(expected = "outside it")]
    fn bytes_outside_are_refused() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(8192).unwrap();
        Window::map(&file, 4096, 4096).unwrap().bytes_mut(0, 10);
    }
}
