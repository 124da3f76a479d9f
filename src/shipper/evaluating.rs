//! The mark that a process leaves on disk when it dies while a container's stages cost too much.
//!
//! Work and memory of an evaluation are bounded, so an evaluation should never end the process. If it does, the next
//! process would begin with the same line. So when a line of a container cost too much, the container is marked in its
//! ring's folder before more is evaluated. The mark has the first entry, and how many processes have begun there. It is
//! removed when lines are good again, and when a process ends in order. A process that dies of something else leaves no
//! mark, unless that happens meanwhile.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use base::lock;
use ring::Ring;

/// Processes that may die at the same entry before the container is evaluated no more.
pub const MOST_DEATHS: u32 = 3;

/// Bytes of a mark: two numbers, a space and a line feed.
const LONGEST: u64 = 64;

/// See the [module](self).
#[derive(Debug)]
pub struct Evaluating {
    path: PathBuf,
    /// The mark that is on disk.
    marked: Option<Mark>,
    /// The entry at which this process began, and how many processes have died there.
    before: Option<Mark>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    seq: u64,
    processes: u32,
}

// === impl Evaluating ===

impl Evaluating {
    /// Loads the mark of an earlier process for the cursor number `cursor` of a ring, which begins with entry `seq`.
    /// Waits for the disk.
    pub fn load(ring: &Ring, cursor: usize, seq: u64) -> Self {
        lock::may_wait();
        let path = ring.dir().join(format!("evaluating-{cursor}"));
        let marked = Mark::load(&path);
        Self { path, marked, before: marked.filter(|mark| mark.seq == seq) }
    }

    /// Whether too many processes have died at the entry at which this one begins.
    pub fn is_deadly(&self) -> bool {
        self.before.is_some_and(|mark| mark.processes >= MOST_DEATHS)
    }

    /// Marks that entries from `seq` on are about to be evaluated; `is_suspect` says whether a line cost too much
    /// recently. Waits for the disk only in that case.
    pub fn begin(&mut self, seq: u64, is_suspect: bool) {
        let before = self.before.filter(|mark| mark.seq == seq);
        if !is_suspect && before.is_none() {
            return self.end();
        }
        let mark = Mark { seq, processes: before.map_or(0, |mark| mark.processes) + 1 };
        if self.marked != Some(mark) {
            lock::may_wait();
            // A failed write is ignored: the mark is only a safeguard.
            if fs::write(&self.path, mark.text()).is_ok() {
                self.marked = Some(mark);
            }
        }
    }

    /// Removes the mark: the process lives, and the lines that it evaluates are good.
    pub fn end(&mut self) {
        if self.marked.is_none() {
            return;
        }
        lock::may_wait();
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {}
            _ => self.marked = None,
        }
    }
}

// === impl Mark ===

impl Mark {
    fn text(self) -> String {
        format!("{} {}\n", self.seq, self.processes)
    }

    /// The mark in a file. A file that is longer than a mark is damaged, and is not read to its end.
    fn load(path: &Path) -> Option<Self> {
        let mut text = String::new();
        File::open(path).ok()?.take(LONGEST).read_to_string(&mut text).ok()?;
        Self::read(&text)
    }

    fn read(text: &str) -> Option<Self> {
        let (seq, processes) = text.strip_suffix('\n')?.split_once(' ')?;
        Some(Self { seq: seq.parse().ok()?, processes: processes.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::DockerFrames;
    use ring::{self, BootId, Ring};

    #[test]
    fn processes_that_die_at_one_entry_are_counted_and_others_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let ring =
            Ring::open(dir.path(), ring::Options { budget: 1 << 20, boot: BootId([1; 16]) }, &DockerFrames).unwrap();
        let load = |seq| Evaluating::load(&ring, 0, seq);
        // A line within its budget writes no mark.
        let mut one = load(5);
        one.begin(5, false);
        assert!(!one.is_deadly() && !dir.path().join("evaluating-0").exists());
        // Each process that begins there writes its mark before it evaluates.
        one.begin(5, true);
        for _ in 1..MOST_DEATHS {
            let mut next = load(5);
            assert!(!next.is_deadly());
            next.begin(5, false);
        }
        assert!(load(5).is_deadly());
        assert!(!load(6).is_deadly(), "it got further");
        // A process that ends in order removes the mark.
        load(5).end();
        assert!(!load(5).is_deadly());
        // At a later entry the count begins again.
        let mut further = load(5);
        further.begin(5, true);
        further.begin(9, true);
        assert_eq!(load(9).before, Some(Mark { seq: 9, processes: 1 }));
        further.begin(10, false);
        assert_eq!(load(10).marked, None);
        fs::write(dir.path().join("evaluating-0"), "torn").unwrap();
        assert!(!load(10).is_deadly());
        // A file that never ends is read only up to a bound.
        File::create(dir.path().join("evaluating-0")).and_then(|file| file.set_len(1 << 40)).unwrap();
        assert_eq!(load(10).marked, None);
    }
}
