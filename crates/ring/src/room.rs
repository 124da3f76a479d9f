//! Eviction: the budget, what is removed to keep it, and what is pinned.

use std::io;
use std::ops::Range;
use std::path::Path;

use super::format::Header;
use super::lease::Lease;
use super::place::{self, Place};
use super::{BESIDE, Framing, MEMORY_BUDGET, MOST_OPEN, Protected, Ring, Segment, State, lock};

/// The files to evict.
#[derive(Debug, Default)]
struct Going {
    /// Segments, by index in the list.
    segments: Vec<usize>,
    /// The number of segments that were set aside.
    set_aside: usize,
}

// === impl Ring ===

impl Ring {
    /// The header of the next segment, in the shape for a ring of `budget` bytes.
    pub(super) fn next_header<F: Framing>(&self, budget: u64) -> Header {
        let state = self.state();
        Header::new::<F>(state.next_number, state.next_seq, budget, self.options.boot)
    }

    /// Fails if [`Ring::retire_for`] would evict pinned records.
    pub(super) fn check_protected(&self, more: u64, in_memory: bool) -> io::Result<()> {
        let Some(protected) = self.protected_from() else { return Ok(()) };
        let going = self.state().going(more, in_memory, self.budget(in_memory), Some(protected));
        going.map(drop).map_err(io::Error::other)
    }

    /// The number of the first pinned record.
    fn protected_from(&self) -> Option<u64> {
        lock(&self.protected).values().min().copied()
    }

    /// Evicts segments until `more` bytes fit the budget, on disk or in memory. The last one stays, because it is
    /// active.
    ///
    /// # Errors
    /// When the disk fails to remove a file.
    pub(super) fn retire_for(&self, more: u64, in_memory: bool) -> io::Result<()> {
        let protected = self.protected_from();
        let mut state = self.state();
        let budget = self.budget(in_memory);
        let going = state.going(more, in_memory, budget, protected);
        // If records were pinned since the check, the budget takes precedence.
        let going = going.or_else(|Protected| state.going(more, in_memory, budget, None)).unwrap_or_default();
        let gone = match going.segments.last() {
            Some(_) if in_memory => going.segments.iter().rev().flat_map(|at| state.take(*at..at + 1)).collect(),
            // Older segments in memory are evicted too.
            Some(last) => state.take(0..last + 1),
            None => Vec::new(),
        };
        let expired = state.set_aside.drain(..going.set_aside).collect();
        drop(state);
        self.remove(gone);
        self.expire(expired);
        if in_memory { Ok(()) } else { self.remove_leftovers(more) }
    }

    /// Evicts segments whose records are all before number `seq` and no longer needed. The active one stays. Does
    /// nothing when a [newer instance](Ring::open) has the folder.
    pub fn retire_before(&self, seq: u64) {
        let Some(_tenure) = self.lease.enter() else { return };
        let mut state = self.state();
        let done = state.closed_before(seq).count();
        let gone = state.take(0..done);
        drop(state);
        self.remove(gone);
    }

    /// Bytes on disk of the oldest segments whose records are all before number `seq`, without the active one.
    pub fn sizes_before(&self, seq: u64) -> Vec<u64> {
        let state = self.state();
        state.closed_before(seq).take_while(|segment| !segment.memory).map(|segment| segment.allocated).collect()
    }

    /// Evicts at most this many of these segments, the oldest first; returns their bytes. Also works for a read-only
    /// ring that no other has open. Does nothing when a [newer instance](Ring::open) has the folder.
    pub fn retire_oldest_before(&self, seq: u64, segments: usize) -> u64 {
        let unowned = if self.lease.is_none() { Lease::take_free(&self.dir) } else { None };
        let lease = unowned.as_ref().unwrap_or(&self.lease);
        let Some(_tenure) = lease.enter() else { return 0 };
        let mut state = self.state();
        // Found and taken under one lock, because an intake may evict some meanwhile.
        let segments = state.closed_before(seq).take_while(|segment| !segment.memory).take(segments).count();
        let gone = state.take(0..segments);
        drop(state);
        let bytes = gone.iter().map(|segment| segment.allocated).sum();
        self.remove(gone);
        bytes
    }

    /// Evicts all segments, if all records are before number `seq` and the ring has no torn record. Does nothing when a
    /// [newer instance](Ring::open) has the folder.
    pub fn retire_all_before(&self, seq: u64) {
        let Some(_tenure) = self.lease.enter() else { return };
        let _healing = lock(&self.healing);
        let mut appender = lock(&self.appender);
        let mut state = self.state();
        if state.next_seq > seq || !appender.has_whole_records_only() {
            return;
        }
        let all = state.segments.len();
        let gone = state.take(0..all);
        state.sealed.clear();
        drop(state);
        appender.active = None;
        self.remove(gone);
    }

    /// Removes the files of evicted segments, and frees their blocks even where a file is still open.
    fn remove(&self, gone: Vec<Segment>) {
        for segment in gone {
            if !segment.memory {
                let path = place::segment_path(&self.dir, segment.number);
                match &segment.place {
                    Place::Disk(path) => self.remove_file(path),
                    Place::Open(file) => {
                        place::cut(file);
                        // Another process may have put another file in its place.
                        if place::is_at(file, &path) {
                            self.remove_file(&path);
                        }
                    }
                }
            }
        }
    }

    pub(super) fn budget(&self, in_memory: bool) -> u64 {
        if in_memory { MEMORY_BUDGET } else { self.options.budget.saturating_sub(BESIDE) }
    }
}

// === impl State ===

impl State {
    /// Bytes in use, on disk or in memory.
    pub(super) fn used(&self, in_memory: bool) -> u64 {
        let segments = self.segments.iter().filter(|segment| segment.memory == in_memory);
        let used = segments.map(|segment| segment.allocated).sum::<u64>();
        if in_memory { used } else { used + self.used_aside() + self.used_by_leftovers() }
    }

    /// The oldest segments whose records are all before number `seq`, without the active one.
    fn closed_before(&self, seq: u64) -> impl Iterator<Item = &Segment> {
        let last = self.segments.len().saturating_sub(1);
        self.segments.iter().take(last).take_while(move |segment| segment.next_seq <= seq)
    }

    /// Bytes on disk of segments that were set aside.
    pub(super) fn used_aside(&self) -> u64 {
        self.set_aside.iter().map(|aside| aside.used).sum()
    }

    /// Chooses what to evict so that `more` bytes fit, the oldest first. A segment that was set aside is evicted in its
    /// turn, or instead of pinned records, which can still be sent.
    fn going(&self, more: u64, in_memory: bool, budget: u64, protected: Option<u64>) -> Result<Going, Protected> {
        let mut going = Going::default();
        let mut used = self.used(in_memory);
        let mut segments = self.retirable(in_memory).peekable();
        while used + more > budget {
            let aside = self.set_aside.get(going.set_aside).filter(|_| !in_memory);
            let segment = segments.peek().map(|at| (*at, &self.segments[*at]));
            let is_protected = |segment: &Segment| protected.is_some_and(|from| segment.next_seq > from);
            match (aside, segment) {
                (Some(aside), Some((_, segment))) if aside.number > segment.number && !is_protected(segment) => {}
                (Some(aside), _) => {
                    used = used.saturating_sub(aside.used);
                    going.set_aside += 1;
                    continue;
                }
                (None, Some((_, segment))) if is_protected(segment) => return Err(Protected),
                (None, Some(_)) => {}
                (None, None) => break,
            }
            if let Some((at, segment)) = segment {
                used = used.saturating_sub(segment.allocated);
                going.segments.push(at);
                segments.next();
            }
        }
        Ok(going)
    }

    /// Removes segments from the list, by index.
    fn take(&mut self, range: Range<usize>) -> Vec<Segment> {
        let gone: Vec<_> = self.segments.drain(range).collect();
        gone.iter().for_each(|segment| _ = self.unsynced.remove(&segment.number));
        self.retired_to = self.retired_to.max(gone.last().map_or(0, |last| last.next_seq));
        gone
    }

    /// Closes the oldest of too many files that are open because the disk refused a part of them or they were deleted.
    /// Records that are not in the folder either are then lost, and counted as damaged.
    pub(super) fn limit_open(&mut self, dir: &Path) {
        let last = self.segments.len().saturating_sub(1);
        let is_open = |segment: &&mut Segment| !segment.memory && matches!(segment.place, Place::Open(_));
        let mut open: Vec<_> = self.segments.iter_mut().take(last).filter(is_open).collect();
        let too_many = open.len().saturating_sub(MOST_OPEN);
        for segment in open.drain(..too_many) {
            segment.place = Place::Disk(place::segment_path(dir, segment.number));
        }
    }

    /// The segments that may be evicted, the oldest first.
    fn retirable(&self, in_memory: bool) -> impl Iterator<Item = usize> + '_ {
        let last = self.segments.len().saturating_sub(1);
        (0..last).filter(move |&at| self.segments[at].memory == in_memory)
    }
}
