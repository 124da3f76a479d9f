//! Finding the last records of a ring: block by block from the end, counting what a reader will show.
//!
//! Numbers do not tell how many records there are: some are passed over after a power loss, and what is damaged is not
//! shown. So blocks are read and counted, which takes as long as reading the records that were asked for, however large
//! the ring is.

use std::io;

use super::super::format::Block;
use super::super::{Framing, Scan, Segment};
use super::{Lost, Reader};
use crate::ring::Position;

impl Reader {
    /// Goes to where the last `count` records begin that can be read, or to the oldest if there are fewer.
    pub fn seek_last<F: Framing>(&mut self, count: u64, framing: &F) {
        self.find_last(count, framing);
        // What was passed on the way is nobody's loss.
        self.lost = Lost::default();
    }

    fn find_last<F: Framing>(&mut self, count: u64, framing: &F) {
        if count == 0 {
            return self.seek_end();
        }
        let (oldest, next_seq) = (self.ring.oldest(), self.ring.published().next_seq);
        let mut left = count;
        let mut before = u64::MAX;
        while next_seq - oldest.seq > count
            && let Some((segment, blocks)) = self.blocks_before(before)
        {
            before = segment.number;
            for block in blocks.iter().rev() {
                // What cannot be read is not shown either.
                let shown = self.count(&segment, block, framing).unwrap_or(0);
                if shown >= left {
                    self.seek(Position { segment: segment.number, offset: block.offset, seq: block.first_seq });
                    let mut to_skip = shown - left;
                    self.skip_while(framing, |_, _| to_skip.checked_sub(1).map(|rest| to_skip = rest).is_some());
                    return;
                }
                left -= shown;
            }
        }
        self.seek(oldest);
    }

    /// The last segment below a number, with all its blocks: also the one that is being filled.
    fn blocks_before(&mut self, number: u64) -> Option<(Segment, Vec<Block>)> {
        let (segment, sealed) = {
            let state = self.ring.state();
            let at = state.segments.partition_point(|segment| segment.number < number).checked_sub(1)?;
            state.look_at(at)
        };
        let mut blocks = sealed.or_else(|| self.load_index(&segment).ok()).unwrap_or_default();
        let (end, first_seq) = blocks.last().map_or((0, segment.first_seq), |last| (last.end(), last.next_seq()));
        // Of another boot, it would be in the index.
        if segment.trusted && end < segment.data_len {
            let (len, count) = (segment.data_len - end, segment.next_seq - first_seq);
            let (first_time, last_time) = (segment.first_time, segment.last_time);
            blocks.push(Block { offset: end, len, first_seq, count, first_time, last_time, crc: 0 });
        }
        Some((segment, blocks))
    }

    /// How many records of a block a reader will show.
    fn count<F: Framing>(&mut self, segment: &Segment, block: &Block, framing: &F) -> io::Result<u64> {
        // The chunk that was read belongs to another position.
        self.chunk = (0, 0);
        let proven = self.prove(segment, block)? as usize;
        let bytes = &self.buffer[..proven];
        let (mut at, mut records) = (0, 0);
        while at < bytes.len() {
            at += match framing.scan(&bytes[at..]) {
                Scan::Record { len, .. } => {
                    records += 1;
                    len
                }
                Scan::Garbage(len) => len,
                Scan::Incomplete => 1,
            };
        }
        Ok(records)
    }
}
