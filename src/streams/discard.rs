//! Reads a FIFO and drops its lines, frame by frame.
//!
//! A container must continue when neither disk nor memory accepts its lines, and when its stream has no record. Only
//! whole frames are dropped: a reader that begins inside a frame may take a part of one line for a whole line. So after
//! a piece that ends inside a frame, only the missing bytes are read. A part that is then still missing is left to the
//! next reader.

use std::io;

use crate::frames::DockerFrames;
use dockerd::frame::{self, HEADER, Scan};
use ring::{Landed, Landing, Writer};

/// Bytes of one read.
const PIECE: usize = 64 * 1024;

/// The most reads for a frame's rest before other tasks run. More than one happens only for bytes that are not frames.
const MOST_RESTS: usize = 16;

/// The bytes and lines that were dropped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Bytes that were read. Some may be held.
    pub read: usize,
    /// Bytes that were dropped, garbage included.
    pub bytes: u64,
    /// Frames that were dropped. A line of more than 16 KiB is several.
    pub lines: u64,
}

/// Drops whole frames, and holds the beginning of the next one: at most the longest frame.
#[derive(Debug, Default)]
pub struct Discard {
    begun: Vec<u8>,
}

// === impl Discard ===

impl Discard {
    /// Lets `bring` put bytes into the ring; the held beginning of a frame goes before them.
    ///
    /// # Errors
    /// See [`Writer::land`].
    pub fn land(
        &mut self,
        writer: &mut Writer,
        bring: impl FnMut(Landing<'_>) -> io::Result<usize>,
    ) -> io::Result<Landed> {
        if self.begun.is_empty() {
            return writer.land(&DockerFrames, bring);
        }
        let landed = writer.land(&DockerFrames, |to| to.put(&self.begun))?;
        self.begun.drain(..landed.bytes);
        Ok(landed)
    }

    /// [Drops](Discard::read) lines that the ring refuses. A frame whose beginning is in the ring is taken out again,
    /// so that the next bytes are not joined to it.
    ///
    /// # Errors
    /// The error of `read`, when nothing was read.
    pub fn read_for(
        &mut self,
        writer: &mut Writer,
        read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<Option<Dropped>> {
        let torn = writer.take_torn();
        // Held bytes go into the ring before anything else could be torn there, so only one torn frame exists.
        if !torn.is_empty() {
            self.begun.splice(..0, torn);
        }
        self.read(read)
    }

    /// Reads and drops bytes, up to the end of a frame if the pipe has it; `None` at the end of the stream, where
    /// nothing is held any more.
    ///
    /// # Errors
    /// The error of `read`, when nothing was read.
    pub fn read(&mut self, mut read: impl FnMut(&mut [u8]) -> io::Result<usize>) -> io::Result<Option<Dropped>> {
        let mut dropped = Dropped::default();
        let mut want = PIECE;
        for _ in 0..MOST_RESTS {
            let before = self.begun.len();
            self.begun.resize(before + want, 0);
            let got = read(&mut self.begun[before..]);
            self.begun.truncate(before + *got.as_ref().unwrap_or(&0));
            match got {
                Ok(0) if dropped.read == 0 && before == 0 => return Ok(None),
                Ok(0) => {
                    // The rest will never come. The next read reports the end again.
                    dropped.bytes += before as u64;
                    self.begun.clear();
                }
                Err(error) if dropped.read == 0 => return Err(error),
                Err(_) => break,
                Ok(n) => {
                    dropped.read += n;
                    self.drop_whole(&mut dropped);
                }
            }
            want = self.missing();
            if want == 0 {
                break;
            }
        }
        Ok(Some(dropped))
    }

    fn drop_whole(&mut self, dropped: &mut Dropped) {
        let mut at = 0;
        while at < self.begun.len() {
            match frame::scan(&self.begun[at..]) {
                Scan::Frame { len, .. } => {
                    at += len;
                    dropped.lines += 1;
                }
                Scan::Garbage(len) => at += len,
                Scan::Incomplete => break,
            }
        }
        dropped.bytes += at as u64;
        self.begun.drain(..at);
        self.begun.shrink_to(PIECE);
    }

    /// Bytes to the end of the held frame, or of its header while that is incomplete; 0 when nothing is held.
    fn missing(&self) -> usize {
        match self.begun.first_chunk::<HEADER>() {
            _ if self.begun.is_empty() => 0,
            None => HEADER - self.begun.len(),
            Some(header) => (HEADER + u32::from_be_bytes(*header) as usize).saturating_sub(self.begun.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dockerd::entry::proto::LogEntry;
    use proptest::prelude::*;
    use prost::Message;
    use ring::{BootId, LEAST_BUDGET, Options, Ring};

    fn frame(line: &[u8]) -> Vec<u8> {
        let entry = LogEntry { source: "stdout".into(), time_nano: 1 << 60, line: line.into(), ..Default::default() };
        [&(entry.encoded_len() as u32).to_be_bytes()[..], &entry.encode_to_vec()].concat()
    }

    /// Reads from a pipe that holds `bytes` now.
    fn from<'a>(bytes: &'a [u8], at: &'a mut usize) -> impl FnMut(&mut [u8]) -> io::Result<usize> + 'a {
        |buffer| match bytes.len() - *at {
            0 => Err(io::ErrorKind::WouldBlock.into()),
            left => {
                let n = left.min(buffer.len());
                buffer[..n].copy_from_slice(&bytes[*at..*at + n]);
                *at += n;
                Ok(n)
            }
        }
    }

    #[test]
    fn a_pipe_with_more_than_a_piece_is_left_at_the_end_of_a_frame() {
        let frame = frame(&[b'x'; 10_000]);
        let pipe = frame.repeat(20);
        let (mut discard, mut at, mut lines) = (Discard::default(), 0, 0);
        while let Ok(dropped) = discard.read(from(&pipe, &mut at)) {
            lines += dropped.unwrap().lines;
            assert!(discard.begun.is_empty());
            assert_eq!(at as u64 % frame.len() as u64, 0);
        }
        assert_eq!((lines, at), (20, pipe.len()));
        assert_eq!(discard.read(|_| Ok(0)).unwrap(), None);
    }

    proptest! {
        /// Pieces of a stream of frames, some of whose lines look like frames. After any number of pieces, the held
        /// bytes and the following ones are whole frames.
        #[test]
        fn the_rest_of_the_pipe_begins_at_a_frame(
            lines in proptest::collection::vec((0usize..40, 0usize..3000), 1..60),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 1..20),
        ) {
            let frames: Vec<Vec<u8>> = lines.iter().map(|(inner, len)| frame(&[frame(b"not a line").repeat(*inner), vec![b'x'; *len]].concat())).collect();
            let stream = frames.concat();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
            cuts.sort_unstable();
            let (mut discard, mut at, mut sum) = (Discard::default(), 0, Dropped::default());
            for cut in cuts {
                while let Ok(dropped) = discard.read(from(&stream[..cut], &mut at)) {
                    let Dropped { read, bytes, lines } = dropped.unwrap();
                    sum = Dropped { read: sum.read + read, bytes: sum.bytes + bytes, lines: sum.lines + lines };
                }
                prop_assert_eq!((at, sum.read), (cut, cut));
                let dropped: usize = frames.iter().take(sum.lines as usize).map(Vec::len).sum();
                prop_assert_eq!(dropped as u64, sum.bytes);
                prop_assert_eq!(&discard.begun[..], &stream[dropped..at]);
            }
        }

        /// The ring refuses at any moment, with any part of a frame in the ring, in the pipe and in memory.
        #[test]
        fn every_line_is_in_the_ring_unchanged_or_counted_when_the_ring_refuses(
            lines in proptest::collection::vec((0usize..12, 0usize..6000), 1..80),
            steps in proptest::collection::vec((any::<bool>(), 0usize..9000, 1usize..9000), 1..120),
        ) {
            let lines: Vec<Vec<u8>> = lines.iter().enumerate().map(|(at, (inner, len))| {
                [format!("{at:06} ").into_bytes(), frame(b"not a line").repeat(*inner), vec![b'x'; *len]].concat()
            }).collect();
            let stream: Vec<u8> = lines.iter().flat_map(|line| frame(line)).collect();
            let dir = tempfile::tempdir().unwrap();
            let options = Options { budget: 64 * LEAST_BUDGET, boot: BootId([1; 16]) };
            let ring = Ring::open(dir.path(), options, &DockerFrames).unwrap();
            let (mut writer, mut discard) = (ring.writer("fifo"), Discard::default());
            let (mut written, mut at, mut dropped, mut garbage) = (0usize, 0, 0, 0);
            let land_rest = (false, usize::MAX, usize::MAX);
            for (refuses, write, most) in steps.into_iter().chain(vec![land_rest; 200]) {
                written = stream.len().min(written.saturating_add(write));
                if refuses {
                    let read = discard.read_for(&mut writer, from(&stream[..written], &mut at));
                    dropped += read.ok().flatten().unwrap_or_default().lines;
                    continue;
                }
                let mut pipe = from(&stream[..written], &mut at);
                let landed = discard.land(&mut writer, |to| {
                    let mut bytes = vec![0; to.room().min(most)];
                    let n = pipe(&mut bytes)?;
                    to.put(&bytes[..n])
                });
                garbage += landed.map_or(0, |landed| landed.garbage);
            }
            let shown = shown(&ring);
            prop_assert!(shown.iter().all(|line| lines.contains(line)));
            prop_assert!(shown.windows(2).all(|pair| pair[0][..6] < pair[1][..6]));
            prop_assert_eq!((at, garbage, writer.finish(&DockerFrames).garbage), (stream.len(), 0, 0));
            prop_assert_eq!(shown.len() as u64 + dropped, lines.len() as u64);
        }
    }

    fn shown(ring: &std::sync::Arc<Ring>) -> Vec<Vec<u8>> {
        let (mut reader, mut lines) = (ring.reader(), Vec::new());
        while let Some(chunk) = reader.fill() {
            let mut walk = frame::entries(chunk.bytes);
            let before = lines.len();
            lines.extend(walk.by_ref().map(|entry| entry.line.to_vec()));
            let (used, records) = (walk.position(), (lines.len() - before) as u64);
            reader.advance(used, records, &DockerFrames);
        }
        lines
    }
}
