//! Any bytes from a FIFO, in one piece and in two: the walk makes progress and never panics.

#![no_main]

use dockerd::frame::{Scan, encode_for_reader, entries, scan};
use dockerd::partial::{Joiner, MAX_LINE};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Vec<u8>, u16)| {
    let (bytes, cut) = input;
    let (mut whole, mut pieces) = (Vec::new(), Vec::new());
    walk(&bytes, 0, &mut whole);
    let at = walk(&bytes[..usize::from(cut).min(bytes.len())], 0, &mut pieces);
    walk(&bytes, at, &mut pieces);
    for garbage_free in [whole, pieces] {
        read(&garbage_free);
    }
});

/// Goes on at a place, until more bytes are needed; gives the place, and the frames.
fn walk(bytes: &[u8], mut at: usize, frames: &mut Vec<u8>) -> usize {
    while at < bytes.len() {
        match scan(&bytes[at..]) {
            Scan::Frame { len, .. } => {
                frames.extend_from_slice(&bytes[at..at + len]);
                at += len;
            }
            Scan::Garbage(len) => {
                assert!(len > 0);
                at += len;
            }
            Scan::Incomplete => break,
        }
        assert!(at <= bytes.len());
    }
    at
}

fn read(garbage_free: &[u8]) {
    let mut joiner = Joiner::default();
    let mut out = Vec::new();
    let mut walked = entries(garbage_free);
    let mut seq = 0;
    for entry in walked.by_ref() {
        encode_for_reader(&entry, &mut out);
        joiner.push(seq, entry, |line| assert!(line.bytes.len() <= MAX_LINE && line.last_seq <= seq));
        seq += 1;
    }
    assert_eq!(walked.position(), garbage_free.len(), "what was scanned is walked");
}
