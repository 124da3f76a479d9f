//! When single lines are refused one after the other, the stream waits instead of losing them all.
//!
//! One line that Loki refuses as a whole, or that is too large for a proxy, is dropped and counted, so that it does not hold up those behind it.
//! When the next ones are refused as well, and nothing is accepted in between, it is not the lines: a label that is required is missing, a limit
//! is set to nothing, a proxy is set up wrong. Then lines are kept, and the first of them is tried again with backoff.

use std::num::NonZeroU32;

use super::verdict::Verdict;

/// Lines that are dropped one by one before the stream waits. A container that writes one poisonous line seldom writes a second right behind
/// it; three leave room for that and keep what is lost small.
const MOST_IN_A_ROW: u32 = 3;

/// Counts lines of one stream that were refused one by one while nothing was accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RejectionGuard {
    in_a_row: u32,
}

// === impl RejectionGuard ===

impl RejectionGuard {
    /// Something of the stream was accepted.
    pub const fn accepted(&mut self) {
        self.in_a_row = 0;
    }

    /// Turns the rejection of a single line into its loss, or into a pause, after `tries` of at most `attempts`; other verdicts stay as they are.
    pub fn rule(&mut self, verdict: Verdict, tries: u32, attempts: Option<NonZeroU32>) -> Verdict {
        match verdict {
            Verdict::Reject if self.in_a_row < MOST_IN_A_ROW => {
                self.in_a_row += 1;
                Verdict::Settled { dropped: 1 }
            }
            Verdict::Reject if attempts.is_some_and(|attempts| tries >= attempts.get()) => {
                Verdict::GiveUp { dropped: 1 }
            }
            Verdict::Reject => Verdict::Pause,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{GiveUp, Pause, Reject, Retry, Settled, Split};

    #[test]
    fn lines_refused_in_a_row_pause_the_stream_until_one_is_accepted() {
        let mut guard = RejectionGuard::default();
        let dropped = Settled { dropped: 1 };
        for (at, (accepted, said, ruled)) in [
            (false, Reject, dropped),
            (false, Split, Split),
            (false, Reject, dropped),
            // An outage in between changes nothing.
            (false, Retry, Retry),
            (false, Reject, dropped),
            (false, Reject, Pause),
            (false, Retry, Retry),
            (false, Reject, Pause),
            // Refused entries of a batch that is stored otherwise are not single lines.
            (false, Settled { dropped: 7 }, Settled { dropped: 7 }),
            (false, Reject, Pause),
            (true, Reject, dropped),
            (true, Reject, dropped),
            (false, Reject, dropped),
            (false, Reject, dropped),
            (false, Reject, Pause),
        ]
        .into_iter()
        .enumerate()
        {
            if accepted {
                guard.accepted();
            }
            assert_eq!(guard.rule(said, 99, None), ruled, "row {at}");
        }
    }

    #[test]
    fn a_pause_ends_with_the_number_of_tries_that_was_given() {
        let mut guard = RejectionGuard { in_a_row: MOST_IN_A_ROW };
        let attempts = NonZeroU32::new(5);
        assert_eq!(guard.rule(Reject, 4, attempts), Pause);
        assert_eq!(guard.rule(Reject, 5, attempts), GiveUp { dropped: 1 });
    }
}
