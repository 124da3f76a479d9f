//! Any answer to a push: a verdict that gives up no more than there is, nothing accepted but what is listed, and a bounded wait.

#![no_main]

use std::num::NonZeroU32;

use hyper::header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use libfuzzer_sys::fuzz_target;
use loki::answer::{Kind, Seen};
use loki::error::{PushError, Status};
use loki::hints::{Hints, LONGEST_RETRY_AFTER};
use loki_rs::shipper::guard::RejectionGuard;
use loki_rs::shipper::verdict::{Verdict, indivisible, verdict};

/// Statuses that have a meaning; others are any number.
const CODES: &[u16] =
    &[200, 202, 204, 206, 260, 301, 400, 401, 403, 404, 405, 407, 408, 413, 422, 429, 500, 502, 503, 504];

/// Pieces of Loki's texts, so that the fuzzer comes past their beginnings.
const PIECES: &[&str] = &[
    "",
    "entry for stream '",
    "{a=\"b\"}",
    "{a=\"', total ignored: 9 out of 9\", b=\"}\\\"\"}",
    "' has timestamp too old: ",
    ", oldest acceptable timestamp is: ",
    "' has timestamp too new: ",
    "2262-04-11T23:47:16Z",
    "-9999-01-01T00:00:00Z",
    "2026-01-01T00:00:00.999999999+23:59",
    "18446744073709551615",
    "18446744073709551616",
    "99999999999999999999999999999999999999",
    "0",
    " errors like: ",
    "; ",
    "entry with timestamp ",
    " ignored, reason: 'entry too far behind, entry timestamp is: ",
    " ignored, reason: 'entry out of order",
    " ignored, reason: 'Per stream rate limit exceeded ",
    "',\n",
    "user 'fake', total ignored: ",
    "user 'a|b', total ignored: ",
    "total ignored: ",
    " out of ",
    " for stream: {a=\"b\"}",
    "stream '",
    "' includes structured metadata, but this feature is disallowed",
    "' has structured metadata too large: '",
    "' has too many structured metadata labels: '",
    "' bytes, limit: '4' bytes. Please contact your Loki administrator to increase it.",
    "' has label name too long: '",
    "' has 31 label names; limit ",
    "max entry size '",
    "' bytes exceeded for stream '",
    "' while adding an entry with length '",
    "' bytes",
    "grpc: received message larger than max (",
    "rpc error: code = ResourceExhausted desc = ",
    "error parsing labels '",
    "ingestion blocked for user 'fake' until '",
    "ingestion rate limit exceeded for user fake (limit: ",
    "<html><head><title>400</title>",
    "{\"message\": \"",
];

const TYPES: &[Option<&str>] = &[
    None,
    Some("text/plain; charset=utf-8"),
    Some("Text/Plain;"),
    Some("text/html"),
    Some("application/json"),
    Some(""),
    Some("text/plain, text/html"),
];

/// Values of `Retry-After` and `Date`.
const WAITS: &[&str] = &[
    "0",
    "301",
    "18446744073709551616",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sunday, 06-Nov-94 08:50:37 GMT",
    "Sun Nov  6 08:50:37 1994",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Thu, 01 Jan 1970 00:00:00 GMT",
];

fuzz_target!(|input: (u16, u8, bool, u8, u8, Vec<u8>, Vec<u8>, (u8, u8, Vec<u8>))| {
    let (code, content_type, is_whole, entries, tries, picks, bytes, headers) = input;
    let code = CODES.get(usize::from(code) % (2 * CODES.len())).copied().unwrap_or(code);
    let mut body = Vec::new();
    for (at, pick) in picks.iter().enumerate() {
        body.extend_from_slice(PIECES[usize::from(*pick) % PIECES.len()].as_bytes());
        body.extend_from_slice(&bytes[bytes.len().min(at)..bytes.len().min(at + 2)]);
    }
    let content_type = TYPES[usize::from(content_type) % TYPES.len()];
    let seen = Seen { code, content_type, body: &body, is_whole };
    let server = std::str::from_utf8(&bytes).ok();
    let status = Status::new(&seen, server);
    assert_eq!(status.kind == Kind::Accepted, code == 204);
    assert_eq!(status.kind == Kind::Blocked, code == 260);
    if status.kind == Kind::Unconfirmed {
        assert!((200..300).contains(&code) && code != 260 && body.is_empty() && is_whole);
    }
    if matches!(status.kind, Kind::Entries(_) | Kind::Metadata | Kind::Stream) {
        assert!(
            code == 400 && content_type.is_none_or(|it| it.is_empty() || it.to_lowercase().starts_with("text/plain"))
        );
    }
    if status.kind == Kind::Metadata {
        assert!(String::from_utf8_lossy(&body).contains("structured metadata, but this feature is disallowed"));
    }
    judge(PushError::Status(status), usize::from(entries) + 1, u32::from(tries) + 1);
    hints(headers);
});

fn judge(error: PushError, entries: usize, tries: u32) {
    let attempts = NonZeroU32::new(tries / 2);
    let kind = error.kind();
    for said in [verdict(&error, entries, tries, attempts), indivisible(&error, entries, tries, attempts)] {
        match RejectionGuard::default().rule(said, tries, attempts) {
            Verdict::Clamp { dropped, .. } | Verdict::Settled { dropped } => {
                assert!(dropped <= entries as u64);
                let is_lokis =
                    matches!(kind, Some(Kind::Entries(_) | Kind::Metadata | Kind::Stream | Kind::TooLarge { .. }));
                assert!(is_lokis, "{kind:?}");
            }
            Verdict::GiveUp { dropped } => assert!(dropped <= entries as u64 && attempts.is_some()),
            _ => {}
        }
    }
    assert!(error.code().len() < 10);
    assert!(error.to_string().len() < 1500 && !error.to_string().contains(char::is_control));
}

/// `Retry-After` and `Date`: a wait of bounded length, and a time of whole seconds since 1970.
fn hints((wait, date, bytes): (u8, u8, Vec<u8>)) {
    let mut headers = HeaderMap::new();
    for (name, pick) in [(RETRY_AFTER, wait), (DATE, date)] {
        let known = WAITS.get(usize::from(pick) % (2 * WAITS.len())).map(|known| HeaderValue::from_static(known));
        if let Some(value) = known.or_else(|| HeaderValue::from_bytes(&bytes).ok()) {
            headers.append(name, value);
        }
    }
    let hints = Hints::read(&headers);
    assert!(hints.retry_after.is_none_or(|wait| wait <= LONGEST_RETRY_AFTER));
    assert!(hints.date.is_none_or(|date| date >= 0 && date % 1_000_000_000 == 0));
}
