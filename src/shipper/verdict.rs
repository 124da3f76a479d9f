//! The retry policy: what happens to a batch after a push that was not accepted.
//!
//! [`Kind`] classifies the answer: who answered, and what it says about the lines. [`verdict`](fn@verdict) maps it to
//! an action.
//!
//! | answer | stored? | verdict |
//! |---|---|---|
//! | no connection, connection lost, no answer in time | unknown | retry the same entries |
//! | a certificate, key or secret that cannot be read | nothing | retry: files get fixed |
//! | a rate limit | nothing of this stream | retry; after three times in halves, because a request above the burst never passes |
//! | too large, by Loki or by a proxy | nothing | halve; a single entry is rejected |
//! | ingestion is blocked | nothing | retry |
//! | Loki is unhealthy, or does not know the user or the path | unknown | retry: credentials and routes get fixed |
//! | an answer that Loki never gives | unknown | retry: an outage |
//! | a text that may be Loki's, of an unknown kind | unknown | halve; a single entry waits, and is never dropped |
//! | Loki accepts no structured metadata | the rest | again without it, from then on |
//! | entries rejected for their timestamps: too old, too far behind, too new | the rest | again, with timestamps clamped to what Loki accepts |
//! | other entries rejected: too long | the rest | settled; rejected entries are counted |
//! | the labels of the stream rejected | nothing | halve until the rejected entry is alone, then reject that entry |
//!
//! A rejected entry is dropped unless too many before it were, see [`RejectionGuard`](super::guard::RejectionGuard).
//! One request carries one stream, so each answer is about that stream. `loki-retries` bounds the retries: a batch is
//! given up after that number of tries.

use std::num::NonZeroU32;

use super::window::Refusal;
use loki::{Kind, PushError};

/// What happens to a batch that was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Retry the same entries later.
    Retry,
    /// Push half of the entries now and the other half later.
    Split,
    /// Push the same entries without structured metadata.
    WithoutMetadata,
    /// Push the same entries, with clamped timestamps where Loki does not accept their own.
    Clamp {
        /// The timestamps that Loki accepts.
        refusal: Refusal,
        /// Entries that Loki rejected.
        dropped: u64,
    },
    /// Loki accepted all entries except `dropped`, and will never accept those.
    Settled {
        /// Entries that Loki rejected.
        dropped: u64,
    },
    /// The single entry is rejected: it is dropped or kept as the [guard](super::guard::RejectionGuard) decides.
    Reject,
    /// Retry the same entries later; only this stream waits, because the destination may be healthy.
    Pause,
    /// Give up: the entries were tried as often as `loki-retries` allows.
    GiveUp {
        /// Entries that are dropped.
        dropped: u64,
    },
}

/// Tries after which waiting does not help against a 429.
const PATIENCE: u32 = 3;

/// Returns the action for the answer to a batch of `entries`, tried `tries` times.
#[must_use]
pub fn verdict(error: &PushError, entries: usize, tries: u32, attempts: Option<NonZeroU32>) -> Verdict {
    let is_last = attempts.is_some_and(|attempts| tries >= attempts.get());
    let unless_last = |verdict| if is_last { Verdict::GiveUp { dropped: entries as u64 } } else { verdict };
    let Some(kind) = error.kind() else { return unless_last(Verdict::Retry) };
    match kind {
        Kind::TooLarge { .. } | Kind::Stream => halve(entries),
        Kind::RateLimit if tries > PATIENCE && entries > 1 && !is_last => Verdict::Split,
        Kind::Unknown if entries > 1 => Verdict::Split,
        Kind::Unknown => unless_last(Verdict::Pause),
        Kind::Metadata => Verdict::WithoutMetadata,
        Kind::Entries(refused) => {
            let dropped = refused.entries.min(entries as u64);
            let refusal = Refusal { oldest: refused.oldest, too_new: refused.too_new };
            if refusal == Refusal::default() {
                Verdict::Settled { dropped }
            } else {
                Verdict::Clamp { refusal, dropped }
            }
        }
        Kind::Accepted | Kind::Unconfirmed | Kind::Blocked | Kind::RateLimit | Kind::Unavailable | Kind::NotLoki => {
            unless_last(Verdict::Retry)
        }
    }
}

/// The same for a batch that cannot be halved, though it may have more than one line: it is treated like a single line.
#[must_use]
pub fn indivisible(error: &PushError, entries: usize, tries: u32, attempts: Option<NonZeroU32>) -> Verdict {
    match verdict(error, 1, tries, attempts) {
        Verdict::GiveUp { .. } => Verdict::GiveUp { dropped: entries as u64 },
        // The batch was rejected without metadata too.
        Verdict::WithoutMetadata => Verdict::Reject,
        other => other,
    }
}

/// Returns `Split`, to find a rejected entry by halving, or `Reject` for a single entry.
#[must_use]
pub const fn halve(entries: usize) -> Verdict {
    if entries > 1 { Verdict::Split } else { Verdict::Reject }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{GiveUp, Pause, Reject, Retry, Split, WithoutMetadata};
    use loki::answer::Seen;
    use loki::error::Status;

    fn status(code: u16, body: &str) -> PushError {
        PushError::status(code, body.as_bytes())
    }

    fn page(code: u16) -> PushError {
        let body = b"<html><head><title>400 Bad Request</title></head></html>";
        PushError::Status(Status::new(&Seen { code, content_type: Some("text/html"), body, is_whole: true }, None))
    }

    #[test]
    fn each_row_of_the_table() {
        let too_old = "entry for stream '{a=\"b\"}' has timestamp too old: 2020-01-01T00:00:00Z, oldest acceptable \
                       timestamp is: 2026-01-01T00:00:00Z";
        let behind = "entry with timestamp 2026 ignored, reason: 'entry too far behind, entry timestamp is: \
                      2025-12-31T20:00:00Z, oldest acceptable timestamp is: 2026-01-01T00:00:00.000000001Z',\nuser \
                      'fake', total ignored: 3 out of 5 for stream: {a=\"b\"}";
        let too_new = "entry for stream '{a=\"b\"}' has timestamp too new: 2030-01-01T00:00:00Z";
        let sooner = "entry for stream '{a=\"b\"}' has timestamp too new: 2029-12-31T23:59:59Z";
        const Y2026: i64 = 1_767_225_600_000_000_000;
        const Y2030: i64 = 1_893_456_000_000_000_000;
        let late = |more: i64, dropped| Verdict::Clamp {
            refusal: Refusal { oldest: Some(Y2026 + more), too_new: None },
            dropped,
        };
        let early = |less: i64, dropped| Verdict::Clamp {
            refusal: Refusal { oldest: None, too_new: Some(Y2030 - less) },
            dropped,
        };
        let both = Verdict::Clamp { refusal: Refusal { oldest: Some(Y2026), too_new: Some(Y2030) }, dropped: 3 };
        let meta = "stream '{a=\"b\"}' includes structured metadata, but this feature is disallowed. Please see …";
        for (error, entries, tries, expected) in [
            (PushError::Transport("refused".into()), 5, 1, Retry),
            (PushError::Unready("no file".into()), 5, 1, Retry),
            (PushError::Timeout, 5, 999, Retry),
            (status(429, "Ingestion rate limit exceeded"), 5, 1, Retry),
            (status(429, "Ingestion rate limit exceeded"), 5, 4, Split),
            (status(429, "Ingestion rate limit exceeded"), 1, 4, Retry),
            (status(413, ""), 5, 1, Split),
            (status(413, ""), 1, 1, Reject),
            (page(413), 5, 1, Split),
            (page(413), 1, 1, Reject),
            (status(500, "grpc: received message larger than max (5 vs. 4)"), 5, 1, Split),
            (status(500, "ingester is shutting down"), 5, 1, Retry),
            (status(503, ""), 1, 1, Retry),
            (status(260, "blocked"), 5, 9, Retry),
            (status(200, ""), 5, 9, Retry),
            (page(200), 5, 9, Retry),
            (status(301, ""), 5, 1, Retry),
            (status(401, "no org id"), 5, 1, Retry),
            (status(403, ""), 5, 1, Retry),
            (status(404, ""), 5, 1, Retry),
            (page(400), 5, 1, Retry),
            (page(400), 1, 99, Retry),
            (page(422), 1, 99, Retry),
            (status(400, ""), 1, 99, Retry),
            (status(410, "gone"), 1, 99, Retry),
            (status(400, "Bad Request"), 5, 1, Split),
            (status(400, "Bad Request"), 1, 99, Pause),
            (status(422, "unprocessable"), 1, 1, Pause),
            (status(400, meta), 5, 1, WithoutMetadata),
            (status(400, too_new), 5, 1, early(0, 1)),
            (status(400, &format!("2 errors like: {too_new}; 1 errors like: {sooner}")), 5, 1, early(1_000_000_000, 3)),
            (status(400, &format!("2 errors like: {too_old}; 1 errors like: {too_new}")), 5, 1, both),
            (status(400, behind), 5, 1, late(1, 3)),
            (status(400, behind), 2, 1, late(1, 2)),
            (status(400, "error parsing labels '{' with error: x"), 5, 1, Split),
            (status(400, "error parsing labels '{' with error: x"), 1, 1, Reject),
        ] {
            assert_eq!(verdict(&error, entries, tries, None), expected, "{error}, {entries} entries, try {tries}");
        }
    }

    #[test]
    fn a_batch_that_cannot_be_halved_is_judged_like_a_single_line() {
        let meta = "stream '{a=\"b\"}' includes structured metadata, but this feature is disallowed. Please see …";
        for (error, expected) in [
            (status(413, ""), Reject),
            (status(429, ""), Retry),
            (status(400, "Bad Request"), Pause),
            (status(400, meta), Reject),
            (status(400, "error parsing labels '{' with error: x"), Reject),
        ] {
            assert_eq!(indivisible(&error, 2, 9, None), expected, "{error}");
        }
        assert_eq!(indivisible(&status(400, "Bad Request"), 2, 9, NonZeroU32::new(3)), GiveUp { dropped: 2 });
    }

    #[test]
    fn a_number_of_tries_that_was_given_is_honoured() {
        let attempts = NonZeroU32::new(3);
        for error in [PushError::Timeout, status(500, ""), status(429, ""), status(401, ""), page(200), page(400)] {
            assert_eq!(verdict(&error, 5, 2, attempts), Retry);
            assert_eq!(verdict(&error, 5, 3, attempts), GiveUp { dropped: 5 });
        }
        assert_eq!(verdict(&status(400, "Bad Request"), 1, 3, attempts), GiveUp { dropped: 1 });
    }
}
