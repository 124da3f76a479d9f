//! Room for what comes: the budget, what goes to keep it, and what must not.

use std::io;

use super::format::Header;
use super::place::{self, Place};
use super::{Framing, MEMORY_BUDGET, Protected, Ring, Segment, State, lock};

// === impl Ring ===

impl Ring {
    /// The header of the segment that comes next, in the shape of a ring of `budget` bytes.
    pub(super) fn next_header<F: Framing>(&self, budget: u64) -> Header {
        let state = self.state();
        Header::new::<F>(state.next_number, state.next_seq, budget, self.options.boot)
    }

    /// Whether [`Ring::retire_for`] would take records that are protected.
    pub(super) fn check_protected(&self, more: u64, in_memory: bool) -> io::Result<()> {
        let Some(protected) = lock(&self.protected).values().min().copied() else { return Ok(()) };
        let state = self.state();
        let mut used = state.used(in_memory);
        for at in state.retirable(in_memory) {
            if used + more <= self.budget(in_memory) {
                break;
            }
            if state.segments[at].next_seq > protected {
                return Err(io::Error::other(Protected));
            }
            used -= state.segments[at].allocated;
        }
        Ok(())
    }

    /// Retires segments until `more` bytes fit the budget, on disk or in memory. The last one stays: it is written to.
    pub(super) fn retire_for(&self, more: u64, in_memory: bool) {
        let mut state = self.state();
        while state.used(in_memory) + more > self.budget(in_memory) {
            let Some(oldest) = state.retirable(in_memory).next() else { return };
            // What is in memory and older has no reason to stay when this goes.
            let first = if in_memory { oldest } else { 0 };
            state.note_retired(oldest);
            for segment in state.segments.drain(first..=oldest) {
                if let Place::Disk(path) = &segment.place {
                    // What cannot be removed now is found when the ring is opened again.
                    let _ = std::fs::remove_file(path);
                }
            }
        }
    }

    /// Removes segments whose records are all before number `seq`, which nobody needs any more. The one that is written
    /// to stays.
    pub fn retire_before(&self, seq: u64) {
        let mut state = self.state();
        let last = state.segments.len().saturating_sub(1);
        let done = state.segments.iter().take(last).take_while(|segment| segment.next_seq <= seq).count();
        if let Some(last) = done.checked_sub(1) {
            state.note_retired(last);
        }
        state.segments.drain(..done).for_each(|segment| self.remove(&segment));
    }

    /// Bytes on disk of the oldest segments whose records are all before number `seq`; the one that is written to is not
    /// among them.
    pub fn sizes_before(&self, seq: u64) -> Vec<u64> {
        let state = self.state();
        let last = state.segments.len().saturating_sub(1);
        let done = state.segments.iter().take(last).take_while(|segment| segment.next_seq <= seq && !segment.memory);
        done.map(|segment| segment.allocated).collect()
    }

    /// Removes so many of these segments, the oldest first; gives their bytes. Also for a ring that was only looked at,
    /// while nobody has it open.
    pub fn retire_oldest_before(&self, seq: u64, segments: usize) -> u64 {
        let segments = self.sizes_before(seq).len().min(segments);
        let gone: Vec<Segment> = self.state().segments.drain(..segments).collect();
        gone.iter().for_each(|segment| self.remove(segment));
        gone.iter().map(|segment| segment.allocated).sum()
    }

    /// Removes all segments, if all records are before number `seq` and no more than whole records has landed.
    pub fn retire_all_before(&self, seq: u64) {
        let _nobody_heals = lock(&self.healing);
        let mut appender = lock(&self.appender);
        let mut state = self.state();
        if state.next_seq > seq || !appender.has_whole_records_only() {
            return;
        }
        state.segments.drain(..).for_each(|segment| self.remove(&segment));
        state.sealed.clear();
        appender.active = None;
        appender.unsynced.clear();
    }

    fn remove(&self, segment: &Segment) {
        if !segment.memory {
            // What cannot be removed now is found when the ring is opened again.
            let _ = std::fs::remove_file(place::segment_path(&self.dir, segment.number));
        }
    }

    pub(super) fn budget(&self, in_memory: bool) -> u64 {
        if in_memory { MEMORY_BUDGET } else { self.options.budget }
    }
}

// === impl State ===

impl State {
    /// Bytes on disk or in memory.
    fn used(&self, in_memory: bool) -> u64 {
        self.segments.iter().filter(|segment| segment.memory == in_memory).map(|segment| segment.allocated).sum()
    }

    /// The segment at `at` is about to go.
    fn note_retired(&mut self, at: usize) {
        let end = self.segments.get(at).map_or(0, |segment| segment.next_seq);
        self.retired_to = self.retired_to.max(end);
    }

    /// Segments that may be retired, the oldest first.
    fn retirable(&self, in_memory: bool) -> impl Iterator<Item = usize> + '_ {
        let last = self.segments.len().saturating_sub(1);
        (0..last).filter(move |&at| self.segments[at].memory == in_memory)
    }
}
