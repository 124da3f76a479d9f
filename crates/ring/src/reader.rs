//! The reading side: any number of readers. The writer does not know about them and never waits for them.

mod tail;

use std::io;
use std::sync::Arc;

use super::format::{Block, FILLER};
use super::place::Place;
use super::{Framing, Position, Ring, Scan, Segment, State, place, recovery, resume};
use base::buffers;

/// The most bytes that one read from an open-ended chunk brings.
const CHUNK: u64 = 256 * 1024;

/// Reads a ring from a position on. It holds no lock and no file between calls, so unread segments may be evicted.
#[derive(Debug)]
pub struct Reader {
    ring: Arc<Ring>,
    position: Position,
    buffer: Vec<u8>,
    /// The unread part of `buffer`, from begin to end; it belongs to `position`.
    chunk: (usize, usize),
    /// The index of the segment that was read last, kept for its checksums.
    index: Option<(u64, Vec<Block>)>,
    lost: Lost,
}

/// Bytes at a reader's position: at least one whole record, further records with filler between, and possibly the
/// beginning of another.
#[derive(Clone, Copy, Debug)]
pub struct Chunk<'a> {
    /// The number of the first record in it.
    pub first_seq: u64,
    /// The position of the bytes.
    pub position: Position,
    /// The bytes.
    pub bytes: &'a [u8],
}

/// The number of records that a reader missed since the last call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Records evicted before they were read, because the ring was full.
    pub overwritten: u64,
    /// Records that were damaged on disk, or lost in a power loss or with their file.
    pub damaged: u64,
}

/// The place of a reader in the ring.
enum Next {
    /// The reader is in this segment, before its end.
    Segment(Segment),
    /// The reader is at the end of the ring.
    End,
}

// === impl State ===

impl State {
    /// The segment at index `at`, with its sealed blocks if they are in memory, which is so for the active segment.
    fn look_at(&self, at: usize) -> (Segment, Option<Vec<Block>>) {
        let segment = self.segments[at].clone();
        // The last segment of another boot is not active.
        let is_written_to = at + 1 == self.segments.len() && segment.trusted;
        (segment, is_written_to.then(|| self.sealed.clone()))
    }
}

// === impl Lost ===

impl Lost {
    /// Moves `seq` to `to` and counts the missing records. Those below `retired_to` were evicted, the others damaged.
    fn pass(&mut self, seq: &mut u64, to: u64, retired_to: u64) {
        let missing = to.saturating_sub(*seq);
        let retired = to.min(retired_to).saturating_sub(*seq);
        self.overwritten += retired;
        self.damaged += missing - retired;
        *seq += missing;
    }
}

// === impl Reader ===

impl Drop for Reader {
    fn drop(&mut self) {
        self.shrink();
    }
}

impl Reader {
    pub(super) fn new(ring: Arc<Ring>, position: Position) -> Self {
        Self { ring, position, buffer: Vec::new(), chunk: (0, 0), index: None, lost: Lost::default() }
    }

    /// The position of the next record.
    pub fn position(&self) -> Position {
        self.position
    }

    /// Returns and resets the counts of missed records.
    pub fn take_lost(&mut self) -> Lost {
        std::mem::take(&mut self.lost)
    }

    /// Moves back or forward to a position.
    pub fn seek(&mut self, position: Position) {
        self.position = position;
        self.chunk = (0, 0);
    }

    /// Frees the buffer's memory, for a reader that is about to wait.
    pub fn shrink(&mut self) {
        buffers::give(&mut self.buffer);
        self.chunk = (0, 0);
        self.index = None;
    }

    /// The bytes at the position, or `None` at the end of the ring. The position stays until [`Reader::advance`].
    pub fn fill(&mut self) -> Option<Chunk<'_>> {
        base::lock::may_wait();
        loop {
            let filler = self.buffer[self.chunk.0..self.chunk.1].iter().take_while(|&&byte| byte == FILLER).count();
            self.consume(filler, 0);
            if self.chunk.0 < self.chunk.1 {
                break;
            }
            match self.next() {
                Next::End => return None,
                Next::Segment(segment) => self.read(&segment),
            }
        }
        Some(Chunk {
            first_seq: self.position.seq,
            position: self.position,
            bytes: &self.buffer[self.chunk.0..self.chunk.1],
        })
    }

    /// Moves past `bytes` of the chunk, which hold `records` records. The rest of the chunk, the beginning of another
    /// record, is read again with the bytes behind it. `bytes` of 0 means that the chunk does not begin with a record:
    /// this moves to the next record and counts the missing ones as damaged.
    pub fn advance<F: Framing>(&mut self, bytes: usize, records: u64, framing: &F) {
        self.consume(bytes, records);
        self.chunk = (0, 0);
        if bytes == 0 {
            self.pass_damage(framing);
        }
    }

    /// Moves to the next record of the block. The number of lost records follows from the number of remaining ones,
    /// because the number of the block's last record is known.
    fn pass_damage<F: Framing>(&mut self, framing: &F) {
        let found = {
            let state = self.ring.state();
            let at = state.segments.iter().position(|segment| segment.number == self.position.segment);
            at.map(|at| state.look_at(at))
        };
        // The segment was evicted meanwhile; the next call finds the gap.
        let Some((segment, sealed)) = found else { return };
        let blocks = sealed.or_else(|| self.load_index(&segment).ok()).unwrap_or_default();
        let block = blocks.iter().find(|block| self.position.offset < block.end());
        let (end, next_seq) =
            block.map_or((segment.data_len, segment.next_seq), |block| (block.end(), block.next_seq()));
        let mut bytes = vec![0; end.saturating_sub(self.position.offset) as usize];
        let from = segment.data_start + self.position.offset;
        if segment.place.file().and_then(|file| place::read_exact(&file, &mut bytes, from)).is_err() {
            return self.pass_to(end, next_seq);
        }
        // Skips the first byte: it begins no record, or the caller had not asked.
        let (mut at, mut first, mut left) = (1, None, 0);
        while at < bytes.len() {
            match framing.scan(&bytes[at..]) {
                Scan::Record { len, .. } => {
                    first.get_or_insert(at as u64);
                    left += 1;
                    at += len;
                }
                Scan::Garbage(len) => at += len,
                Scan::Incomplete => at += 1,
            }
        }
        let seq = next_seq.saturating_sub(left).max(self.position.seq);
        self.lost.damaged += seq - self.position.seq;
        self.position.offset = first.map_or(end, |first| self.position.offset + first);
        self.position.seq = seq;
    }

    fn consume(&mut self, bytes: usize, records: u64) {
        self.position.offset += bytes as u64;
        self.position.seq += records;
        self.chunk.0 = (self.chunk.0 + bytes).min(self.chunk.1);
    }

    /// Moves to the end of a segment that cannot be read.
    fn pass(&mut self, segment: &Segment) {
        self.pass_to(segment.data_len, segment.next_seq);
    }

    /// Moves past damage to a place in the same segment.
    fn pass_to(&mut self, offset: u64, next_seq: u64) {
        self.lost.damaged += next_seq.saturating_sub(self.position.seq);
        self.position.offset = offset;
        self.position.seq = next_seq.max(self.position.seq);
    }

    /// Moves to the first record whose time is at least `time`, or to the end.
    pub fn seek_time<F: Framing>(&mut self, time: i64, framing: &F) {
        let oldest = self.ring.oldest();
        self.seek(oldest);
        self.seek_block(|segment| segment.last_time >= time, |block| block.last_time >= time);
        self.skip_while(framing, |_, found| found < time);
        self.lost = Lost::default();
    }

    /// Moves to the end of the ring, to read only new records.
    pub fn seek_end(&mut self) {
        let end = {
            let state = self.ring.state();
            match state.segments.back() {
                Some(last) => Position { segment: last.number, offset: last.data_len, seq: last.next_seq },
                None => Position { segment: 0, offset: 0, seq: state.next_seq },
            }
        };
        self.seek(end);
    }

    /// Moves to the first block, of the first segment, that both conditions accept; or to the end.
    fn seek_block(&mut self, in_segment: impl Fn(&Segment) -> bool, in_block: impl Fn(&Block) -> bool) {
        let found = {
            let state = self.ring.state();
            let at = state.segments.iter().position(in_segment);
            at.map(|at| state.look_at(at))
        };
        let Some((segment, sealed)) = found else {
            self.seek_end();
            return;
        };
        let blocks = match sealed {
            Some(sealed) => sealed,
            None => self.load_index(&segment).unwrap_or_default(),
        };
        let block = blocks.iter().find(|block| in_block(block));
        // If no sealed block matches, the record is behind them.
        let (offset, seq) = match (block, blocks.last()) {
            (Some(block), _) => (block.offset, block.first_seq),
            (None, Some(last)) => (last.end(), last.next_seq()),
            (None, None) => (0, segment.first_seq),
        };
        self.seek(Position { segment: segment.number, offset, seq });
    }

    /// Moves past records while `skip`, given their number and time, returns true.
    fn skip_while<F: Framing>(&mut self, framing: &F, mut skip: impl FnMut(u64, i64) -> bool) {
        loop {
            let Some(chunk) = self.fill() else { return };
            let (mut at, mut records) = (0, 0);
            let done = loop {
                let rest = &chunk.bytes[at..];
                let filler = rest.iter().take_while(|&&byte| byte == FILLER).count();
                match framing.scan(&rest[filler..]) {
                    Scan::Record { len, time } if skip(chunk.first_seq + records, time) => {
                        at += filler + len;
                        records += 1;
                    }
                    Scan::Record { .. } => break true,
                    // The chunk ends here; committed bytes are never garbage.
                    Scan::Incomplete | Scan::Garbage(_) => break false,
                }
                if at == chunk.bytes.len() {
                    break false;
                }
            };
            if done {
                self.consume(at, records);
                return;
            }
            self.advance(at, records, framing);
        }
    }

    /// Finds the segment of the position, and counts the records in gaps.
    fn next(&mut self) -> Next {
        let state = self.ring.state();
        loop {
            let here = self.position.segment;
            let at = state.segments.partition_point(|segment| segment.number < here);
            match state.segments.get(at) {
                Some(segment) if segment.number == here && self.position.offset < segment.data_len => {
                    return Next::Segment(segment.clone());
                }
                Some(segment) => {
                    let next = if segment.number == here { state.segments.get(at + 1) } else { Some(segment) };
                    let Some(next) = next else {
                        // Numbers may have been skipped here, see recovery.
                        self.lost.pass(&mut self.position.seq, state.next_seq, state.retired_to);
                        return Next::End;
                    };
                    self.lost.pass(&mut self.position.seq, next.first_seq, state.retired_to);
                    self.position = Position { segment: next.number, offset: 0, seq: self.position.seq };
                }
                None => {
                    self.lost.pass(&mut self.position.seq, state.next_seq, state.retired_to);
                    return Next::End;
                }
            }
        }
    }

    /// Reads bytes at the position into the buffer, or moves past unreadable ones.
    fn read(&mut self, segment: &Segment) {
        let outcome = match segment.trusted {
            // If the whole cannot be read, a single block may be readable.
            true => self.read_open(segment).or_else(|_| self.read_block(segment)),
            false => self.read_block(segment),
        };
        match outcome {
            Ok(()) => {}
            Err(_) if !self.is_where_it_was(segment) => {
                // Evicted or moved since the lookup; the next call finds the gap, or the new place.
            }
            Err(_) => self.pass(segment),
        }
    }

    /// Provides `len` bytes in the buffer.
    fn room(&mut self, len: usize) -> &mut [u8] {
        if self.buffer.is_empty() {
            self.buffer = buffers::take(CHUNK as usize);
        }
        if self.buffer.len() < len {
            self.buffer.resize(len, 0);
        }
        &mut self.buffer[..len]
    }

    /// Reads from a segment of this boot: as much as fits.
    fn read_open(&mut self, segment: &Segment) -> io::Result<()> {
        let len = (segment.data_len - self.position.offset).min(CHUNK) as usize;
        let file = segment.place.file()?;
        let from = segment.data_start + self.position.offset;
        place::read_exact(&file, self.room(len), from)?;
        self.chunk = (0, len);
        Ok(())
    }

    /// Reads one block. In a segment of an earlier boot only what a checksum proves counts; the rest is skipped and
    /// counted.
    fn read_block(&mut self, segment: &Segment) -> io::Result<()> {
        let blocks = self.load_index(segment)?;
        let offset = self.position.offset;
        let found = blocks.iter().find(|block| offset < block.end()).copied();
        let block = found.ok_or_else(|| io::Error::other("the index of the segment ends before its data"))?;
        let proven = self.prove(segment, &block);
        let (end, next_seq) = (block.end(), block.next_seq());
        let from = offset.saturating_sub(block.offset);
        self.index = Some((segment.number, blocks));
        let proven = match proven {
            // An evicted file is truncated before it is removed.
            Err(error) if error.kind() == io::ErrorKind::NotFound || !self.is_where_it_was(segment) => {
                return Err(error);
            }
            // The disk cannot read the block.
            proven => proven.unwrap_or(0),
        };
        if from < proven {
            self.chunk = (from as usize, proven as usize);
        } else {
            self.lost.damaged += next_seq.saturating_sub(self.position.seq);
            self.position.offset = end;
            self.position.seq = next_seq;
        }
        Ok(())
    }

    /// Reads a block into the buffer, and returns how many of its bytes can be trusted.
    fn prove(&mut self, segment: &Segment, block: &Block) -> io::Result<u64> {
        let file = segment.place.file()?;
        let bytes = self.room(block.len as usize);
        let at = segment.data_start + block.offset;
        if segment.trusted {
            place::read_exact(&file, bytes, at)?;
            return Ok(block.len);
        }
        // A power loss may have kept the index entry and a file that ends inside the block.
        bytes.fill(0);
        place::read_up_to(&file, bytes, at)?;
        if crc32fast::hash(bytes) == block.crc {
            return Ok(block.len);
        }
        // A power loss may keep the entry and lose the end of the block. What a sync covered survives.
        let prefix = resume::read_slots(&file)?.into_iter().find(|slot| {
            let covered = bytes.get(..slot.len as usize);
            slot.offset == block.offset && covered.is_some_and(|bytes| crc32fast::hash(bytes) == slot.crc)
        });
        Ok(prefix.map_or(0, |slot| slot.len))
    }

    /// The index of a segment, from memory if it was the last one asked for.
    fn load_index(&mut self, segment: &Segment) -> io::Result<Vec<Block>> {
        if let Some((number, blocks)) = self.index.take()
            && number == segment.number
        {
            return Ok(blocks);
        }
        let file = match &segment.place {
            Place::Open(file) => file.clone(),
            place => place.file()?,
        };
        let header = recovery::read_header(&file, &self.ring.options)?.map_err(io::Error::other)?;
        Ok(recovery::read_index(&file, &header, &segment.unwritten)?.blocks)
    }

    fn is_where_it_was(&self, segment: &Segment) -> bool {
        let state = self.ring.state();
        let now = state.segments.iter().find(|now| now.number == segment.number);
        now.is_some_and(|now| match (&now.place, &segment.place) {
            (Place::Disk(now), Place::Disk(then)) => now == then,
            (Place::Open(now), Place::Open(then)) => Arc::ptr_eq(now, then),
            _ => false,
        })
    }
}
