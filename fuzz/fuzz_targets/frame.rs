//! Any bytes from a FIFO: the walk makes progress, never panics, and finds in pieces what it finds in one.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loki_rs::codec::frame::{Scan, encode_for_reader, entries, scan, zeros_between};
use loki_rs::codec::partial::{Joiner, MAX_LINE};

fuzz_target!(|input: (Vec<u8>, u16)| {
    let (bytes, cut) = input;
    let mut at = 0;
    let mut garbage_free = Vec::new();
    while at < bytes.len() {
        match scan(&bytes[at..]) {
            Scan::Frame { len, .. } => {
                garbage_free.extend_from_slice(&bytes[at..at + len]);
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
    let mut joiner = Joiner::default();
    let mut out = Vec::new();
    let mut walked = entries(&garbage_free);
    let mut seq = 0;
    for entry in walked.by_ref() {
        encode_for_reader(&entry, &mut out);
        joiner.push(seq, entry, |line| assert!(line.bytes.len() <= MAX_LINE && line.last_seq <= seq));
        seq += 1;
    }
    assert_eq!(walked.position(), garbage_free.len(), "what was scanned is walked");
    let cut = usize::from(cut).min(bytes.len());
    let _ = zeros_between(&bytes[..cut], &bytes[cut..]);
});
