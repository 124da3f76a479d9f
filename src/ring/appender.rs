//! The writing side: land, commit, roll. The order of steps is the [module's](super) *Writing*.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

use super::active::{Active, RETRY_DISK, STEP, WINDOW};
use super::format::{FILLER, Header, MARK, OWNER, SLOTS, encode_owner};
use super::place::{self, Place};
use super::{Framing, MEMORY_BUDGET, Ring, RingError, Segment, lock};

/// Puts one stream's bytes into a ring.
#[derive(Debug)]
pub struct Writer {
    ring: Arc<Ring>,
    owner: [u8; 64],
}

/// What one [`Writer::land`] did.
#[derive(Debug, Default)]
pub struct Landed {
    /// Bytes read; 0 when the reading function gave 0.
    pub bytes: usize,
    /// Records that became readable.
    pub records: u64,
    /// Bytes that were no record.
    pub garbage: u64,
    /// Why the ring is in memory, when it is since this call.
    pub in_memory: Option<RingError>,
}

/// The segment being written to, and bytes of writers that are not at work.
#[derive(Debug, Default)]
pub(super) struct Appender {
    active: Option<Active>,
    /// Torn bytes at the end of a stream, by owner, while another stream writes; and [`Active::unsure`] of them.
    parked: HashMap<[u8; 64], (Vec<u8>, bool)>,
    /// Segments that were left since the last sync.
    unsynced: Vec<Arc<File>>,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(ring: Arc<Ring>, id: &str) -> Self {
        Self { ring, owner: encode_owner(id) }
    }

    /// The ring it writes to.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Lets `read` put bytes behind the last ones, and takes the records they complete into the ring.
    ///
    /// `read` is called once, with at least one byte of room, and says how many it wrote; when it fails or gives 0,
    /// nothing has changed. The room is a mapping of the segment: pages of it that the kernel is to write to must have
    /// been touched before, or a kill in the middle of a page fault leaves bytes in the room that are still in the pipe.
    ///
    /// # Errors
    /// What `read` returned. Before it is called: [`is_protected`](super::is_protected) when room could only be made of
    /// records that are, and others when neither disk nor memory has room.
    pub fn land<F: Framing>(
        &mut self,
        framing: &F,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<Landed> {
        let ring = &*self.ring;
        let mut appender = lock(&ring.appender);
        let mut landed = Landed::default();
        let active = appender.prepare::<F>(ring, &self.owner, &mut landed)?;
        let reserve = if active.unsure { F::LONGEST as u64 } else { 0 };
        let room = active.allocated.min(active.landed + reserve + WINDOW);
        let most = room.saturating_sub(active.landed + reserve) as usize;
        if most == 0 {
            // A read of nothing looks like the end of the stream.
            return Err(io::Error::other("the segment has no room"));
        }
        landed.bytes = read(&mut active.map(active.landed, room)?[..most])?;
        if landed.bytes > 0 {
            active.settle_zeros(framing, landed.bytes as u64)?;
            active.landed += landed.bytes as u64;
            appender.commit(ring, framing, &mut landed)?;
        }
        Ok(landed)
    }

    /// Ends the stream: bytes of a record that will never be whole become filler, and what is whole among them is kept.
    ///
    /// `drained` says that nothing that was written to the stream remains unread. Only then may zeros that a dead
    /// process had read make the last record whole: otherwise they would be made up.
    ///
    /// # Errors
    /// When the window cannot be mapped.
    pub fn finish<F: Framing>(&mut self, framing: &F, drained: bool) -> io::Result<Landed> {
        let ring = &*self.ring;
        let mut appender = lock(&ring.appender);
        let mut landed = Landed::default();
        if let Some(parked) = appender.parked.remove(&self.owner) {
            landed.garbage += parked.0.len() as u64;
        }
        let Some(active) = appender.active.as_mut().filter(|active| active.owner == self.owner) else {
            return Ok(landed);
        };
        if active.unsure && drained {
            active.settle_zeros(framing, 0)?;
            appender.commit(ring, framing, &mut landed)?;
        }
        while let Some(active) = appender.active.as_mut().filter(|active| active.committed < active.landed) {
            active.map(active.committed, active.landed)?[0] = FILLER;
            appender.commit(ring, framing, &mut landed)?;
        }
        Ok(landed)
    }
}

// === impl Appender ===

impl Appender {
    pub(super) fn resume(active: Option<Active>) -> Self {
        Self { active, ..Self::default() }
    }

    /// Makes sure that there is a segment with room, and that the bytes at its end are `owner`'s.
    fn prepare<F: Framing>(&mut self, ring: &Ring, owner: &[u8; 64], landed: &mut Landed) -> io::Result<&mut Active> {
        self.make_room::<F>(ring, 1, landed)?;
        if self.active.as_ref().is_some_and(|active| active.owner != *owner) {
            self.park(ring)?;
            let (returned, unsure) = self.parked.remove(owner).unwrap_or_default();
            if !returned.is_empty() {
                self.make_room::<F>(ring, 2 * F::LONGEST as u64, landed)?;
            }
            if let Some(active) = &mut self.active {
                active.file.write_all_at(owner, OWNER)?;
                active.owner = *owner;
                let end = active.landed + returned.len() as u64;
                active.map(active.landed, end)?.copy_from_slice(&returned);
                (active.landed, active.unsure) = (end, unsure);
            }
        }
        self.active.as_mut().ok_or_else(|| io::Error::other("the ring has no segment"))
    }

    /// Takes torn bytes of the present owner out of the segment, for its return.
    fn park(&mut self, ring: &Ring) -> io::Result<()> {
        let Some(active) = self.active.as_mut() else { return Ok(()) };
        if active.committed < active.landed {
            let torn = active.map(active.committed, active.landed)?;
            let parked = torn.to_vec();
            torn.fill(FILLER);
            self.parked.insert(active.owner, (parked, active.unsure));
            active.committed = active.landed;
            active.unsure = false;
            active.hash()?;
            active.file.write_all_at(&active.open.as_block(active.committed).encode(), MARK)?;
            active.publish(&mut ring.state());
        }
        Ok(())
    }

    /// Grows the segment, or begins another, until `need` more bytes fit.
    fn make_room<F: Framing>(&mut self, ring: &Ring, need: u64, landed: &mut Landed) -> io::Result<()> {
        if let Some(active) = &mut self.active {
            let need = active.need::<F>(need);
            let fits = active.landed + need <= active.header.capacity;
            if fits && active.memory && Instant::now() >= active.retry_disk {
                active.retry_disk = Instant::now() + RETRY_DISK;
                let header = ring.next_header::<F>(ring.options.budget);
                let first = active.first_allocation::<F>(&header);
                if let Ok(made) = Active::on_disk(ring, header, first) {
                    return self.roll(ring, made);
                }
            }
        }
        if let Some(active) = &mut self.active {
            let need = active.need::<F>(need);
            if active.landed + need <= active.header.capacity {
                let enough = active.landed + need.max(STEP.0 / 4);
                if active.allocated >= enough.min(active.header.capacity) {
                    return Ok(());
                }
                let to = (active.allocated + active.allocated.clamp(STEP.0, STEP.1))
                    .max(active.landed + need)
                    .min(active.header.capacity)
                    .next_multiple_of(4096);
                ring.check_protected(to - active.allocated, active.memory)?;
                ring.retire_for(to - active.allocated, active.memory);
                let start = active.header.data_start();
                match place::allocate(&active.file, start + active.allocated, start + to) {
                    Ok(()) => {
                        active.allocated = to;
                        if let Some(segment) = ring.state().segments.back_mut() {
                            segment.allocated = start + to;
                        }
                        return Ok(());
                    }
                    // The segment stays as short as it is; the next one may find room, if need be in memory.
                    Err(_) if active.landed + need <= active.allocated => return Ok(()),
                    Err(_) => {}
                }
            }
        }
        let header = ring.next_header::<F>(ring.options.budget);
        let first = |header: &Header| match &self.active {
            Some(active) => active.first_allocation::<F>(header),
            None => STEP.0.min(header.capacity),
        };
        ring.check_protected(header.data_start() + first(&header), false)?;
        let made = match Active::on_disk(ring, header, first(&header)) {
            Ok(made) => made,
            Err(error) => {
                if !self.active.as_ref().is_some_and(|active| active.memory) {
                    landed.in_memory = Some(error);
                }
                // A sixteenth of the budget is a segment: these are 1 MiB each.
                let header = ring.next_header::<F>(4 * MEMORY_BUDGET);
                Active::in_memory(ring, header, first(&header))?
            }
        };
        self.roll(ring, made)
    }

    /// Leaves the present segment for the one that was `made`, and takes the torn bytes of the last record along.
    fn roll(&mut self, ring: &Ring, made: (Active, Place)) -> io::Result<()> {
        let (mut active, place) = made;
        let header = active.header;
        let mut torn = Vec::new();
        if let Some(old) = &mut self.active {
            old.seal(&mut ring.state())?;
            torn = old.map(old.committed, old.landed)?.to_vec();
            (active.owner, active.unsure) = (old.owner, old.unsure);
        }
        let end = torn.len() as u64;
        active.map(0, end)?.copy_from_slice(&torn);
        active.landed = end;
        active.file.write_all_at(&active.owner, OWNER)?;
        // From here on the segment exists.
        active.file.write_all_at(&header.encode(), 0)?;

        let mut state = ring.state();
        if let (Some(old), Some(last)) = (&self.active, state.segments.back_mut())
            && !old.memory
        {
            last.place = Place::Disk(place::segment_path(&ring.dir, last.number));
            self.unsynced.push(old.file.clone());
        }
        state.sealed.clear();
        state.next_number = header.number + 1;
        state.segments.push_back(Segment {
            number: header.number,
            first_seq: header.first_seq,
            next_seq: header.first_seq,
            first_time: i64::MAX,
            last_time: i64::MIN,
            data_start: header.data_start(),
            data_len: 0,
            allocated: header.data_start() + active.allocated,
            trusted: true,
            memory: active.memory,
            place,
        });
        self.active = Some(active);
        Ok(())
    }

    /// Walks what was read, and tells readers.
    fn commit<F: Framing>(&mut self, ring: &Ring, framing: &F, landed: &mut Landed) -> io::Result<()> {
        let Some(active) = &mut self.active else { return Ok(()) };
        let before = active.committed;
        loop {
            let found = active.walk(framing)?;
            landed.records += found.records;
            landed.garbage += found.garbage;
            if !found.block_is_full {
                break;
            }
            active.seal(&mut ring.state())?;
        }
        if active.committed > before {
            active.dirty = true;
            // A whole record may end in zeros, which do not show in the file.
            active.file.write_all_at(&active.open.as_block(active.committed).encode(), MARK)?;
            let mut state = ring.state();
            active.publish(&mut state);
            let next_seq = state.next_seq;
            drop(state);
            ring.published.send_modify(|published| {
                published.next_seq = next_seq;
                published.bytes += active.committed - before;
            });
        }
        Ok(())
    }

    /// Writes down in a slot how far the open block goes, and gives the files that a sync must cover.
    pub(super) fn prepare_sync(&mut self) -> Result<Vec<Arc<File>>, RingError> {
        let mut files = Vec::new();
        if let Some(active) = self.active.as_mut().filter(|active| active.dirty && !active.memory) {
            let slot = active.open.as_block(active.committed).encode();
            active.file.write_all_at(&slot, SLOTS[active.syncs % 2]).map_err(|source| RingError {
                doing: "write a slot of segment",
                path: active.header.number.to_string().into(),
                source,
            })?;
            active.syncs += 1;
            active.dirty = false;
            files.push(active.file.clone());
        }
        files.append(&mut self.unsynced);
        Ok(files)
    }

    /// The disk did not take what [`Appender::prepare_sync`] gave: the next sync covers it too.
    pub(super) fn sync_failed(&mut self, files: Vec<Arc<File>>) {
        self.unsynced.extend(files);
        if let Some(active) = &mut self.active {
            active.dirty = true;
        }
    }
}
