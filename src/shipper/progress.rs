//! How far a container's lines have got: the part of the cursor that belongs to the shipper.
//!
//! The cursor's position is where reading begins again. Lines of stdout can be acknowledged while a long line of
//! stderr is still incomplete in front of them, so behind the position each source has its own mark: entries below it
//! are passed over. And each source has the time of its last line, so that a replay gives every line the time it had.

use crate::codec::Source;
use crate::ring::cursor::NOTE;

/// Marks and times by [`Source::index`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The first entry of the source that is not acknowledged.
    pub next_seq: [u64; 2],
    /// Time of the last acknowledged line of the source.
    pub last_time: [i64; 2],
}

/// A clock that was set back by up to this much is followed by times that creep: each line gets the time of the one
/// before and a nanosecond. Behind a greater leap the clock was wrong before, and is believed again.
pub const LARGEST_STEP_BACK: i64 = 2 * 3600 * 1_000_000_000;

// === impl Progress ===

impl Progress {
    /// Reads the cursor's note.
    pub fn from_note(note: &[u8; NOTE]) -> Self {
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&note[at * 8..at * 8 + 8]);
            u64::from_le_bytes(bytes)
        };
        Self { next_seq: [word(0), word(1)], last_time: [word(2) as i64, word(3) as i64] }
    }

    /// What is saved with the cursor.
    pub fn to_note(self) -> [u8; NOTE] {
        let mut note = [0; NOTE];
        let words = [self.next_seq[0], self.next_seq[1], self.last_time[0] as u64, self.last_time[1] as u64];
        for (bytes, word) in note.chunks_exact_mut(8).zip(words) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        note
    }

    /// The time under which the next line of `source` goes to Loki: its own, or just after the line before.
    ///
    /// Loki keeps one of two equal lines with equal times, refuses lines more than an hour behind the newest of their
    /// stream, and shows a stream in the order of its times. So times rise strictly within a stream.
    pub fn time_of(&mut self, source: Source, time: i64) -> i64 {
        let last = &mut self.last_time[source.index()];
        let behind = last.saturating_sub(time);
        if (0..=LARGEST_STEP_BACK).contains(&behind) {
            *last = last.saturating_add(1);
        } else {
            *last = time;
        }
        *last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600 * 1_000_000_000;
    const NOW: i64 = 1_790_000_000_000_000_000;

    #[test]
    fn a_note_is_what_was_noted() {
        let progress = Progress { next_seq: [1, u64::MAX], last_time: [-5, i64::MAX] };
        assert_eq!(Progress::from_note(&progress.to_note()), progress);
    }

    #[test]
    fn equal_times_and_a_clock_set_back_an_hour_keep_their_order() {
        let mut progress = Progress::default();
        let times: Vec<_> = [NOW, NOW, NOW, NOW - HOUR, NOW - HOUR, NOW + 10, NOW + 5]
            .map(|time| progress.time_of(Source::Stdout, time))
            .to_vec();
        assert_eq!(times, [NOW, NOW + 1, NOW + 2, NOW + 3, NOW + 4, NOW + 10, NOW + 11]);
        assert_eq!(progress.time_of(Source::Stderr, NOW), NOW, "sources have clocks of their own");
    }

    #[test]
    fn one_line_from_the_far_future_does_not_drag_the_rest_along() {
        let mut progress = Progress::default();
        progress.time_of(Source::Stdout, NOW + 9000 * HOUR);
        assert_eq!(progress.time_of(Source::Stdout, NOW), NOW);
    }
}
