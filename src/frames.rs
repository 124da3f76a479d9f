//! Docker's frames as records of the ring: the place where the crates `dockerd` and `ring` meet.

use dockerd::frame::{self, HEADER, MAX_PAYLOAD};
use ring::{Framing, Scan};

/// The framing in which a record is a frame as dockerd wrote it.
#[derive(Clone, Copy, Debug)]
pub struct DockerFrames;

// A frame must never begin with a ring's filler.
const _: () = assert!(ring::FILLER == frame::FILLER);

// === impl DockerFrames ===

impl Framing for DockerFrames {
    const LONGEST: usize = HEADER + MAX_PAYLOAD;

    fn scan(&self, bytes: &[u8]) -> Scan {
        match frame::scan(bytes) {
            frame::Scan::Frame { len, time } => Scan::Record { len, time },
            frame::Scan::Garbage(len) => Scan::Garbage(len),
            frame::Scan::Incomplete => Scan::Incomplete,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dockerd::entry::proto::LogEntry;
    use dockerd::frame::entries;
    use proptest::prelude::*;
    use prost::Message;
    use ring::{BootId, LEAST_BUDGET, Options, Ring};
    use std::path::Path;
    use std::sync::Arc;

    fn open(dir: &Path) -> Arc<Ring> {
        let budget = 8 * LEAST_BUDGET.max(1 << 20);
        Ring::open(dir, Options { budget, boot: BootId([1; 16]) }, &DockerFrames).unwrap()
    }

    fn frame(line: &[u8]) -> Vec<u8> {
        let entry = LogEntry { source: "stdout".into(), time_nano: 1 << 60, line: line.into(), ..Default::default() };
        let mut frame = (entry.encoded_len() as u32).to_be_bytes().to_vec();
        entry.encode(&mut frame).unwrap();
        frame
    }

    fn lines(ring: &Arc<Ring>) -> Vec<Vec<u8>> {
        let (mut reader, mut lines) = (ring.reader(), Vec::new());
        while let Some(chunk) = reader.fill() {
            let mut walk = entries(chunk.bytes);
            let before = lines.len();
            lines.extend(walk.by_ref().map(|entry| entry.line.to_vec()));
            let (used, records) = (walk.position(), (lines.len() - before) as u64);
            reader.advance(used, records, &DockerFrames);
        }
        lines
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

        /// dockerd continues to write while the plugin is killed: at any byte of any line, also in an almost full
        /// segment.
        #[test]
        fn every_line_is_there_once_however_often_the_plugin_is_killed(
            shapes in proptest::collection::vec((0usize..17_000, prop_oneof![Just(b'x'), Just(0)]), 1..120),
            kills in proptest::collection::vec(any::<proptest::sample::Index>(), 0..12),
        ) {
            let written: Vec<Vec<u8>> = shapes.iter().enumerate().map(|(at, (len, fill))| {
                let mut line = format!("{at:06} ").into_bytes();
                line.resize(7 + len, *fill);
                line
            }).collect();
            let stream: Vec<u8> = written.iter().flat_map(|line| frame(line)).collect();
            let mut kills: Vec<_> = kills.iter().map(|kill| kill.index(stream.len())).collect();
            kills.sort_unstable();
            kills.dedup();

            let dir = tempfile::tempdir().unwrap();
            let mut ring = open(dir.path());
            let (mut at, mut kills) = (0, kills.into_iter().peekable());
            while at < stream.len() {
                let kill = kills.peek().copied().filter(|kill| *kill > at);
                let end = kill.unwrap_or(stream.len());
                let landed = ring.writer("fifo").land(&DockerFrames, |to| to.put(&stream[at..end])).unwrap();
                prop_assert_eq!(landed.garbage, 0);
                at += landed.bytes;
                if kills.next_if_eq(&at).is_some() {
                    drop(ring);
                    ring = open(dir.path());
                }
            }
            prop_assert_eq!(lines(&ring).len(), written.len());
            prop_assert_eq!(lines(&ring), written);
        }
    }
}
