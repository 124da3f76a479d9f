//! Docker's framing: a big-endian `u32` length, then a [`LogEntry`](super::entry) of that many bytes.
//!
//! A pipe has no marks of its own. A plugin that died may have read half a frame, so a stream can begin inside one, and
//! a faulty writer can write any bytes. dockerd writes the fields in ascending order, so each of its frames begins `00
//! 00 hi lo 0A 06 "stdout"|"stderr" 10`. [`scan`] accepts any frame that decodes, and finds the next frame after other
//! bytes by that signature.

use super::entry::Entry;

/// The longest payload that counts as a frame. dockerd's longest is about 16.5 KiB: a 16 KiB chunk and its fields. A
/// greater length is garbage, and a wrong length below it delays at most this many bytes.
pub const MAX_PAYLOAD: usize = 64 * 1024;

/// Bytes of the length before each payload.
pub const HEADER: usize = 4;

/// The byte that overwrites garbage in a segment. No frame begins with it: a first length byte of 255 means 4 GiB.
pub const FILLER: u8 = 0xff;

/// What the beginning of a run of bytes is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// A whole frame of `len` bytes, header included, whose entry carries `time`.
    Frame {
        /// Header and payload.
        len: usize,
        /// Nanoseconds since 1970.
        time: i64,
    },
    /// This many bytes that are not a frame, at least one.
    Garbage(usize),
    /// Possibly the beginning of a frame whose rest has not arrived.
    Incomplete,
}

/// Classifies the beginning of `bytes`.
pub fn scan(bytes: &[u8]) -> Scan {
    match at_start(bytes) {
        Scan::Garbage(_) => Scan::Garbage(garbage(bytes)),
        other => other,
    }
}

/// The frames in `bytes` without filler. Ends at the first bytes that are not a whole frame.
pub fn entries(bytes: &[u8]) -> Entries<'_> {
    Entries { bytes, at: 0 }
}

/// The iterator of [`entries`].
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    bytes: &'a [u8],
    at: usize,
}

/// The bytes after the header in each of dockerd's frames, up to the last letters of the source.
const SIGNATURE: &[u8] = b"\x0a\x06std";

fn at_start(bytes: &[u8]) -> Scan {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER>() else {
        let possible = bytes.iter().take(2).all(|&byte| byte <= 1) && !bytes.starts_with(&[1]);
        return if possible { Scan::Incomplete } else { Scan::Garbage(1) };
    };
    let len = u32::from_be_bytes(*header) as usize;
    if len == 0 || len > MAX_PAYLOAD {
        return Scan::Garbage(1);
    }
    match rest.get(..len) {
        Some(payload) => match Entry::decode(payload) {
            Ok(entry) => Scan::Frame { len: HEADER + len, time: entry.time },
            Err(_) => Scan::Garbage(1),
        },
        None => Scan::Incomplete,
    }
}

/// The number of garbage bytes at the beginning of `bytes`, which is known not to begin with a frame.
fn garbage(bytes: &[u8]) -> usize {
    let mut from = 1;
    while let Some(at) = find_signature(&bytes[from..]) {
        let at = from + at;
        if !matches!(at_start(&bytes[at..]), Scan::Garbage(_)) {
            return at;
        }
        from = at + 1;
    }
    // The last few may begin a header and signature; the next scan sees them with more bytes.
    let keep = (HEADER + SIGNATURE.len() - 1).min(bytes.len() - 1);
    (bytes.len() - keep..bytes.len()).find(|&at| may_begin_signature(&bytes[at..])).unwrap_or(bytes.len())
}

/// The position of a header followed by dockerd's signature.
fn find_signature(bytes: &[u8]) -> Option<usize> {
    bytes
        .windows(HEADER + SIGNATURE.len())
        .position(|window| window[0] == 0 && window[1] <= 1 && &window[HEADER..] == SIGNATURE)
}

/// Whether the last few bytes could begin a header and signature.
fn may_begin_signature(bytes: &[u8]) -> bool {
    bytes[0] == 0
        && bytes.get(1).is_none_or(|&byte| byte <= 1)
        && bytes.iter().skip(HEADER).zip(SIGNATURE).all(|(a, b)| a == b)
}

// === impl Entries ===

impl Entries<'_> {
    /// Bytes consumed so far, without filler before the next frame.
    pub fn position(&self) -> usize {
        self.at
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        let mut at = self.at;
        while self.bytes.get(at) == Some(&FILLER) {
            at += 1;
        }
        let (header, rest) = self.bytes.get(at..)?.split_first_chunk::<HEADER>()?;
        let len = u32::from_be_bytes(*header) as usize;
        let entry = Entry::decode(rest.get(..len)?).ok()?;
        self.at = at + HEADER + len;
        Some(entry)
    }
}

/// Appends one frame as `docker logs` expects it: time, line and source, and the newline that dockerd removed.
///
/// dockerd prints lines as they come and looks at nothing else. So a line that ended gets its newline back here, and a
/// chunk in the middle of a line gets none.
pub fn encode_for_reader(entry: &Entry<'_>, out: &mut Vec<u8>) {
    let newline = entry.ends_line();
    let line = entry.line.len() + usize::from(newline);
    let source = entry.source.as_str();
    let payload = 2 + source.len() + 1 + varint_len(entry.time as u64) + 1 + varint_len(line as u64) + line;
    out.reserve(HEADER + payload);
    out.extend_from_slice(&(payload as u32).to_be_bytes());
    out.extend_from_slice(&[0x0a, source.len() as u8]);
    out.extend_from_slice(source.as_bytes());
    out.push(0x10);
    put_varint(entry.time as u64, out);
    out.push(0x1a);
    put_varint(line as u64, out);
    out.extend_from_slice(entry.line);
    if newline {
        out.push(b'\n');
    }
}

fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

fn put_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::super::Source;
    use super::super::entry::proto::LogEntry;
    use super::*;
    use proptest::prelude::*;
    use prost::Message;

    fn frame(source: &str, time: i64, line: &[u8]) -> Vec<u8> {
        let entry = LogEntry { source: source.into(), time_nano: time, line: line.into(), ..Default::default() };
        let mut out = (entry.encoded_len() as u32).to_be_bytes().to_vec();
        entry.encode(&mut out).unwrap();
        out
    }

    /// Walks a stream that arrives in pieces, as intake does; returns lines and the number of garbage bytes.
    fn walk(pieces: &[&[u8]]) -> (Vec<Vec<u8>>, usize) {
        let (mut buffer, mut lines, mut dropped) = (Vec::new(), Vec::new(), 0);
        for piece in pieces {
            buffer.extend_from_slice(piece);
            while !buffer.is_empty() {
                match scan(&buffer) {
                    Scan::Frame { len, .. } => {
                        lines.push(Entry::decode(&buffer[HEADER..len]).unwrap().line.to_vec());
                        buffer.drain(..len);
                    }
                    Scan::Garbage(n) => {
                        assert!(n > 0);
                        dropped += n;
                        buffer.drain(..n);
                    }
                    Scan::Incomplete => break,
                }
            }
        }
        (lines, dropped)
    }

    const NOW: i64 = 1_790_000_000_000_000_000;

    #[test]
    fn a_stream_that_begins_inside_a_frame_is_found_again() {
        let stream = [frame("stdout", NOW, b"torn away"), frame("stderr", NOW, b"whole")].concat();
        let (lines, dropped) = walk(&[&stream[7..]]);
        assert_eq!(lines, [b"whole"]);
        assert_eq!(dropped, frame("stdout", NOW, b"torn away").len() - 7);
    }

    #[test]
    fn a_wrong_length_costs_no_other_frame() {
        for lie in [1u32, 3, 60, 0, 5_000_000, u32::MAX] {
            let mut liar = frame("stdout", NOW, b"liar");
            liar[..4].copy_from_slice(&lie.to_be_bytes());
            let mut stream = liar;
            for _ in 0..4 {
                stream.extend(frame("stdout", NOW, b"honest"));
            }
            let (lines, _) = walk(&[&stream]);
            assert_eq!(lines.iter().filter(|line| *line == b"honest").count(), 4, "lie {lie}");
        }
    }

    #[test]
    fn garbage_that_ends_in_half_a_signature_waits() {
        let good = frame("stdout", NOW, b"x");
        let mut stream = b"garbage".to_vec();
        stream.extend(&good[..6]);
        assert_eq!(scan(&stream), Scan::Garbage(7));
    }

    #[test]
    fn docker_logs_gets_the_newline_back() {
        let entry = Entry { source: Source::Stderr, time: NOW, line: b"hello", chunk: None };
        let mut out = Vec::new();
        encode_for_reader(&entry, &mut out);
        let seen = LogEntry::decode(&out[HEADER..]).unwrap();
        assert_eq!(u32::from_be_bytes(out[..4].try_into().unwrap()) as usize, out.len() - HEADER);
        assert_eq!((&seen.source[..], seen.time_nano, &seen.line[..]), ("stderr", NOW, &b"hello\n"[..]));
    }

    proptest! {
        #[test]
        fn frames_survive_any_cut(
            lines in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 1..8),
            cuts in proptest::collection::vec(any::<proptest::sample::Index>(), 0..6),
        ) {
            let stream: Vec<u8> = lines.iter().flat_map(|line| frame("stdout", NOW, line)).collect();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect();
            prop_assert_eq!(walk(&pieces), (lines, 0));
        }

        #[test]
        fn garbage_between_frames_loses_none_that_follow(garbage: Vec<u8>, head in 0usize..3, after in 3usize..6) {
            let mut stream: Vec<u8> = (0..head).flat_map(|_| frame("stdout", NOW, b"head")).collect();
            stream.extend(&garbage);
            // Enough valid bytes that a wrong length cannot wait past them.
            for _ in 0..after {
                stream.extend(frame("stderr", NOW, &[b'x'; 30_000]));
            }
            let (lines, _) = walk(&[&stream]);
            prop_assert_eq!(lines.iter().filter(|line| line.len() == 4).count(), head);
            prop_assert_eq!(lines.iter().filter(|line| line.len() == 30_000).count(), after);
        }

        #[test]
        fn any_bytes_end_the_walk(pieces: Vec<Vec<u8>>) {
            walk(&pieces.iter().map(|piece| &piece[..]).collect::<Vec<_>>());
        }
    }
}
