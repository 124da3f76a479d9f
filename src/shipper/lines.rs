//! Ring to lines: entries read from a position on, and joined.

use std::sync::Arc;

use crate::codec::partial::{Joiner, Line};
use crate::codec::{Source, frame};
use crate::frames::DockerFrames;
use crate::ring::{Lost, Position, Reader, Ring};

/// Reads the lines of one container.
#[derive(Debug)]
pub struct Lines {
    reader: Reader,
    joiner: Joiner,
    /// Where the entries begin that the joiner holds, by source.
    held: [Option<Position>; 2],
}

// === impl Lines ===

impl Lines {
    /// Lines from a position on.
    pub fn new(ring: &Arc<Ring>, position: Position) -> Self {
        Self { reader: ring.reader_at(position), joiner: Joiner::default(), held: [None, None] }
    }

    /// Gives lines to `take`, with the place where each begins, until it says that it has enough, or the ring ends; true
    /// when it has. Entries of a source below its number in `pass_below` are passed over.
    pub fn read(
        &mut self,
        pass_below: [u64; 2],
        mut take: impl FnMut(&Line<'_>, &dyn Fn() -> Position) -> bool,
    ) -> bool {
        let Self { reader, joiner, held } = self;
        let mut enough = false;
        while let Some(chunk) = { if enough { None } else { reader.fill() } } {
            let mut entries = frame::entries(chunk.bytes);
            let (mut seq, mut used) = (chunk.first_seq, 0);
            while !enough && let Some(entry) = entries.next() {
                let source = entry.source.index();
                if seq >= pass_below[source] {
                    let here = || Position { offset: chunk.position.offset + used as u64, seq, ..chunk.position };
                    joiner.push(seq, entry, |line| {
                        let begin = || held[source].filter(|open| open.seq == line.first_seq).unwrap_or_else(here);
                        enough |= take(&line, &begin);
                    });
                    match joiner.open_since(entry.source) {
                        Some(first) if first == seq => held[source] = Some(here()),
                        Some(_) => {}
                        None => held[source] = None,
                    }
                }
                used = entries.position();
                seq += 1;
            }
            let records = seq - chunk.first_seq;
            reader.advance(used, records, &DockerFrames);
        }
        enough
    }

    /// Gives lines that will never be whole as they are.
    pub fn flush(&mut self, mut take: impl FnMut(&Line<'_>, &dyn Fn() -> Position)) {
        for source in Source::ALL {
            let open = self.held[source.index()].take();
            self.joiner.flush(source, |line| take(&line, &|| open.unwrap_or_default()));
        }
    }

    /// The entry that comes next.
    pub fn position(&self) -> Position {
        self.reader.position()
    }

    /// Where reading has to begin again for every line that was not given out.
    pub fn restart(&self) -> Position {
        let held = self.held.iter().flatten().min_by_key(|position| position.seq);
        held.copied().unwrap_or_else(|| self.reader.position())
    }

    /// Whether lines are held that wait for their last chunk.
    pub fn holds_lines(&self) -> bool {
        self.joiner.held_since().is_some()
    }

    /// What was lost since the last call.
    pub fn take_lost(&mut self) -> Lost {
        self.reader.take_lost()
    }

    /// Goes back, and forgets what it holds.
    pub fn seek(&mut self, position: Position) {
        self.reader.seek(position);
        self.joiner = Joiner::default();
        self.held = [None, None];
    }

    /// Gives memory back until there is more to read.
    pub fn shrink(&mut self) {
        self.reader.shrink();
    }
}
