//! Finds the last records of a ring: counts readable records, block by block from the end.
//!
//! Sequence numbers do not give that count: a power loss skips some, and damaged records are not shown. So blocks are
//! read and counted. This takes as long as reading the requested records, however large the ring is.

use std::io;

use super::super::format::Block;
use super::super::{Framing, Scan, Segment};
use super::{Lost, Reader};
use crate::Position;

impl Reader {
    /// Moves to the first of the last `count` readable records, or to the oldest if there are fewer.
    pub fn seek_last<F: Framing>(&mut self, count: u64, framing: &F) {
        self.find_last(count, framing);
        // Gaps found on the way are not lost for this reader.
        self.lost = Lost::default();
    }

    fn find_last<F: Framing>(&mut self, count: u64, framing: &F) {
        if count == 0 {
            return self.seek_end();
        }
        let (oldest, next_seq) = (self.ring.oldest(), self.ring.published().next_seq);
        let mut left = count;
        let (mut before, mut begins) = (u64::MAX, Vec::new());
        while next_seq - oldest.seq > count
            && let Some((segment, blocks)) = self.blocks_before(before)
        {
            before = segment.number;
            for block in blocks.iter().rev() {
                begins.clear();
                // An unreadable block shows no records either.
                let end = self.find_records(&segment, block, framing, &mut begins).unwrap_or(0);
                let shown = begins.len() as u64;
                let Some(to_skip) = shown.checked_sub(left) else {
                    left -= shown;
                    continue;
                };
                self.seek(Position { segment: segment.number, offset: block.offset, seq: block.first_seq });
                if shown == block.count
                    && let Some(begin) = begins.get(to_skip as usize)
                {
                    // The whole block is in the buffer.
                    self.chunk = (0, end);
                    self.consume(*begin, to_skip);
                    return;
                }
                let mut to_skip = to_skip;
                self.skip_while(framing, |_, _| to_skip.checked_sub(1).map(|rest| to_skip = rest).is_some());
                return;
            }
        }
        self.seek(oldest);
    }

    /// The last segment below a number, with all its blocks, the open one included.
    fn blocks_before(&mut self, number: u64) -> Option<(Segment, Vec<Block>)> {
        let (segment, sealed) = {
            let state = self.ring.state();
            let at = state.segments.partition_point(|segment| segment.number < number).checked_sub(1)?;
            state.look_at(at)
        };
        let mut blocks = sealed.or_else(|| self.load_index(&segment).ok()).unwrap_or_default();
        let (end, first_seq) = blocks.last().map_or((0, segment.first_seq), |last| (last.end(), last.next_seq()));
        // In a segment of another boot it would be in the index.
        if segment.trusted && end < segment.data_len {
            let (len, count) = (segment.data_len - end, segment.next_seq - first_seq);
            let (first_time, last_time) = (segment.first_time, segment.last_time);
            blocks.push(Block { offset: end, len, first_seq, count, first_time, last_time, crc: 0 });
        }
        Some((segment, blocks))
    }

    /// Reads a block into the buffer. Returns the beginnings of its readable records, and the end of the last one.
    fn find_records<F: Framing>(
        &mut self,
        segment: &Segment,
        block: &Block,
        framing: &F,
        begins: &mut Vec<usize>,
    ) -> io::Result<usize> {
        // The chunk read before belongs to another position.
        self.chunk = (0, 0);
        let proven = self.prove(segment, block)? as usize;
        let bytes = &self.buffer[..proven];
        begins.reserve(block.count.min(block.len) as usize);
        let (mut at, mut end) = (0, 0);
        while at < bytes.len() {
            at += match framing.scan(&bytes[at..]) {
                Scan::Record { len, .. } => {
                    begins.push(at);
                    end = at + len;
                    len
                }
                Scan::Garbage(len) => len,
                Scan::Incomplete => 1,
            };
        }
        Ok(end)
    }
}
