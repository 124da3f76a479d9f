//! The guard makes a stream wait instead of dropping all its lines when single lines are rejected one after the other.
//!
//! One line that Loki rejects, or that is too large for a proxy, is dropped and counted, so that it does not delay
//! those behind it. When the next lines are rejected as well, and none is accepted in between, the lines are not the
//! cause: a required label is missing, a limit is zero, a proxy is misconfigured. Then lines are kept, and the first of
//! them is retried with backoff.

use std::num::NonZeroU32;

use super::verdict::Verdict;

/// Lines that are dropped one by one before the stream waits. A container that writes one bad line seldom writes a
/// second right behind it; three leave room for that and keep the loss small.
const MOST_IN_A_ROW: u32 = 3;

/// Counts lines of one stream that were rejected one by one while none was accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RejectionGuard {
    in_a_row: u32,
}

// === impl RejectionGuard ===

impl RejectionGuard {
    /// Resets the count: a line of the stream was accepted.
    pub const fn accepted(&mut self) {
        self.in_a_row = 0;
    }

    /// Turns the rejection of a single line into a drop, or into a pause, after `tries` of at most `attempts`. Other
    /// verdicts stay.
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
            // Rejected entries of a batch whose others are stored are not single lines.
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
