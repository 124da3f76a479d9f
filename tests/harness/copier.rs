//! How dockerd cuts what a container prints into entries (moby, `daemon/logger/copier.go`).
//!
//! A line ends at a newline, which is taken away; `\r` stays. Of a line that is longer than 16 KiB every full 16 KiB
//! are a chunk with `last` unset, and what is left at the newline, perhaps nothing, is a chunk with `last` set. All
//! chunks of a line have one id, one time, and ordinals from 1. Without a newline nothing is passed on before 16 KiB
//! are there or the container exits, and what it leaves behind then is a chunk that no `last` follows.

use super::frame::Entry;

/// dockerd's buffer for one of a container's outputs.
const BUFFER: usize = 16 * 1024;

/// One of a container's outputs.
#[derive(Debug, Default)]
pub struct Copier {
    source: &'static str,
    /// What no newline has followed yet.
    held: Vec<u8>,
    /// Chunks of the present line that were passed on.
    open: Option<Open>,
    lines: u64,
}

#[derive(Debug)]
struct Open {
    id: String,
    time: i64,
    ordinal: i32,
}

// === impl Copier ===

impl Copier {
    pub fn new(source: &'static str) -> Self {
        Self { source, ..Self::default() }
    }

    /// Takes what was printed at `time`, and gives what is passed on now.
    pub fn print(&mut self, bytes: &[u8], time: i64) -> Vec<Entry> {
        let mut entries = Vec::new();
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let (text, ends) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            self.held.extend_from_slice(text);
            // A full buffer is passed on before its newline is seen, even when that is the next byte.
            while self.held.len() >= BUFFER {
                let rest = self.held.split_off(BUFFER);
                entries.push(self.chunk(false, time));
                self.held = rest;
            }
            if ends && self.open.is_some() {
                entries.push(self.chunk(true, time));
                self.open = None;
            } else if ends {
                entries.push(Entry::new(self.source, time, std::mem::take(&mut self.held)));
            }
        }
        entries
    }

    /// The container has exited.
    pub fn end(&mut self, time: i64) -> Option<Entry> {
        (!self.held.is_empty()).then(|| self.chunk(false, time))
    }

    fn chunk(&mut self, last: bool, time: i64) -> Entry {
        let lines = &mut self.lines;
        let open = self.open.get_or_insert_with(|| {
            *lines += 1;
            // dockerd's are random and as long; these tell in a failure which line it was.
            Open { id: format!("{:0>64}", format!("{}{lines}", self.source)), time, ordinal: 0 }
        });
        open.ordinal += 1;
        Entry::new(self.source, open.time, std::mem::take(&mut self.held)).chunk(&open.id, open.ordinal, last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Length of line, ordinal, last.
    fn shape(entries: &[Entry]) -> Vec<(usize, Option<(i32, bool)>)> {
        let chunk = |entry: &Entry| entry.chunk.as_ref().map(|chunk| (chunk.ordinal, chunk.last));
        entries.iter().map(|entry| (entry.line.len(), chunk(entry))).collect()
    }

    #[test]
    fn lines_are_cut_where_dockerd_cuts_them() {
        let mut copier = Copier::new("stdout");
        assert_eq!(shape(&copier.print(b"one\n\ntw", 1)), [(3, None), (0, None)]);
        assert_eq!(shape(&copier.print(b"o\r\n", 2)), [(4, None)]);
        let exactly = [&[b'x'; BUFFER][..], b"\n"].concat();
        assert_eq!(shape(&copier.print(&exactly, 3)), [(BUFFER, Some((1, false))), (0, Some((2, true)))]);
        let long = [&[b'x'; 2 * BUFFER + 5][..], b"\nnext\n"].concat();
        let cut = copier.print(&long, 4);
        assert_eq!(
            shape(&cut),
            [(BUFFER, Some((1, false))), (BUFFER, Some((2, false))), (5, Some((3, true))), (4, None)]
        );
        let id = |at: usize| cut[at].chunk.as_ref().map(|chunk| chunk.id.clone());
        assert_eq!((id(0), id(0).map(|id| id.len())), (id(2), Some(64)));
        assert_eq!(shape(&copier.print(b"dangling", 5)), []);
        assert_eq!(copier.end(6).map(|entry| shape(&[entry])), Some(vec![(8, Some((1, false)))]));
    }

    #[test]
    fn chunks_of_one_line_have_the_time_of_the_first() {
        let mut copier = Copier::new("stderr");
        let first = copier.print(&[b'x'; BUFFER], 10);
        let rest = copier.print(b"end\n", 20);
        assert_eq!((first[0].time, rest[0].time), (10, 10));
    }
}
