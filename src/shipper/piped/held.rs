//! Held lines keep the cursor back, so this module tracks where they begin and when a stage has held them too long.
//!
//! The next process begins with the first line that a stage holds, and until that is released the ring must keep it. A
//! block that goes on for hours beside another stream's lines would keep the cursor back for all of them. So a held
//! line is released after a number of lines of any stream, or when a number of bytes of the ring were read behind it:
//! [`MOST_BYTES`], or a part of a small ring. That depends only on what is read, so it is the same at each replay.

use std::collections::VecDeque;

use crate::shipper::lines::Place;

/// Lines that may go in while one is held.
const MOST_LINES: usize = 10_000;

/// Bytes of the ring that may be read while a line is held, however large the ring is.
const MOST_BYTES: u64 = 8 << 20;

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Held {
    /// In the order in which lines went in, from about the first held line on.
    begins: VecDeque<Place>,
    /// How far the ring was read, see [`Place::bytes`].
    bytes: u64,
    most_bytes: u64,
}

// === impl Held ===

impl Held {
    /// No held line, and later none for more than `most_bytes`.
    pub fn with_most(most_bytes: u64) -> Self {
        Self { begins: VecDeque::new(), bytes: 0, most_bytes: most_bytes.min(MOST_BYTES) }
    }

    /// Notes that a line that begins here goes in.
    pub fn push(&mut self, place: Place) {
        self.bytes = self.bytes.max(place.bytes);
        self.begins.push_back(place);
    }

    /// Notes that the ring was read up to here; true when a line is held.
    pub fn pass(&mut self, bytes: u64) -> bool {
        self.bytes = self.bytes.max(bytes);
        !self.begins.is_empty()
    }

    /// Drops the places before the first line that is still held.
    pub fn forget(&mut self, held_since: Option<u64>) {
        match held_since {
            None => self.begins.clear(),
            Some(held) => {
                while self.begins.front().is_some_and(|begin| begin.position.seq < held) {
                    self.begins.pop_front();
                }
            }
        }
    }

    /// The first line that may still be held: those before it were held for too long. `u64::MAX` when all were.
    pub fn overdue(&self) -> Option<u64> {
        let first = self.begins.front()?;
        let is_late = |begin: &Place| self.bytes - begin.bytes > self.most_bytes;
        if self.begins.len() <= MOST_LINES && !is_late(first) {
            return None;
        }
        let by_lines = self.begins.len().saturating_sub(MOST_LINES);
        let kept = self.begins.iter().skip(by_lines).find(|begin| !is_late(begin));
        Some(kept.map_or(u64::MAX, |begin| begin.position.seq))
    }

    /// Where the first held line begins.
    pub fn first(&self, held_since: u64) -> Option<Place> {
        // A long line of one source ends behind short ones of the other, so the places are not in order.
        let held = self.begins.iter().filter(|begin| begin.position.seq >= held_since);
        held.min_by_key(|begin| begin.position.seq).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ring::Position;

    fn at(seq: u64, bytes: u64) -> Place {
        Place { position: Position { seq, ..Position::default() }, bytes, ..Place::default() }
    }

    #[test]
    fn what_is_held_ends_by_bytes_of_the_ring_whether_lines_come_of_them_or_not() {
        for (most, kept) in [(u64::MAX, 8), (1 << 20, 1)] {
            let mut held = Held::with_most(most);
            for seq in 0..=kept {
                assert_eq!(held.overdue(), None, "{seq}");
                held.push(at(seq, seq << 20));
            }
            assert_eq!(held.overdue(), None);
            assert!(held.pass((kept << 20) + 1));
            assert_eq!(held.overdue(), Some(1));
            held.forget(Some(1));
            assert_eq!((held.overdue(), held.first(1)), (None, Some(at(1, 1 << 20))));
            held.pass(100 << 20);
            assert_eq!(held.overdue(), Some(u64::MAX));
        }
    }

    #[test]
    fn what_is_held_ends_by_lines() {
        let mut held = Held::with_most(u64::MAX);
        (0..=MOST_LINES as u64).for_each(|seq| held.push(at(seq, seq)));
        assert_eq!(held.overdue(), Some(1));
    }

    #[test]
    fn lines_that_end_out_of_order_are_all_found() {
        let mut held = Held::with_most(u64::MAX);
        for seq in [4, 2, 6] {
            held.push(at(seq, seq));
        }
        assert_eq!(held.first(2), Some(at(2, 2)));
        held.forget(Some(2));
        assert_eq!(held.first(2), Some(at(2, 2)));
        held.forget(Some(6));
        assert_eq!(held.first(6), Some(at(6, 6)));
        held.forget(None);
        assert_eq!(held.first(0), None);
    }
}
