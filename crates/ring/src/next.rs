//! Making room for new bytes: the segment grows, or another one begins, on disk or in memory.

use std::io;
use std::os::unix::fs::FileExt;

use super::active::{Active, STEP};
use super::appender::{Appender, Landed};
use super::format::{Header, OWNER};
use super::place::{self, Place};
use super::{Framing, MEMORY_BUDGET, Ring, RingError, Segment};

// === impl Appender ===

impl Appender {
    /// Grows the segment, or begins another, until `need` more bytes fit.
    pub(super) fn make_room<F: Framing>(&mut self, ring: &Ring, need: u64, landed: &mut Landed) -> io::Result<()> {
        if self.grow(ring, need)? { Ok(()) } else { self.begin::<F>(ring, landed) }
    }

    /// Grows the segment until `need` more bytes fit; false when it cannot hold them.
    fn grow(&mut self, ring: &Ring, need: u64) -> io::Result<bool> {
        let Some(active) = self.active.as_mut().filter(|active| active.takes(need)) else { return Ok(false) };
        let enough = active.landed + need.max(STEP.0 / 4);
        if active.allocated >= enough.min(active.header.capacity) {
            return Ok(true);
        }
        let to = (active.allocated + active.allocated.clamp(STEP.0, STEP.1))
            .max(active.landed + need)
            .min(active.header.capacity)
            .next_multiple_of(4096);
        ring.check_protected(to - active.allocated, active.memory)?;
        let has_room = ring.retire_for(to - active.allocated, active.memory);
        let start = active.header.data_start();
        if has_room.is_err() || place::allocate(&active.file, start + active.allocated, start + to).is_err() {
            // The segment stays as short as it is; the next one may find room, in memory at worst.
            return Ok(active.landed + need <= active.allocated);
        }
        active.allocated = to;
        let used = (start + to).max(place::used(&active.file));
        if let Some(segment) = ring.state().segments.back_mut() {
            segment.allocated = used;
        }
        Ok(true)
    }

    /// Begins another segment, in memory when the disk fails.
    fn begin<F: Framing>(&mut self, ring: &Ring, landed: &mut Landed) -> io::Result<()> {
        self.check_protected::<F>(ring)?;
        match self.begin_on_disk::<F>(ring) {
            Ok(left) => landed.left = landed.left.take().or(left),
            Err(error) => {
                if !self.is_in_memory() {
                    landed.in_memory = Some(error);
                }
                // A segment is a sixteenth of the budget. So these are at most 1 MiB each, less in a small ring, where
                // they must fit later.
                let header = ring.next_header::<F>(ring.options.budget.min(4 * MEMORY_BUDGET));
                let first = self.first_allocation(&header);
                ring.check_protected(header.data_start() + first, true)?;
                let made = Active::in_memory(ring, header, first)?;
                self.roll(ring, made)?;
            }
        }
        Ok(())
    }

    /// Begins a segment on disk; returns the error for which the last one was left too early.
    fn begin_on_disk<F: Framing>(&mut self, ring: &Ring) -> Result<Option<RingError>, RingError> {
        if let Some(errno) = self.shunned {
            let source = io::Error::from_raw_os_error(errno);
            return Err(RingError { doing: "write to a segment in", path: ring.dir.clone(), source });
        }
        ring.complete()?;
        let header = ring.next_header::<F>(ring.options.budget);
        let made = Active::on_disk(ring, header, self.first_allocation(&header))?;
        let header = made.0.header;
        let path = |number| place::segment_path(&ring.dir, number);
        let old = self.roll(ring, made).map_err(|source| {
            // A file without a header is not a segment.
            ring.remove_file(&path(header.number));
            RingError { doing: "begin the segment", path: path(header.number), source }
        })?;
        let refused = old.and_then(|old| Some((old.header.number, old.refused?)));
        Ok(refused.map(|(number, source)| RingError { doing: "go on in the segment", path: path(number), source }))
    }

    /// Leaves a segment that the disk has just refused in part. When no other can be created, the next read tries again
    /// before it moves any byte.
    pub(super) fn leave_refused<F: Framing>(&mut self, ring: &Ring, landed: &mut Landed) {
        if self.active.as_ref().is_some_and(|active| active.refused.is_some()) {
            let _ = self.begin::<F>(ring, landed);
        }
    }

    /// Moves on from memory, or from a file that is no longer in its place, to a new file on disk.
    ///
    /// # Errors
    /// When the disk still refuses writes.
    pub(super) fn come_back<F: Framing>(&mut self, ring: &Ring, landed: &mut Landed) -> Result<(), RingError> {
        let Some(active) = &mut self.active else { return Ok(()) };
        if active.memory {
            // The records to evict for it may be pinned.
            return self.check_protected::<F>(ring).map_or(Ok(()), |()| self.begin_on_disk::<F>(ring).map(drop));
        }
        active.look_for(&ring.dir);
        self.leave_refused::<F>(ring, landed);
        Ok(())
    }

    /// Whether a segment on disk would evict pinned records.
    fn check_protected<F: Framing>(&self, ring: &Ring) -> io::Result<()> {
        let header = ring.next_header::<F>(ring.options.budget);
        ring.check_protected(header.data_start() + self.first_allocation(&header), false)
    }

    fn is_in_memory(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.memory)
    }

    /// The space that the next segment needs at once.
    fn first_allocation(&self, next: &Header) -> u64 {
        Active::first_allocation(self.active.as_ref().map_or(0, |active| active.torn.len() as u64), next)
    }

    /// Moves from the active segment to `made`, with the torn bytes of the last record. Returns the former segment.
    fn roll(&mut self, ring: &Ring, made: (Active, Place)) -> io::Result<Option<Active>> {
        let (mut active, place) = made;
        let header = active.header;
        if let Some(old) = &mut self.active {
            old.seal(&mut ring.state());
            active.append(&old.torn)?;
            active.owner = old.owner;
        }
        active.file.write_all_at(&active.owner, OWNER)?;
        // From here on recovery finds the segment.
        active.file.write_all_at(&header.encode(), 0)?;

        let (memory, allocated) =
            (active.memory, (header.data_start() + active.allocated).max(place::used(&active.file)));
        let mut old = self.active.replace(active);
        if let Some(old) = &mut old {
            old.look_for(&ring.dir);
            if memory && !old.memory && old.cut_at.is_none() {
                // A kill takes these bytes from memory. If recovery found them here, it would join them to much later
                // bytes.
                let _ = old.file.set_len(old.header.data_start() + old.committed);
            }
        }
        let mut state = ring.state();
        if let (Some(old), Some(last)) = (&mut old, state.segments.back_mut()) {
            last.unwritten = std::mem::take(&mut old.unwritten);
            if old.cut_at.is_some() {
                // A damaged segment must be proven by checksums.
                last.trusted = false;
                last.place = Place::Disk(place::segment_path(&ring.dir, old.header.number));
                last.allocated = place::used(&old.file);
            }
            // A refused file stays readable while it is open.
            if !old.memory && old.refused.is_none() {
                last.place = Place::Disk(place::segment_path(&ring.dir, old.header.number));
                state.unsynced.insert(old.header.number);
            }
        }
        state.limit_open(&ring.dir);
        state.sealed.clear();
        state.next_number = header.number + 1;
        state.segments.push_back(Segment {
            number: header.number,
            first_seq: header.first_seq,
            next_seq: header.first_seq,
            first_time: i64::MAX,
            last_time: i64::MIN,
            data_start: header.data_start(),
            capacity: header.capacity,
            data_len: 0,
            allocated,
            trusted: true,
            memory,
            unwritten: Vec::new(),
            place,
        });
        Ok(old)
    }
}
