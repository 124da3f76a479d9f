//! Where lines begin that a stage may hold, and when it has held them for too long.
//!
//! A line that a stage holds keeps the cursor back: the next process begins with it, and until then the ring may not
//! forget it. A block that goes on for hours beside another stream's lines would keep it back for all of those. So what
//! is held ends after so many lines and bytes of any stream; this goes by the lines alone, and is the same whenever they
//! are read again.

use std::collections::VecDeque;

use crate::ring::Position;

/// Lines that go in while one is held.
const MOST_LINES: usize = 10_000;

/// Bytes of them.
const MOST_BYTES: u64 = 8 << 20;

/// See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// In the order in which lines went in, from about the first that is held.
    begins: VecDeque<Begin>,
    /// Of all lines that ever went in.
    bytes: u64,
}

#[derive(Clone, Copy, Debug)]
struct Begin {
    seq: u64,
    position: Position,
    /// Of all lines up to this one.
    bytes: u64,
}

// === impl Held ===

impl Held {
    /// A line goes in that begins here.
    pub fn push(&mut self, seq: u64, position: Position, bytes: usize) {
        self.bytes += bytes as u64;
        self.begins.push_back(Begin { seq, position, bytes: self.bytes });
    }

    /// Lets go of places where nobody will begin: all but those from the first line on that is held.
    pub fn forget(&mut self, held_since: Option<u64>) {
        match held_since {
            None => self.begins.clear(),
            Some(held) => {
                while self.begins.front().is_some_and(|begin| begin.seq < held) {
                    self.begins.pop_front();
                }
            }
        }
    }

    /// What was held before this line has been held for too long.
    pub fn overdue(&self) -> Option<u64> {
        let first = self.begins.front()?;
        if self.begins.len() <= MOST_LINES && self.bytes - first.bytes <= MOST_BYTES {
            return None;
        }
        let by_lines = self.begins.len().saturating_sub(MOST_LINES);
        let by_bytes = self.begins.partition_point(|begin| self.bytes - begin.bytes > MOST_BYTES);
        self.begins.get(by_lines.max(by_bytes)).map(|begin| begin.seq)
    }

    /// Where the first line begins that is held.
    pub fn first(&self, held_since: u64) -> Option<Position> {
        // A long line of one source ends behind short ones of the other, and so they are not in order.
        let held = self.begins.iter().filter(|begin| begin.seq >= held_since);
        held.min_by_key(|begin| begin.seq).map(|begin| begin.position)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seq: u64) -> Position {
        Position { seq, ..Position::default() }
    }

    #[test]
    fn long_lines_are_too_much_sooner() {
        let mut held = Held::default();
        for seq in 0..=8 {
            assert_eq!(held.overdue(), None, "{seq}");
            held.push(seq, at(seq), 1 << 20);
        }
        assert_eq!(held.overdue(), None);
        held.push(9, at(9), 1);
        assert_eq!(held.overdue(), Some(1));
        held.forget(Some(1));
        assert_eq!((held.overdue(), held.first(1)), (None, Some(at(1))));
    }

    #[test]
    fn lines_that_end_out_of_order_are_all_found() {
        let mut held = Held::default();
        for seq in [4, 2, 6] {
            held.push(seq, at(seq), 1);
        }
        assert_eq!(held.first(2), Some(at(2)));
        held.forget(Some(2));
        assert_eq!(held.first(2), Some(at(2)));
        held.forget(Some(6));
        assert_eq!(held.first(6), Some(at(6)));
        held.forget(None);
        assert_eq!(held.first(0), None);
    }
}
