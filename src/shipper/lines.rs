//! Ring to lines: reads entries from a position on, and joins them.

use std::sync::Arc;

use crate::frames::DockerFrames;
use dockerd::partial::{Joiner, LeftOut, Line};
use dockerd::{Entry, Source, frame};
use ring::{Lost, Position, Reader, Ring};

/// A position at which reading can begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The entry that comes next.
    pub position: Position,
    /// Bytes of the ring before it, counted from where the process began to read.
    pub bytes: u64,
    /// Entries before it that were read, by [`Source::index`], counted from the same point.
    pub entries: [u64; 2],
    /// The lines whose further chunks are left out from here on, by [`Source::index`].
    pub left_out: [LeftOut; 2],
}

/// Where reading ends, even if the ring has more.
#[derive(Clone, Copy, Debug)]
pub struct Limit {
    /// Before this entry, if it is still to come.
    pub before: Option<u64>,
    /// At this entry, as if the ring ended there.
    pub end: u64,
    /// After this number of bytes of the ring.
    pub bytes: u64,
}

/// A line is truncated at this part of the ring's bound. Until its end has come, a line pins its chunks, and the
/// segments of a small ring hold few chunks.
const LONGEST_LINE: u64 = 4;

/// Reads the lines of one container.
#[derive(Debug)]
pub struct Lines {
    reader: Reader,
    joiner: Joiner,
    /// Bytes of the longest line.
    most: usize,
    /// Where the entries begin that the joiner holds, by source.
    held: [Option<Place>; 2],
    /// See [`Place::bytes`].
    bytes: u64,
    /// See [`Place::entries`].
    entries: [u64; 2],
}

// === impl Lines ===

impl Lines {
    /// Lines from a place on.
    pub fn new(ring: &Arc<Ring>, place: &Place) -> Self {
        let most = usize::try_from(ring.budget_bytes() / LONGEST_LINE).unwrap_or(usize::MAX);
        Self {
            reader: ring.reader_at(place.position),
            joiner: Joiner::new(most, place.left_out),
            most,
            held: [None, None],
            bytes: place.bytes,
            entries: place.entries,
        }
    }

    /// Passes lines to `take`, with the place where each begins, until `take` returns true, the limit is reached, or
    /// the ring ends. Returns false when the ring has ended. Entries of a source below its number in `pass_below` are
    /// skipped.
    pub fn read(
        &mut self,
        pass_below: [u64; 2],
        limit: Limit,
        mut take: impl FnMut(&Line<'_>, &dyn Fn() -> Place) -> bool,
    ) -> bool {
        let Self { reader, joiner, held, bytes, entries: counted, .. } = self;
        let before = limit.before.filter(|before| *before > reader.position().seq).unwrap_or(u64::MAX);
        let most = bytes.saturating_add(limit.bytes);
        let mut enough = false;
        while !enough
            && reader.position().seq < limit.end
            && let Some(chunk) = reader.fill()
            // The chunk may begin behind a gap.
            && chunk.first_seq < limit.end
        {
            let mut entries = frame::entries(chunk.bytes);
            let (mut seq, mut used) = (chunk.first_seq, 0);
            let room = most.saturating_sub(*bytes);
            while let Some(entry) = entries.next() {
                let source = entry.source.index();
                if seq >= pass_below[source] {
                    let (bytes, entries, left_out) = (*bytes + used as u64, *counted, joiner.left_out());
                    let position = Position { offset: chunk.position.offset + used as u64, seq, ..chunk.position };
                    let here = move || Place { position, bytes, entries, left_out };
                    enough = match joiner.alone(seq, &entry) {
                        Some(line) => take(&line, &here),
                        None => join(joiner, &mut held[source], &entry, here(), &mut take),
                    };
                }
                counted[source] += 1;
                used = entries.position();
                seq += 1;
                enough |= seq >= before || used as u64 >= room;
                if enough || seq >= limit.end {
                    break;
                }
            }
            let records = seq - chunk.first_seq;
            *bytes += used as u64;
            reader.advance(used, records, &DockerFrames);
        }
        enough
    }

    /// Forgets the held chunks of one output, and leaves out the line that another reader has begun to leave out.
    pub fn take_over(&mut self, source: Source, left_out: LeftOut) {
        self.joiner.take_over(source, left_out);
        self.held[source.index()] = None;
    }

    /// Passes on lines that will never be complete, as they are.
    pub fn flush(&mut self, mut take: impl FnMut(&Line<'_>, &dyn Fn() -> Place)) {
        for source in Source::ALL {
            let open = self.held[source.index()].take();
            self.joiner.flush(source, |line| take(&line, &|| open.unwrap_or_default()));
        }
    }

    /// The entry that comes next.
    pub fn position(&self) -> Position {
        self.reader.position()
    }

    /// Bytes of the ring that were read, counted as [`Place::bytes`].
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Entries that were read, counted as [`Place::entries`].
    pub fn entries(&self) -> [u64; 2] {
        self.entries
    }

    /// Where reading has to begin again to see every line that was not passed on.
    pub fn restart(&self) -> Place {
        let held = self.held.iter().flatten().min_by_key(|place| place.position.seq);
        let here = || Place {
            position: self.reader.position(),
            bytes: self.bytes,
            entries: self.entries,
            left_out: self.joiner.left_out(),
        };
        held.copied().unwrap_or_else(here)
    }

    /// The first entry of a source that belongs to no line that was passed on, and what is left out there.
    pub fn mark(&self, source: Source) -> (u64, LeftOut) {
        match &self.held[source.index()] {
            Some(open) => (open.position.seq, open.left_out[source.index()]),
            None => (self.reader.position().seq, self.joiner.left_out()[source.index()]),
        }
    }

    /// Whether it holds lines that wait for their last chunk.
    pub fn holds_lines(&self) -> bool {
        self.joiner.held_since().is_some()
    }

    /// The entries that were lost since the last call.
    pub fn take_lost(&mut self) -> Lost {
        self.reader.take_lost()
    }

    /// Goes back to `place`, and forgets held chunks.
    pub fn seek(&mut self, place: &Place) {
        self.reader.seek(place.position);
        self.joiner = Joiner::new(self.most, place.left_out);
        self.held = [None, None];
        (self.bytes, self.entries) = (place.bytes, place.entries);
    }

    /// Frees memory until there is more to read.
    pub fn shrink(&mut self) {
        self.reader.shrink();
    }
}

/// Passes the lines that an entry at `here` completes to `take`, with the place where each begins; true when `take` has
/// enough. `held` is where the open line begins.
#[inline(never)]
fn join(
    joiner: &mut Joiner,
    held: &mut Option<Place>,
    entry: &Entry<'_>,
    here: Place,
    take: &mut impl FnMut(&Line<'_>, &dyn Fn() -> Place) -> bool,
) -> bool {
    let (open, seq) = (*held, here.position.seq);
    let mut enough = false;
    joiner.push(seq, *entry, |line| {
        let begin = || open.filter(|open| open.position.seq == line.first_seq).unwrap_or(here);
        enough |= take(&line, &begin);
    });
    match joiner.open_since(entry.source) {
        Some(first) if first == seq => *held = Some(here),
        Some(_) => {}
        None => *held = None,
    }
    enough
}
