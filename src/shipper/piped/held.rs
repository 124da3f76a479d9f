//! Where lines begin that a stage may hold, and when it has held them for too long.
//!
//! A line that a stage holds keeps the cursor back: the next process begins with it, and until then the ring may not
//! forget it. A block that goes on for hours beside another stream's lines would keep it back for all of those. So what
//! is held ends after so many lines of any stream, and when so many bytes of the ring were read behind its beginning: [`MOST_BYTES`], or a
//! part of a small ring. This goes by what is read alone, and is the same whenever it is read again.

use std::collections::VecDeque;

use crate::shipper::lines::Place;

/// Lines that go in while one is held.
const MOST_LINES: usize = 10_000;

/// Bytes of the ring that are read while a line is held, however large the ring is.
const MOST_BYTES: u64 = 8 << 20;

/// See the [module](self).
#[derive(Clone, Debug)]
pub struct Held {
    /// In the order in which lines went in, from about the first that is held.
    begins: VecDeque<Place>,
    /// How far the ring was read, see [`Place::bytes`].
    bytes: u64,
    most_bytes: u64,
}

// === impl Held ===

impl Held {
    /// Nothing is held, and nothing will be for more than `most_bytes`.
    pub fn with_most(most_bytes: u64) -> Self {
        Self { begins: VecDeque::new(), bytes: 0, most_bytes: most_bytes.min(MOST_BYTES) }
    }

    /// A line goes in that begins here.
    pub fn push(&mut self, place: Place) {
        self.bytes = self.bytes.max(place.bytes);
        self.begins.push_back(place);
    }

    /// The ring was read up to here; true when something is held.
    pub fn pass(&mut self, bytes: u64) -> bool {
        self.bytes = self.bytes.max(bytes);
        !self.begins.is_empty()
    }

    /// Lets go of places where nobody will begin: all but those from the first line on that is held.
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

    /// What was held before this line has been held for too long; all of it, where the ring was read far behind the last one.
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

    /// Where the first line begins that is held.
    pub fn first(&self, held_since: u64) -> Option<Place> {
        // A long line of one source ends behind short ones of the other, and so they are not in order.
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
