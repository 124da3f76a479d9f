//! Joins the chunks of long lines, within a bound.
//!
//! dockerd cuts at 16 KiB. The chunks of one line share an id and a source; only `last` ends it. Chunks of stdout and
//! stderr interleave, a container that exits without a newline never sends `last`, and the head of a line may have been
//! overwritten in the ring. One source has at most one line open, so the joiner holds at most two.
//!
//! The joiner ends a line once it is longer than [`MAX_LINE`], or longer than a small ring can keep. It hands the line
//! out truncated and skips its further chunks. So it never waits for a line of gigabytes, and a line pins no more of
//! the ring than this length and a chunk.

use super::{Entry, Source};

/// The longest joined line, marker included. Loki rejects lines above 256 KiB (`max_line_size`).
pub const MAX_LINE: usize = 256 * 1024;

/// The smallest limit of a line, in bytes: a chunk, and room for the marker.
const LEAST_MOST: usize = 32 * 1024;

/// The marker at the end of a line that was truncated at [`MAX_LINE`].
pub const MARKER: &[u8] = b" [cut by loki-rs at 256 KiB]";

/// A joined line as it goes to Loki.
#[derive(Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// The output that the container wrote to.
    pub source: Source,
    /// The time of its first chunk.
    pub time: i64,
    /// Sequence number of its first entry.
    pub first_seq: u64,
    /// Sequence number of its last entry.
    pub last_seq: u64,
    /// The line without its newline.
    pub bytes: &'a [u8],
    /// Bytes truncated from the chunks up to `last_seq`.
    pub cut: u64,
    /// The line whose further chunks are skipped: this one, if it continues.
    pub left_out: LeftOut,
}

/// The line whose further chunks are skipped, as a hash of its id that is the same in every process; 0 means no line.
pub type LeftOut = u64;

/// Joins chunks and holds the incomplete lines.
#[derive(Debug)]
pub struct Joiner {
    /// Bytes of the longest line, marker included.
    most: usize,
    open: [Option<Open>; 2],
    left_out: [LeftOut; 2],
    /// The line handed out last; the next one reuses its memory.
    spare: Vec<u8>,
}

#[derive(Debug)]
struct Open {
    id: Vec<u8>,
    time: i64,
    first_seq: u64,
    last_seq: u64,
    bytes: Vec<u8>,
    cut: u64,
    goes_on: LeftOut,
}

// === impl Joiner ===

impl Default for Joiner {
    fn default() -> Self {
        Self::new(MAX_LINE, [0; 2])
    }
}

impl Joiner {
    /// Creates a joiner that skips the chunks of these lines, by [`Source::index`], and truncates lines to `most`
    /// bytes.
    pub fn new(most: usize, left_out: [LeftOut; 2]) -> Self {
        Self { most: most.clamp(LEAST_MOST, MAX_LINE), open: [None, None], left_out, spare: Vec::new() }
    }

    /// The fast path: the line of entry `seq`, if it is whole and its source has no open or skipped line. `None` for
    /// all others, which [`Joiner::push`] handles.
    #[inline]
    pub fn alone<'a>(&self, seq: u64, entry: &Entry<'a>) -> Option<Line<'a>> {
        let slot = entry.source.index();
        let is_alone = entry.chunk.is_none() && self.left_out[slot] == 0 && self.open[slot].is_none();
        is_alone.then(|| whole(seq, entry))
    }

    /// Adds entry `seq` and hands out the lines that it completes: zero, one, or two. It is two when the entry also
    /// shows that the previous line will never be complete.
    pub fn push(&mut self, seq: u64, entry: Entry<'_>, mut emit: impl FnMut(Line<'_>)) {
        let slot = entry.source.index();
        if self.left_out[slot] != 0 && self.is_left_out(&entry) {
            return;
        }
        let Some(chunk) = entry.chunk else {
            match &mut self.open[slot] {
                None => {
                    emit(whole(seq, &entry));
                    return;
                }
                // A daemon without chunk metadata ends a line with an entry that is not partial.
                Some(open) if open.id.is_empty() => {
                    open.append(seq, entry.line, self.most);
                    self.flush(entry.source, emit);
                    return;
                }
                Some(_) => {
                    self.flush(entry.source, &mut emit);
                    emit(whole(seq, &entry));
                    return;
                }
            }
        };
        // Ids are random, so a first ordinal under an open id means a repeated id, and a new line.
        if self.open[slot].as_ref().is_some_and(|open| open.id != chunk.id || chunk.ordinal == 1) {
            self.flush(entry.source, &mut emit);
        }
        let spare = &mut self.spare;
        self.open[slot]
            .get_or_insert_with(|| {
                let mut bytes = std::mem::take(spare);
                bytes.clear();
                Open {
                    id: chunk.id.to_vec(),
                    time: entry.time,
                    first_seq: seq,
                    last_seq: seq,
                    bytes,
                    cut: 0,
                    goes_on: 0,
                }
            })
            .append(seq, entry.line, self.most);
        let is_too_long = self.open[slot].as_ref().is_some_and(|open| open.cut > 0);
        if is_too_long && !chunk.last {
            self.left_out[slot] = left_out(chunk.id);
            if let Some(open) = &mut self.open[slot] {
                open.goes_on = self.left_out[slot];
            }
        }
        if is_too_long || chunk.last {
            self.flush(entry.source, emit);
        }
    }

    /// Whether an entry belongs to the skipped line. Forgets that line at its end.
    fn is_left_out(&mut self, entry: &Entry<'_>) -> bool {
        let line = &mut self.left_out[entry.source.index()];
        let (belongs, ends) = match entry.chunk {
            // Ids are random, so a first ordinal under the same id means a repeated id, and a new line.
            Some(chunk) => (left_out(chunk.id) == *line && chunk.ordinal != 1, chunk.last),
            // The end of a line from a daemon without chunk metadata.
            None => (left_out(b"") == *line, true),
        };
        if ends || !belongs {
            *line = 0;
        }
        belongs
    }

    /// Hands out the open line of `source`, complete or not.
    pub fn flush(&mut self, source: Source, mut emit: impl FnMut(Line<'_>)) {
        if let Some(mut open) = self.open[source.index()].take() {
            if open.cut > 0 {
                open.mark(self.most);
            }
            emit(Line {
                source,
                time: open.time,
                first_seq: open.first_seq,
                last_seq: open.last_seq,
                bytes: &open.bytes,
                cut: open.cut,
                left_out: open.goes_on,
            });
            self.spare = open.bytes;
        }
    }

    /// The sequence number of the first held entry, if any.
    pub fn held_since(&self) -> Option<u64> {
        self.open.iter().flatten().map(|open| open.first_seq).min()
    }

    /// Skips the further chunks of a line that another joiner has truncated, and forgets the open line of `source`.
    pub fn take_over(&mut self, source: Source, left_out: LeftOut) {
        self.open[source.index()] = None;
        self.left_out[source.index()] = left_out;
    }

    /// The lines whose next chunks are skipped, by [`Source::index`].
    pub fn left_out(&self) -> [LeftOut; 2] {
        self.left_out
    }

    /// The sequence number of the first held entry of `source`, if any.
    pub fn open_since(&self, source: Source) -> Option<u64> {
        self.open[source.index()].as_ref().map(|open| open.first_seq)
    }
}

fn whole<'a>(seq: u64, entry: &Entry<'a>) -> Line<'a> {
    Line {
        source: entry.source,
        time: entry.time,
        first_seq: seq,
        last_seq: seq,
        bytes: entry.line,
        cut: 0,
        left_out: 0,
    }
}

fn left_out(id: &[u8]) -> LeftOut {
    1 << 32 | LeftOut::from(crc32fast::hash(id))
}

// === impl Open ===

impl Open {
    fn append(&mut self, seq: u64, bytes: &[u8], most: usize) {
        let room = most.saturating_sub(self.bytes.len());
        let taken = bytes.len().min(room);
        self.bytes.extend_from_slice(&bytes[..taken]);
        self.cut += (bytes.len() - taken) as u64;
        self.last_seq = seq;
    }

    /// Makes room for the marker, at a character boundary when the line is UTF-8.
    fn mark(&mut self, most: usize) {
        let marker = format!(" [cut by loki-rs at {} KiB]", most / 1024);
        let mut keep = most.saturating_sub(marker.len()).min(self.bytes.len().saturating_sub(1));
        for _ in 0..3 {
            if self.bytes[keep] & 0xc0 != 0x80 {
                break;
            }
            keep -= 1;
        }
        self.cut += (self.bytes.len() - keep) as u64;
        self.bytes.truncate(keep);
        self.bytes.extend_from_slice(marker.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::Chunk;
    use super::*;

    fn chunk<'a>(source: Source, id: &'a [u8], ordinal: i32, last: bool, line: &'a [u8]) -> Entry<'a> {
        Entry { source, time: 7, line, chunk: Some(Chunk { id, ordinal, last }) }
    }

    fn plain(source: Source, line: &[u8]) -> Entry<'_> {
        Entry { source, time: 9, line, chunk: None }
    }

    fn join(entries: &[Entry<'_>]) -> (Vec<(Source, Vec<u8>)>, Joiner) {
        let (mut joiner, mut lines) = (Joiner::default(), Vec::new());
        for (seq, entry) in entries.iter().enumerate() {
            joiner.push(seq as u64, *entry, |line| lines.push((line.source, line.bytes.to_vec())));
        }
        (lines, joiner)
    }

    use Source::{Stderr, Stdout};

    #[test]
    fn chunks_of_both_sources_interleave() {
        let (lines, joiner) = join(&[
            chunk(Stdout, b"a", 1, false, b"out-"),
            chunk(Stderr, b"b", 1, false, b"err-"),
            plain(Stderr, b"cannot be between chunks of stderr, yet is"),
            chunk(Stdout, b"a", 2, true, b"end"),
        ]);
        assert_eq!(
            lines,
            [
                (Stderr, b"err-".to_vec()),
                (Stderr, b"cannot be between chunks of stderr, yet is".to_vec()),
                (Stdout, b"out-end".to_vec())
            ]
        );
        assert_eq!(joiner.held_since(), None);
    }

    #[test]
    fn exactly_16_kib_is_a_chunk_and_an_empty_last() {
        let (lines, _) = join(&[chunk(Stdout, b"a", 1, false, b"full"), chunk(Stdout, b"a", 2, true, b"")]);
        assert_eq!(lines, [(Stdout, b"full".to_vec())]);
    }

    #[test]
    fn a_last_chunk_that_never_comes_is_flushed_when_asked() {
        let (mut lines, mut joiner) = join(&[chunk(Stdout, b"a", 1, false, b"half")]);
        assert_eq!((lines.len(), joiner.held_since()), (0, Some(0)));
        joiner.flush(Stdout, |line| lines.push((line.source, line.bytes.to_vec())));
        assert_eq!(lines, [(Stdout, b"half".to_vec())]);
    }

    #[test]
    fn an_id_that_repeats_begins_a_new_line() {
        let (lines, _) = join(&[
            chunk(Stdout, b"a", 1, false, b"one"),
            chunk(Stdout, b"a", 1, false, b"two"),
            chunk(Stdout, b"a", 2, true, b"!"),
        ]);
        assert_eq!(lines, [(Stdout, b"one".to_vec()), (Stdout, b"two!".to_vec())]);
    }

    #[test]
    fn without_metadata_the_next_whole_entry_ends_the_line() {
        let (lines, _) = join(&[chunk(Stdout, b"", 0, false, b"old "), plain(Stdout, b"daemon")]);
        assert_eq!(lines, [(Stdout, b"old daemon".to_vec())]);
    }

    #[test]
    fn a_hundred_megabytes_without_newline_stay_within_the_cap() {
        let piece = "é".repeat(8192);
        let mut joiner = Joiner::default();
        let mut lines = Vec::new();
        for ordinal in 1..=6400 {
            joiner.push(ordinal as u64, chunk(Stdout, b"a", ordinal, ordinal == 6400, piece.as_bytes()), |line| {
                lines.push((line.bytes.to_vec(), line.cut, line.first_seq, line.last_seq, line.left_out));
            });
            assert!(ordinal < 17 || joiner.held_since().is_none(), "it is waited for, chunk {ordinal}");
        }
        let (bytes, cut, first, last, left_out) = &lines[0];
        assert_eq!((lines.len(), *first, *last), (1, 1, 17));
        assert!(*left_out != 0 && joiner.left_out() == [0, 0], "the last chunk ends it");
        assert!(bytes.len() <= MAX_LINE && bytes.ends_with(MARKER));
        let text = std::str::from_utf8(bytes).expect("cut at the boundary of a character");
        assert_eq!((text.len() - MARKER.len()) as u64 + cut, 17 * 16384);
    }

    /// Lines behind 17 chunks of a too long line, for a joiner that has seen them and for one that begins there.
    fn behind_a_line_that_is_too_long(id: &[u8], more: &[Entry<'_>]) -> Vec<Vec<u8>> {
        let (mut joiner, mut cut) = (Joiner::default(), 0);
        for ordinal in 1..=17 {
            let ordinal = if id.is_empty() { 0 } else { ordinal };
            joiner.push(0, chunk(Stdout, id, ordinal, false, &[b'x'; 16384]), |_| cut += 1);
        }
        assert_eq!(cut, 1);
        let next = Joiner::new(MAX_LINE, joiner.left_out());
        let [first, second] = [joiner, next].map(|mut joiner| {
            let mut lines = Vec::new();
            more.iter().for_each(|entry| joiner.push(0, *entry, |line| lines.push(line.bytes.to_vec())));
            lines
        });
        assert_eq!(first, second, "the next process makes other lines of it");
        first
    }

    #[test]
    fn the_rest_of_a_truncated_line_is_skipped_by_every_joiner() {
        let plain = plain(Stdout, b"next");
        let next = [b"next".to_vec()];
        for last in [chunk(Stdout, b"a", 19, true, b"end"), chunk(Stdout, b"a", 19, false, b"no end")] {
            let more = [chunk(Stdout, b"a", 18, false, b"rest"), last, plain];
            assert_eq!(behind_a_line_that_is_too_long(b"a", &more), next);
        }
        let repeated = [chunk(Stdout, b"a", 1, false, b"ne"), chunk(Stdout, b"a", 2, true, b"xt")];
        assert_eq!(behind_a_line_that_is_too_long(b"a", &repeated), next);
        let other = [chunk(Stdout, b"b", 1, true, b"next")];
        assert_eq!(behind_a_line_that_is_too_long(b"a", &other), next);
        let unnamed = [chunk(Stdout, b"", 0, false, b"rest"), super::tests::plain(Stdout, b"end"), plain];
        assert_eq!(behind_a_line_that_is_too_long(b"", &unnamed), next);
    }
}
