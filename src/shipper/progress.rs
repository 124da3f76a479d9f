//! Progress is the part of the cursor that belongs to the shipper: how far a container's lines were acknowledged.
//!
//! Reading begins again at the cursor's position. Lines of stdout can be acknowledged while a long line of stderr
//! before them is incomplete. So behind the position each source has its own mark, and entries below it are skipped.
//! Each source also has the timestamp of its last line, so that a replay gives every line the same timestamp. And it
//! has the long line whose remainder is left out, so that a replay makes no line of that.

use super::window::Window;
use dockerd::Source;
use dockerd::partial::LeftOut;

/// Marks and timestamps by [`Source::index`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// The first entry of the source that is not acknowledged.
    pub next_seq: [u64; 2],
    /// Timestamp of the last accepted line of the source.
    pub last_time: [i64; 2],
    /// The line of the source whose further chunks are left out from that entry on.
    pub left_out: [LeftOut; 2],
}

/// The largest step back of a clock, in nanoseconds, after which timestamps creep: each line gets the one before plus a
/// nanosecond. After a larger step the clock was wrong before, and is believed again.
pub const LARGEST_STEP_BACK: i64 = 2 * 3600 * 1_000_000_000;

// === impl Progress ===

impl Progress {
    /// The timestamp with which the next line of `source` is sent: its own or the one clamped to `window`, or just
    /// after the line before.
    ///
    /// Loki keeps one of two equal lines with equal timestamps, rejects lines more than an hour behind the newest of
    /// their stream, and shows a stream in the order of its timestamps. So timestamps rise strictly within a stream,
    /// except where they would leave the window: an accepted line is ahead of Loki's clock only when that was set back.
    pub fn time_of(&mut self, source: Source, time: i64, window: &Window) -> i64 {
        let last = &mut self.last_time[source.index()];
        *last = follow(*last, time, window);
        *last
    }
}

/// How far beyond the window lines may follow one that was the last in it, in nanoseconds. Loki's clock advances while
/// they are in flight.
const ROOM: i64 = 1_000_000_000;

/// The timestamp of a line whose own is `time`, behind one that was sent with `last`.
pub fn follow(last: i64, time: i64, window: &Window) -> i64 {
    let (next, wanted) = (last.saturating_add(1), window.clamp(time));
    if wanted > last {
        return wanted;
    }
    let behind = last.saturating_sub(wanted);
    let creeps = if wanted == time { (0..=LARGEST_STEP_BACK).contains(&behind) } else { behind >= 0 };
    let is_inside = next <= window.newest.max(wanted).saturating_add(ROOM);
    if creeps && is_inside { next } else { wanted }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3600 * 1_000_000_000;
    const NOW: i64 = 1_790_000_000_000_000_000;

    #[test]
    fn equal_times_and_a_clock_set_back_an_hour_keep_their_order() {
        let mut progress = Progress::default();
        let times: Vec<_> = [NOW, NOW, NOW, NOW - HOUR, NOW - HOUR, NOW + 10, NOW + 5]
            .map(|time| progress.time_of(Source::Stdout, time, &Window::OPEN))
            .to_vec();
        assert_eq!(times, [NOW, NOW + 1, NOW + 2, NOW + 3, NOW + 4, NOW + 10, NOW + 11]);
        assert_eq!(progress.time_of(Source::Stderr, NOW, &Window::OPEN), NOW, "sources have clocks of their own");
    }

    #[test]
    fn one_line_from_the_far_future_does_not_drag_the_rest_along() {
        let mut progress = Progress::default();
        progress.time_of(Source::Stdout, NOW + 9000 * HOUR, &Window::OPEN);
        assert_eq!(progress.time_of(Source::Stdout, NOW, &Window::OPEN), NOW);
    }

    #[test]
    fn lines_outside_the_window_rise_behind_the_line_before_and_never_leave_it() {
        let window = Window { oldest: NOW - HOUR, newest: NOW + 10, latest: NOW };
        for (last, time, expected) in [
            (NOW - 5, NOW + HOUR, NOW),
            (NOW + 5, NOW + HOUR, NOW + 6),
            (NOW + 5, NOW - 9 * HOUR, NOW + 6),
            (NOW - 2 * HOUR, NOW - 9 * HOUR, NOW - HOUR),
            (NOW + 10, NOW + 10, NOW + 11),
            (NOW + 10 + ROOM, NOW + 5, NOW + 5),
            (NOW + HOUR, NOW, NOW),
            (NOW + HOUR, NOW + HOUR, NOW),
        ] {
            assert_eq!(follow(last, time, &window), expected, "{} behind {}", time - NOW, last - NOW);
        }
    }
}
