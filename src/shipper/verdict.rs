//! The retry table: what to do after a push that was not answered with 204 or 200.
//!
//! | answer | stored? | verdict |
//! |---|---|---|
//! | no connection, connection lost, no answer in time | unknown | retry the same entries |
//! | a certificate, key or secret that cannot be read | nothing | retry: files get mended |
//! | 429 | nothing of this stream | retry; after three times in halves, because a request above the burst never passes |
//! | 500 with "larger than max", 413 | nothing | halve; a single entry is settled |
//! | other 5xx, 408 | unknown | retry |
//! | 260 and other 2xx, 3xx | nothing | retry: ingestion is blocked, or something in front answers |
//! | 401, 403, 404, 405, 407 | nothing | retry: credentials and routes get mended |
//! | 400 that says structured metadata is disallowed | nothing | again without it, from then on |
//! | 400 that says which is the oldest time it takes (too old, too far behind) | the rest | again, with no time before that |
//! | 400 about single entries (too new, too long) | the rest | settled; what was refused is counted |
//! | other 400 and 4xx | nothing | halve until the one that is refused is alone, which is then settled |
//!
//! One request carries one stream, so each answer is about that stream. Source: Loki's `pkg/distributor/http.go`,
//! `validator.go` and `pkg/ingester/stream.go`. `loki-retries` bounds what is retried: a batch is given up after so
//! many tries.

use std::num::NonZeroU32;

use crate::loki::PushError;

/// What happens to a batch that was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The same entries again, later.
    Retry,
    /// Half of them, later the other half.
    Split,
    /// The same entries without structured metadata.
    WithoutMetadata,
    /// The same entries, with later times where theirs are before what Loki takes. If that does not help, settled.
    Late {
        /// The oldest time that Loki takes, in nanoseconds since 1970.
        oldest: i64,
        /// Entries that Loki refused.
        dropped: u64,
    },
    /// Loki took what it takes; so many entries it did not and never will.
    Settled {
        /// Entries that Loki refused.
        dropped: u64,
    },
    /// None of them: they were tried as often as `loki-retries` says.
    GiveUp {
        /// Entries that are lost.
        dropped: u64,
    },
}

/// Tries after which a 429 is taken for one that no waiting mends.
const PATIENCE: u32 = 3;

/// Judges the answer to a batch of `entries`, tried `tries` times.
pub fn verdict(error: &PushError, entries: usize, tries: u32, attempts: Option<NonZeroU32>) -> Verdict {
    let all = Verdict::GiveUp { dropped: entries as u64 };
    let halve = if entries > 1 { Verdict::Split } else { Verdict::Settled { dropped: entries as u64 } };
    let retry = if attempts.is_some_and(|attempts| tries >= attempts.get()) { all } else { Verdict::Retry };
    let PushError::Status { code, body } = error else { return retry };
    match code {
        413 => halve,
        500 if body.contains("larger than max") => halve,
        429 if tries > PATIENCE && entries > 1 && retry == Verdict::Retry => Verdict::Split,
        400 if is_about_metadata(body) => Verdict::WithoutMetadata,
        400 => {
            let Some(dropped) = refused(body).map(|dropped| dropped.min(entries as u64)) else { return halve };
            oldest_taken(body).map_or(Verdict::Settled { dropped }, |oldest| Verdict::Late { oldest, dropped })
        }
        401 | 403 | 404 | 405 | 407 | 408 | 429 | 200..400 | 500.. => retry,
        _ => halve,
    }
}

/// `allow_structured_metadata: false`, or a schema older than v13.
fn is_about_metadata(body: &str) -> bool {
    body.contains("structured metadata") && (body.contains("disallowed") || body.contains("schema"))
}

/// The oldest time that Loki takes, where it refused an entry that is older.
fn oldest_taken(body: &str) -> Option<i64> {
    let (_, rest) = body.split_once("oldest acceptable timestamp is: ")?;
    let end = rest.find('Z')? + 1;
    let time: jiff::Timestamp = rest[..end].parse().ok()?;
    i64::try_from(time.as_nanosecond()).ok()
}

/// How many entries a 400 refused while the others were stored; `None` when it is about something else.
fn refused(body: &str) -> Option<u64> {
    /// Words of the entry-level refusals; each goes with the rest of the stream stored.
    const ENTRY: [&str; 6] = [
        "entry too far behind",
        "entry out of order",
        "timestamp too old",
        "timestamp too new",
        "Max entry size",
        "max entry size",
    ];
    // "… total ignored: 3 out of 5 for stream: …"
    if let Some((_, rest)) = body.split_once("total ignored: ") {
        return rest.split(' ').next()?.parse().ok();
    }
    if !ENTRY.iter().any(|words| body.contains(words)) {
        return None;
    }
    // Several alike are grouped: "3 errors like: …; 1 errors like: …".
    let grouped: u64 =
        body.split("; ").filter_map(|part| part.split_once(" errors like: ")?.0.trim().parse::<u64>().ok()).sum();
    Some(grouped.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{GiveUp, Retry, Settled, Split, WithoutMetadata};

    fn status(code: u16, body: &str) -> PushError {
        PushError::status(code, body.as_bytes())
    }

    #[test]
    fn each_row_of_the_table() {
        let too_old = "entry for stream '{a=\"b\"}' has timestamp too old: 2020-01-01T00:00:00Z, oldest acceptable \
                       timestamp is: 2026-01-01T00:00:00Z";
        let behind = "entry with timestamp 2026 ignored, reason: 'entry too far behind, entry timestamp is: \
                      2025-12-31T20:00:00Z, oldest acceptable timestamp is: 2026-01-01T00:00:00.000000001Z', user \
                      'fake', total ignored: 3 out of 5 for stream: {a=\"b\"}";
        let too_new = "entry for stream '{a=\"b\"}' has timestamp too new: 2030-01-01T00:00:00Z";
        let late = |more: i64, dropped| Verdict::Late { oldest: 1_767_225_600_000_000_000 + more, dropped };
        let meta = "stream '{a=\"b\"}' includes structured metadata, but this feature is disallowed. Please see …";
        for (error, entries, tries, expected) in [
            (PushError::Transport("refused".into()), 5, 1, Retry),
            (PushError::Unready("no file".into()), 5, 1, Retry),
            (PushError::Timeout, 5, 999, Retry),
            (status(429, "Ingestion rate limit exceeded"), 5, 1, Retry),
            (status(429, "Ingestion rate limit exceeded"), 5, 4, Split),
            (status(429, "Ingestion rate limit exceeded"), 1, 4, Retry),
            (status(413, ""), 5, 1, Split),
            (status(413, ""), 1, 1, Settled { dropped: 1 }),
            (status(500, "grpc: received message larger than max (5 vs. 4)"), 5, 1, Split),
            (status(500, "ingester is shutting down"), 5, 1, Retry),
            (status(503, ""), 1, 1, Retry),
            (status(260, "blocked"), 5, 9, Retry),
            (status(301, ""), 5, 1, Retry),
            (status(401, "no org id"), 5, 1, Retry),
            (status(403, ""), 5, 1, Retry),
            (status(404, ""), 5, 1, Retry),
            (status(400, meta), 5, 1, WithoutMetadata),
            (status(400, too_new), 5, 1, Settled { dropped: 1 }),
            (status(400, &format!("2 errors like: {too_new}; 1 errors like: {too_new}")), 5, 1, Settled { dropped: 3 }),
            (status(400, &format!("2 errors like: {too_old}; 1 errors like: {too_new}")), 5, 1, late(0, 3)),
            (status(400, behind), 5, 1, late(1, 3)),
            (status(400, behind), 2, 1, late(1, 2)),
            (status(400, "error parsing labels"), 5, 1, Split),
            (status(400, "error parsing labels"), 1, 1, Settled { dropped: 1 }),
            (status(422, ""), 1, 1, Settled { dropped: 1 }),
        ] {
            assert_eq!(verdict(&error, entries, tries, None), expected, "{error}, {entries} entries, try {tries}");
        }
    }

    #[test]
    fn a_number_of_tries_that_was_given_is_honoured() {
        let attempts = NonZeroU32::new(3);
        for error in [PushError::Timeout, status(500, ""), status(429, ""), status(401, "")] {
            assert_eq!(verdict(&error, 5, 2, attempts), Retry);
            assert_eq!(verdict(&error, 5, 3, attempts), GiveUp { dropped: 5 });
        }
    }
}
