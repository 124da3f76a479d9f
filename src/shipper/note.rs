//! The note that the shipper saves with a cursor, beside its position.
//!
//! ```text
//!   0  next entry of stdout, of stderr         each 8 bytes, little-endian
//!  16  last time of stdout, of stderr
//!  32  line left out of stdout, of stderr
//!  48  pinned window of stdout, of stderr       oldest, newest, latest, until; with a pipeline one for all streams
//! 112  two floors of a pipeline's streams       hash of the labels, time
//! ```
//!
//! A cursor that has not moved has a note of zeros.

use super::progress::Progress;
use super::window::{Clamp, Window};
use ring::cursor::NOTE;

/// Streams of a pipeline whose floors are remembered. More of them at once needs an outage of hours with several
/// successors, and a kill between a push and its answer. Beyond it a line may come twice with different timestamps.
pub const FLOORS: usize = 2;

/// The earliest timestamp of lines of a pipeline's stream, under a hash of its labels that is never 0.
pub type Floor = (u64, i64);

/// See the [module](self).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Note {
    /// The acknowledged progress.
    pub progress: Progress,
    /// Windows that clamped lines which may have been sent, with the entry at which they end.
    pub pinned: [Option<(Window, u64)>; 2],
    /// Floors of streams in a batch that may have been sent.
    pub floors: [Option<Floor>; FLOORS],
}

// === impl Note ===

impl Note {
    /// Reads a cursor's note.
    pub fn read(note: &[u8; NOTE]) -> Self {
        let mut words =
            note.chunks_exact(8).map(|bytes| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)));
        let mut next = || words.next().unwrap_or(0);
        let progress = Progress {
            next_seq: [next(), next()],
            last_time: [next() as i64, next() as i64],
            left_out: [next(), next()],
        };
        let pinned = [(); 2].map(|()| {
            let window = Window { oldest: next() as i64, newest: next() as i64, latest: next() as i64 };
            Some((window, next())).filter(|(_, until)| *until > 0)
        });
        let floors = [(); FLOORS].map(|()| Some((next(), next() as i64)).filter(|(hash, _)| *hash > 0));
        Self { progress, pinned, floors }
    }

    /// The bytes that are saved with the cursor.
    pub fn bytes(&self) -> [u8; NOTE] {
        let Progress { next_seq, last_time, left_out } = self.progress;
        let pinned = self.pinned.iter().flat_map(|pinned| {
            pinned.map_or([0; 4], |(window, until)| {
                [window.oldest as u64, window.newest as u64, window.latest as u64, until]
            })
        });
        let floors = self.floors.iter().flat_map(|floor| floor.map_or([0; 2], |(hash, time)| [hash, time as u64]));
        let words =
            next_seq.into_iter().chain(last_time.map(|time| time as u64)).chain(left_out).chain(pinned).chain(floors);
        let mut note = [0; NOTE];
        for (bytes, word) in note.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        note
    }

    /// The windows to begin with.
    pub fn clamps(&self) -> [Clamp; 2] {
        self.pinned.map(|pinned| pinned.map_or_else(Clamp::default, |(window, until)| Clamp::pinned(window, until)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_what_was_noted() {
        let window = Window { oldest: i64::MIN, newest: 5, latest: -3 };
        let note = Note {
            progress: Progress { next_seq: [1, u64::MAX], last_time: [-5, i64::MAX], left_out: [0, 1 << 32] },
            pinned: [None, Some((window, 9))],
            floors: [Some((3, -4)), None],
        };
        assert_eq!(Note::read(&note.bytes()), note);
        assert_eq!(Note::read(&[0; NOTE]), Note::default());
    }
}
