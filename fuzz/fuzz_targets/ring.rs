//! Any bytes as the last segment of a ring: it opens, is read to its end, takes new records, and reads them back.

#![no_main]

use libfuzzer_sys::fuzz_target;
use loki_rs::codec::frame;
use loki_rs::ring::{BootId, Cursors, LEAST_BUDGET, Options, Ring};
use loki_rs::frames::DockerFrames;

/// A frame as dockerd writes it.
const FRAME: &[u8] = b"\x00\x00\x00\x16\x0a\x06stdout\x10\x80\x80\x80\x80\x80\x80\x80\x80\x10\x1a\x02hi";

fuzz_target!(|input: (Vec<u8>, Vec<u8>, bool)| {
    let (segment, cursor, same_boot) = input;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path();
    {
        // A sound ring to begin with, so that the damage is not always to the magic number.
        let ring = Ring::open(path, Options { budget: LEAST_BUDGET, boot: BootId([1; 16]) }, &DockerFrames).expect("empty");
        let mut writer = ring.writer("w");
        let landed = writer.land(&DockerFrames, |to| to.put(FRAME));
        assert_eq!(landed.expect("room").records, 1);
        ring.sync().expect("a disk");
    }
    let file = path.join("0000000000000001.seg");
    let mut bytes = std::fs::read(&file).expect("the segment");
    // Pairs of a position and a byte.
    for hurt in segment.chunks_exact(4) {
        let at = u32::from_le_bytes([hurt[0], hurt[1], hurt[2], 0]) as usize % bytes.len();
        bytes[at] = hurt[3];
    }
    std::fs::write(&file, bytes).expect("a disk");
    // What the damaged ring goes by when it is opened.
    std::fs::write(path.join("cursor-a"), &cursor).expect("a disk");
    let _ = Cursors::open(path, &["a".into(), "b".into()]).expect("a directory").furthest_behind();

    let boot = BootId([if same_boot { 1 } else { 2 }; 16]);
    let Ok(ring) = Ring::open(path, Options { budget: LEAST_BUDGET, boot }, &DockerFrames) else { return };
    let mut reader = ring.reader();
    let count = |reader: &mut loki_rs::ring::Reader| {
        let mut total = 0;
        while let Some(chunk) = reader.fill() {
            let mut entries = frame::entries(chunk.bytes);
            let records = entries.by_ref().count() as u64;
            let used = entries.position();
            reader.advance(used, records, &DockerFrames);
            total += records;
        }
        total
    };
    count(&mut reader);
    let mut writer = ring.writer("new");
    writer.land(&DockerFrames, |to| to.put(FRAME)).expect("room");
    assert_eq!(count(&mut reader), 1, "what was just written is read");
});
