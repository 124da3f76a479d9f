//! Any answer to a push: a verdict that gives up no more than there is, and nothing accepted but what is listed.

#![no_main]

use std::num::NonZeroU32;

use libfuzzer_sys::fuzz_target;
use loki_rs::loki::answer::{Kind, Seen};
use loki_rs::loki::error::{PushError, Status};
use loki_rs::shipper::guard::RejectionGuard;
use loki_rs::shipper::verdict::{Verdict, verdict};

/// Pieces of Loki's texts, so that the fuzzer comes past their beginnings.
const PIECES: &[&str] = &[
    "",
    "entry for stream '",
    "{a=\"b\"}",
    "' has timestamp too old: ",
    ", oldest acceptable timestamp is: ",
    "' has timestamp too new: ",
    "2262-04-11T23:47:16Z",
    "-9999-01-01T00:00:00Z",
    "18446744073709551615",
    " errors like: ",
    "; ",
    "entry with timestamp ",
    " ignored, reason: 'entry too far behind, entry timestamp is: ",
    "',\n",
    "user 'fake', total ignored: ",
    " out of ",
    "stream '",
    "' includes structured metadata, but this feature is disallowed",
    "grpc: received message larger than max (",
    "error parsing labels '",
];

const TYPES: &[Option<&str>] = &[None, Some("text/plain; charset=utf-8"), Some("text/html"), Some("application/json"), Some("")];

fuzz_target!(|input: (u16, u8, bool, u8, u8, Vec<u8>, Vec<u8>)| {
    let (code, content_type, is_whole, entries, tries, picks, bytes) = input;
    let mut body = Vec::new();
    for (at, pick) in picks.iter().enumerate() {
        body.extend_from_slice(PIECES[usize::from(*pick) % PIECES.len()].as_bytes());
        body.extend_from_slice(&bytes[bytes.len().min(at)..bytes.len().min(at + 2)]);
    }
    let content_type = TYPES[usize::from(content_type) % TYPES.len()];
    let seen = Seen { code, content_type, body: &body, is_whole };
    let status = Status::new(&seen, None);
    assert_eq!(status.kind == Kind::Accepted, code == 204);
    if status.kind == Kind::Unconfirmed {
        assert!((200..300).contains(&code) && code != 260 && body.is_empty() && is_whole);
    }
    let (entries, tries) = (usize::from(entries) + 1, u32::from(tries) + 1);
    let attempts = NonZeroU32::new(tries / 2);
    let (kind, error) = (status.kind, PushError::Status(status));
    let ruled = RejectionGuard::default().rule(verdict(&error, entries, tries, attempts), tries, attempts);
    match ruled {
        Verdict::Clamp { dropped, .. } | Verdict::Settled { dropped } => {
            assert!(dropped <= entries as u64);
            assert!(matches!(kind, Kind::Entries(_) | Kind::Stream | Kind::TooLarge { .. }), "{kind:?}");
        }
        Verdict::GiveUp { dropped } => assert!(dropped <= entries as u64 && attempts.is_some()),
        _ => {}
    }
    assert!(error.to_string().len() < 1500 && !error.to_string().contains(char::is_control));
});
