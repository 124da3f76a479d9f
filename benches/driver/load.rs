//! What containers print, as dockerd writes it down.

use std::io::Write;

use crate::harness::dockerd::now;
use crate::harness::frame::Entry;

/// Words of real logs, so that snappy finds what it would find there.
const WORDS: [&str; 32] = [
    "GET",
    "POST",
    "/api/v1/orders",
    "/healthz",
    "status=200",
    "status=404",
    "user=",
    "latency_ms=",
    "request",
    "INFO",
    "WARN",
    "connection",
    "closed",
    "accepted",
    "from",
    "10.0.0.",
    "cache",
    "hit",
    "miss",
    "order",
    "created",
    "updated",
    "payment",
    "retry",
    "timeout",
    "worker",
    "queue",
    "depth=",
    "trace_id=",
    "bytes=",
    "done",
    "started",
];

/// A line of `length` bytes: words, numbers, and no two alike.
pub fn line(random: &mut fastrand::Rng, at: usize, length: usize) -> Vec<u8> {
    let mut line = format!("{at:08} ").into_bytes();
    while line.len() < length {
        let word = WORDS[random.usize(..WORDS.len())];
        let _ = match word.ends_with(['=', '.']) {
            true => write!(line, "{word}{} ", random.u32(..100_000)),
            false => write!(line, "{word} "),
        };
    }
    line.truncate(length);
    line
}

/// `count` frames, one behind the other, with lines of `length` bytes and times a microsecond apart that end now.
pub fn frames(count: usize, length: usize) -> Vec<u8> {
    frames_from(now() - count as i64 * 1000, count, length)
}

/// The same with times that begin at `start`.
pub fn frames_from(start: i64, count: usize, length: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(7);
    let mut bytes = Vec::with_capacity(count * (length + 48));
    for at in 0..count {
        let entry = Entry::new("stdout", start + at as i64 * 1000, line(&mut random, at, length));
        bytes.extend_from_slice(&entry.to_frame());
    }
    bytes
}
