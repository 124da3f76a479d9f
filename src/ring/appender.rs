//! The writing side: land, walk, seal, roll. The order of steps is the [module's](super) *Writing*.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::format::{BLOCK, Block, ENTRY, FILLER, Header, INDEX, MARK, OWNER, SLOTS, encode_owner};
use super::place::{self, Place};
use super::window::Window;
use super::{Framing, INFO, MEMORY_BUDGET, Ring, RingError, Scan, Segment, State, lock};
use crate::disk;

/// The most one `read(2)` brings, and about what a busy ring keeps mapped.
const WINDOW: u64 = if cfg!(test) { 8192 } else { 256 * 1024 };

/// A file grows by at least and at most this much.
const STEP: (u64, u64) = if cfg!(test) { (4096, 4096) } else { (64 * 1024, 1024 * 1024) };

/// How often the disk is tried again while segments are made in memory.
const RETRY_DISK: Duration = Duration::from_secs(10);

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

/// All offsets count from the beginning of the data.
#[derive(Debug)]
pub(super) struct Active {
    pub header: Header,
    pub file: Arc<File>,
    pub memory: bool,
    /// When the disk is worth another try; only in memory.
    retry_disk: Instant,
    window: Option<Window>,
    /// Bytes of data that have room in the file.
    pub allocated: u64,
    /// End of the last whole record.
    pub committed: u64,
    /// End of the last byte that was read.
    pub landed: u64,
    /// Set after a crash: zeros may have been read behind `landed`.
    pub unsure: bool,
    pub open: Open,
    /// Index entries written.
    pub sealed: u64,
    pub owner: [u8; 64],
    /// Counts syncs, to take the slots in turn.
    pub syncs: usize,
    /// Something was committed since the last sync.
    pub dirty: bool,
}

/// The block being filled.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub offset: u64,
    pub first_seq: u64,
    pub count: u64,
    pub first_time: i64,
    pub last_time: i64,
    /// Over the bytes from `offset` to `hashed`.
    hasher: crc32fast::Hasher,
    hashed: u64,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(ring: Arc<Ring>, id: &str) -> Self {
        Self { ring, owner: encode_owner(id) }
    }

    /// Lets `read` put bytes behind the last ones, and takes the records they complete into the ring.
    ///
    /// `read` is called once, with at least one byte of room, and says how many it wrote; when it fails or gives 0, nothing has changed.
    ///
    /// # Errors
    /// What `read` returned; or, before `read` was called, that neither disk nor memory has room.
    pub fn land<F: Framing>(
        &mut self,
        framing: &F,
        read: impl FnOnce(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<Landed> {
        let ring = &*self.ring;
        let mut appender = lock(&ring.appender);
        let mut landed = Landed::default();
        let active = appender.prepare::<F>(ring, &self.owner, &mut landed)?;
        let room = active.allocated.min(active.landed + WINDOW);
        let reserve = if active.unsure { F::LONGEST as u64 } else { 0 };
        let most = room.saturating_sub(active.landed + reserve) as usize;
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
    /// `drained` says that nothing that was written to the stream remains unread. Only then may zeros that a dead process had
    /// read make the last record whole: otherwise they would be made up.
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
            self.make_room::<F>(ring, 2 * F::LONGEST as u64, landed)?;
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
                if let Ok(made) = Active::on_disk(ring, header) {
                    return self.roll::<F>(ring, made);
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
        let made = match Active::on_disk(ring, ring.next_header::<F>(ring.options.budget)) {
            Ok(made) => made,
            Err(error) => {
                if !self.active.as_ref().is_some_and(|active| active.memory) {
                    landed.in_memory = Some(error);
                }
                // A sixteenth of the budget is a segment: these are 1 MiB each.
                Active::in_memory(ring, ring.next_header::<F>(4 * MEMORY_BUDGET))?
            }
        };
        self.roll::<F>(ring, made)
    }

    /// Leaves the present segment for the one that was `made`, and takes the torn bytes of the last record along.
    fn roll<F: Framing>(&mut self, ring: &Ring, made: (Active, Place)) -> io::Result<()> {
        let (mut active, place) = made;
        let header = active.header;
        let mut torn = Vec::new();
        if let Some(old) = &mut self.active {
            old.seal(&mut ring.state())?;
            torn = old.map(old.committed, old.landed)?.to_vec();
            (active.owner, active.unsure) = (old.owner, old.unsure);
        }
        let end = torn.len() as u64;
        let enough = (end + active.need::<F>(1) + STEP.0 / 4).next_multiple_of(4096).min(header.capacity);
        if end > 0 && active.allocated < enough {
            let start = header.data_start();
            place::allocate(&active.file, start + active.allocated, start + enough)?;
            active.allocated = enough;
        }
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
        let mut files = std::mem::take(&mut self.unsynced);
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
        Ok(files)
    }
}

/// What one walk over new bytes found.
struct Walked {
    records: u64,
    garbage: u64,
    block_is_full: bool,
}

// === impl Active ===

impl Active {
    fn new(header: Header, file: File, memory: bool) -> Self {
        Self {
            header,
            file: Arc::new(file),
            memory,
            retry_disk: Instant::now() + RETRY_DISK,
            window: None,
            allocated: 0,
            committed: 0,
            landed: 0,
            unsure: false,
            open: Open::at(0, header.first_seq),
            sealed: 0,
            owner: [0; 64],
            syncs: 0,
            dirty: false,
        }
    }

    /// A segment that was being written to when the process before this one died.
    pub(super) fn recovered(header: Header, file: File) -> Self {
        Self::new(header, file, false)
    }

    fn on_disk(ring: &Ring, header: Header) -> Result<(Self, Place), RingError> {
        disk::make_dir(&ring.dir).map_err(|source| RingError {
            doing: "make the directory",
            path: ring.dir.clone(),
            source,
        })?;
        if let Some(info) = &*lock(&ring.describe) {
            let path = ring.dir.join(INFO);
            if !path.exists() {
                disk::write_whole(&path, info).map_err(|source| RingError { doing: "write", path, source })?;
            }
        }
        let path = place::segment_path(&ring.dir, header.number);
        let first = STEP.0.min(header.capacity);
        ring.retire_for(header.data_start() + first, false);
        let file = place::create(&path)?;
        let mut active = Self::new(header, file, false);
        if let Err(source) = place::allocate(&active.file, 0, header.data_start() + first) {
            // Nothing is in it, and its room is needed.
            let _ = std::fs::remove_file(&path);
            return Err(RingError { doing: "find room for the segment", path, source });
        }
        active.allocated = first;
        let place = Place::Open(active.file.clone());
        Ok((active, place))
    }

    fn in_memory(ring: &Ring, header: Header) -> io::Result<(Self, Place)> {
        let first = STEP.0.min(header.capacity);
        ring.retire_for(header.data_start() + first, true);
        let mut active = Self::new(header, place::create_in_memory()?, true);
        place::allocate(&active.file, 0, header.data_start() + first)?;
        active.allocated = first;
        let place = Place::Open(active.file.clone());
        Ok((active, place))
    }

    /// The bytes from `from` to `to`; the window moves there if it is elsewhere.
    fn map(&mut self, from: u64, to: u64) -> io::Result<&mut [u8]> {
        if from == to {
            return Ok(&mut []);
        }
        let start = self.header.data_start();
        if !self.window.as_ref().is_some_and(|window| window.covers(start + from, start + to)) {
            // Torn bytes before `from` are looked at again when more has come.
            let begin = (start + from.min(self.committed)) & !4095;
            let end = (start + self.allocated).min(begin + WINDOW + (to - from)).max(start + to);
            self.window = None;
            self.window = Some(Window::map(&self.file, begin, end - begin)?);
        }
        let window = self.window.as_mut().ok_or_else(|| io::Error::other("the window is gone"))?;
        Ok(window.bytes_mut(start + from, start + to))
    }

    /// Room that `more` bytes need. After a kill a whole record must come with one read, and zeros may go before it.
    fn need<F: Framing>(&self, more: u64) -> u64 {
        more + if self.unsure { 2 * F::LONGEST as u64 } else { 0 }
    }

    /// Puts the zeros back that a dead process had read between the torn bytes and the `new` ones behind them.
    fn settle_zeros<F: Framing>(&mut self, framing: &F, new: u64) -> io::Result<()> {
        if !std::mem::take(&mut self.unsure) {
            return Ok(());
        }
        let (committed, landed) = (self.committed, self.landed);
        let torn = (landed - committed) as usize;
        // The zeros are in the file already where nothing was read behind them.
        let room = self.allocated.min(landed + new + F::LONGEST as u64);
        let bytes = self.map(committed, room)?;
        let zeros = framing.zeros_between(&bytes[..torn], &bytes[torn..torn + new as usize]);
        if zeros > 0 && torn + zeros + new as usize <= bytes.len() {
            bytes.copy_within(torn..torn + new as usize, torn + zeros);
            bytes[torn..torn + zeros].fill(0);
            self.landed += zeros as u64;
        }
        Ok(())
    }

    /// Takes whole records into the open block until the bytes or the block end.
    fn walk<F: Framing>(&mut self, framing: &F) -> io::Result<Walked> {
        let mut found = Walked { records: 0, garbage: 0, block_is_full: false };
        let (committed, landed) = (self.committed, self.landed);
        let mut open = self.open.clone();
        let bytes = self.map(committed, landed)?;
        let mut at = 0;
        while at < bytes.len() && !found.block_is_full {
            match framing.scan(&bytes[at..]) {
                Scan::Record { len, time } => {
                    open.count += 1;
                    open.first_time = open.first_time.min(time);
                    open.last_time = open.last_time.max(time);
                    at += len;
                    found.records += 1;
                }
                Scan::Garbage(len) => {
                    bytes[at..at + len].fill(FILLER);
                    at += len;
                    found.garbage += len as u64;
                }
                Scan::Incomplete => break,
            }
            found.block_is_full = committed + at as u64 - open.offset >= BLOCK;
        }
        self.committed += at as u64;
        self.open = open;
        self.hash()?;
        Ok(found)
    }

    /// Takes what was committed into the checksum of the open block.
    fn hash(&mut self) -> io::Result<()> {
        let (from, to) = (self.open.hashed, self.committed);
        let mut hasher = self.open.hasher.clone();
        hasher.update(self.map(from, to)?);
        (self.open.hasher, self.open.hashed) = (hasher, to);
        Ok(())
    }

    /// Walks bytes that a dead process had read; they are whole records up to where the torn one begins.
    pub(super) fn walk_again<F: Framing>(&mut self, framing: &F, state: &mut State) -> io::Result<()> {
        loop {
            let found = self.walk(framing)?;
            if !found.block_is_full {
                break;
            }
            self.seal(state)?;
        }
        self.publish(state);
        Ok(())
    }

    /// Writes the index entry of the open block and begins the next one.
    fn seal(&mut self, state: &mut State) -> io::Result<()> {
        if self.committed == self.open.offset {
            return Ok(());
        }
        let block = self.open.as_block(self.committed);
        self.file.write_all_at(&block.encode(), INDEX + self.sealed * ENTRY as u64)?;
        self.sealed += 1;
        self.open = Open::at(block.end(), block.next_seq());
        self.dirty = true;
        self.publish(state);
        state.sealed.push(block);
        if let Some(segment) = state.segments.back_mut() {
            segment.first_time = segment.first_time.min(block.first_time);
            segment.last_time = segment.last_time.max(block.last_time);
        }
        Ok(())
    }

    /// Shows readers how far the segment goes.
    fn publish(&self, state: &mut State) {
        let next_seq = self.open.first_seq + self.open.count;
        state.next_seq = next_seq;
        if let Some(segment) = state.segments.back_mut() {
            segment.next_seq = next_seq;
            segment.data_len = self.committed;
            segment.first_time = segment.first_time.min(self.open.first_time);
            segment.last_time = segment.last_time.max(self.open.last_time);
        }
    }
}

// === impl Open ===

impl Open {
    pub(super) fn at(offset: u64, first_seq: u64) -> Self {
        Self {
            offset,
            first_seq,
            count: 0,
            first_time: i64::MAX,
            last_time: i64::MIN,
            hasher: crc32fast::Hasher::new(),
            hashed: offset,
        }
    }

    /// How far the checksum goes, which is how far the block goes between commits.
    pub(super) fn hashed(&self) -> u64 {
        self.hashed
    }

    /// The block that a mark describes.
    pub(super) fn marked(mark: &Block) -> Self {
        Self {
            offset: mark.offset,
            first_seq: mark.first_seq,
            count: mark.count,
            first_time: mark.first_time,
            last_time: mark.last_time,
            hasher: crc32fast::Hasher::new_with_initial_len(mark.crc, mark.len),
            hashed: mark.end(),
        }
    }

    /// The block as it is when it ends at `end`, up to where it was hashed.
    fn as_block(&self, end: u64) -> Block {
        Block {
            offset: self.offset,
            len: end - self.offset,
            first_seq: self.first_seq,
            count: self.count,
            first_time: self.first_time,
            last_time: self.last_time,
            crc: self.hasher.clone().finalize(),
        }
    }
}

// === impl Ring ===

impl Ring {
    /// The header of the segment that comes next, in the shape of a ring of `budget` bytes.
    fn next_header<F: Framing>(&self, budget: u64) -> Header {
        let state = self.state();
        Header::new::<F>(state.next_number, state.next_seq, budget, self.options.boot)
    }

    /// Retires segments until `more` bytes fit the budget, on disk or in memory. The last one stays: it is written to.
    fn retire_for(&self, more: u64, in_memory: bool) {
        let budget = if in_memory { MEMORY_BUDGET } else { self.options.budget };
        let mut state = self.state();
        loop {
            let of_kind = |segment: &Segment| segment.memory == in_memory;
            let used: u64 = state.segments.iter().filter(|s| of_kind(s)).map(|s| s.allocated).sum();
            let last = state.segments.len().saturating_sub(1);
            let oldest = state.segments.iter().take(last).position(of_kind);
            let Some(oldest) = oldest.filter(|_| used + more > budget) else { return };
            if let Some(segment) = state.segments.remove(oldest) {
                state.retired_records += segment.records();
                if let Place::Disk(path) = &segment.place {
                    // What cannot be removed now is removed when the ring is opened again: its number is below the first.
                    let _ = std::fs::remove_file(path);
                }
            }
        }
    }
}
