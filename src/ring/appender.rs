//! The writing side: land, commit, roll. The order of steps is the [module's](super) *Writing*.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::Instant;

use nix::errno::Errno;

use super::active::{Active, MOST, RETRY_DISK, STEP};
use super::format::{FILLER, Header, OWNER, SLOTS, encode_owner};
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

/// Where the next bytes of a stream go: the end of a segment's file.
#[derive(Clone, Copy, Debug)]
pub struct Landing<'a> {
    file: &'a File,
    offset: u64,
    room: usize,
}

/// The segment being written to, and bytes of writers that are not at work.
#[derive(Debug, Default)]
pub(super) struct Appender {
    active: Option<Active>,
    /// Torn bytes at the end of a stream, by owner, while another stream writes.
    parked: HashMap<[u8; 64], Vec<u8>>,
    /// Why the disk is not to be tried for the bytes that are to land.
    shunned: Option<i32>,
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

    /// Lets `bring` put bytes behind the last ones, and takes the records they complete into the ring.
    ///
    /// `bring` is given a place with room for at least one byte, and says how many it wrote there; when it fails or
    /// gives 0, nothing has changed. It is called again, with another place, when the file did not take them. For a
    /// kill to lose nothing it has to be one system call that leaves each byte either where it was or in the file, as
    /// splice(2) is.
    ///
    /// # Errors
    /// What `bring` returned. Before it is called: [`is_protected`](super::is_protected) when room could only be made
    /// of records that are, and others when neither disk nor memory has room.
    pub fn land<F: Framing>(
        &mut self,
        framing: &F,
        mut bring: impl FnMut(Landing<'_>) -> io::Result<usize>,
    ) -> io::Result<Landed> {
        let ring = &*self.ring;
        let mut appender = lock(&ring.appender);
        let mut landed = Landed::default();
        let mut tries = 0;
        let brought = loop {
            let active = appender.prepare::<F>(ring, &self.owner, &mut landed)?;
            let room = active.allocated.saturating_sub(active.landed).min(MOST);
            if room == 0 {
                // A read of nothing looks like the end of the stream.
                return Err(io::Error::other("the segment has no room"));
            }
            let offset = active.header.data_start() + active.landed;
            match bring(Landing { file: &active.file, offset, room: room as usize }) {
                Err(error) if is_the_files(&error) && tries < TRIES && !active.memory => {
                    active.spent = true;
                    tries += 1;
                    if tries == TRIES {
                        appender.shunned = error.raw_os_error();
                    }
                }
                brought => break brought,
            }
        };
        appender.shunned = None;
        landed.bytes = brought?;
        if landed.bytes > 0 {
            SCRATCH.with_borrow_mut(|bytes| appender.take_in(ring, framing, bytes, &mut landed))?;
        }
        Ok(landed)
    }

    /// Ends the stream: bytes of a record that will never be whole become filler, and what is whole among them is kept.
    pub fn finish<F: Framing>(&mut self, framing: &F) -> Landed {
        let ring = &*self.ring;
        let mut appender = lock(&ring.appender);
        let mut landed = Landed::default();
        if let Some(parked) = appender.parked.remove(&self.owner) {
            landed.garbage += parked.len() as u64;
        }
        while let Some(active) =
            appender.active.as_mut().filter(|active| active.owner == self.owner && !active.torn.is_empty())
        {
            let mut bytes = std::mem::take(&mut active.torn);
            bytes[0] = FILLER;
            appender.commit(ring, framing, &mut bytes, &mut landed);
        }
        landed
    }
}

thread_local! {
    /// What has landed, to be looked at. Few threads write, whatever the number of rings.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Files on disk that are tried for the same bytes, before memory takes them.
const TRIES: usize = 2;

/// Whether an error of moving bytes into a file is about the file, and not about where they come from.
fn is_the_files(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ENOSPC | Errno::EDQUOT | Errno::EROFS | Errno::EIO | Errno::EFBIG | Errno::ESTALE))
}

// === impl Landing ===

impl<'a> Landing<'a> {
    /// The file.
    pub fn file(&self) -> &'a File {
        self.file
    }

    /// Where in the file, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes may be put there.
    pub fn room(&self) -> usize {
        self.room
    }

    /// Puts as many of `bytes` there as fit.
    ///
    /// # Errors
    /// When the file does not take them.
    pub fn put(&self, bytes: &[u8]) -> io::Result<usize> {
        let fitting = &bytes[..bytes.len().min(self.room)];
        self.file.write_all_at(fitting, self.offset)?;
        Ok(fitting.len())
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
            self.park(ring);
            let returned = self.parked.remove(owner).unwrap_or_default();
            if !returned.is_empty() {
                self.make_room::<F>(ring, 1 + F::LONGEST as u64, landed)?;
            }
            if let Some(active) = &mut self.active {
                active.owner = *owner;
                let written = active.file.write_all_at(owner, OWNER).and_then(|()| active.append(&returned));
                if written.is_err() {
                    (active.spent, active.torn) = (true, returned);
                }
            }
            self.make_room::<F>(ring, 1, landed)?;
        }
        self.active.as_mut().ok_or_else(|| io::Error::other("the ring has no segment"))
    }

    /// Takes torn bytes of the present owner out of the segment, for its return.
    fn park(&mut self, ring: &Ring) {
        let Some(active) = self.active.as_mut().filter(|active| !active.torn.is_empty()) else { return };
        let torn = std::mem::take(&mut active.torn);
        let filler = vec![FILLER; torn.len()];
        let at = active.header.data_start() + active.committed;
        active.spent |= active.file.write_all_at(&filler, at).is_err();
        active.take(&filler);
        active.mark();
        active.publish(&mut ring.state());
        self.parked.insert(active.owner, torn);
    }

    /// Grows the segment, or begins another, until `need` more bytes fit.
    fn make_room<F: Framing>(&mut self, ring: &Ring, need: u64, landed: &mut Landed) -> io::Result<()> {
        let memory = self.active.as_mut().filter(|active| active.memory && active.takes(need));
        if let Some(active) = memory.filter(|active| Instant::now() >= active.retry_disk) {
            active.retry_disk = Instant::now() + RETRY_DISK;
            let header = ring.next_header::<F>(ring.options.budget);
            let first = Active::first_allocation(active.torn.len() as u64, &header);
            if let Ok(made) = Active::on_disk(ring, header, first)
                && self.roll(ring, made).is_ok()
            {
                return Ok(());
            }
        }
        if let Some(active) = self.active.as_mut().filter(|active| active.takes(need)) {
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
        let header = ring.next_header::<F>(ring.options.budget);
        let torn = self.active.as_ref().map_or(0, |active| active.torn.len() as u64);
        let first = |header: &Header| Active::first_allocation(torn, header);
        ring.check_protected(header.data_start() + first(&header), false)?;
        let why = match &self.shunned {
            Some(why) => RingError {
                doing: "write to a segment in",
                path: ring.dir.clone(),
                source: io::Error::from_raw_os_error(*why),
            },
            None => match Active::on_disk(ring, header, first(&header)) {
                Ok(made) => match self.roll(ring, made) {
                    Ok(()) => return Ok(()),
                    Err(source) => {
                        let path = place::segment_path(&ring.dir, header.number);
                        let _ = std::fs::remove_file(&path);
                        RingError { doing: "write to the new segment", path, source }
                    }
                },
                Err(error) => error,
            },
        };
        if !self.active.as_ref().is_some_and(|active| active.memory) {
            landed.in_memory = Some(why);
        }
        // A sixteenth of the budget is a segment: these are 1 MiB each.
        let header = ring.next_header::<F>(4 * MEMORY_BUDGET);
        let made = Active::in_memory(ring, header, first(&header))?;
        self.roll(ring, made)
    }

    /// Leaves the present segment for the one that was `made`, and takes the torn bytes of the last record along.
    fn roll(&mut self, ring: &Ring, made: (Active, Place)) -> io::Result<()> {
        let (mut active, place) = made;
        let header = active.header;
        if let Some(old) = &mut self.active {
            old.seal(&mut ring.state());
            active.append(&old.torn)?;
            active.owner = old.owner;
        }
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

    /// Looks at what has landed.
    fn take_in<F: Framing>(
        &mut self,
        ring: &Ring,
        framing: &F,
        bytes: &mut Vec<u8>,
        landed: &mut Landed,
    ) -> io::Result<()> {
        let Some(active) = &mut self.active else { return Ok(()) };
        let read = active.read_back(landed.bytes, bytes);
        if read.is_err() {
            // Nobody knows what is there; what comes next goes elsewhere.
            active.spent = true;
            landed.garbage += bytes.len() as u64;
            return read;
        }
        self.commit(ring, framing, bytes, landed);
        Ok(())
    }

    /// Takes whole records into the ring, and tells readers. `bytes` stand behind what is committed and are all there is.
    fn commit<F: Framing>(&mut self, ring: &Ring, framing: &F, bytes: &mut [u8], landed: &mut Landed) {
        let Some(active) = &mut self.active else { return };
        let mut at = 0;
        loop {
            let found = active.walk(framing, &mut bytes[at..]);
            at += found.bytes;
            landed.records += found.records;
            landed.garbage += found.garbage;
            if !found.block_is_full {
                break;
            }
            active.seal(&mut ring.state());
        }
        active.torn.clear();
        active.torn.extend_from_slice(&bytes[at..]);
        if at > 0 {
            active.dirty = true;
            active.mark();
            let mut state = ring.state();
            active.publish(&mut state);
            let next_seq = state.next_seq;
            drop(state);
            ring.published.send_modify(|published| {
                published.next_seq = next_seq;
                published.bytes += at as u64;
            });
        }
    }

    /// Writes down in a slot how far the open block goes, and gives the files that a sync must cover.
    pub(super) fn prepare_sync(&mut self) -> Result<Vec<Arc<File>>, RingError> {
        let mut files = Vec::new();
        if let Some(active) = self.active.as_mut().filter(|active| active.dirty && !active.memory) {
            let slot = active.open.as_block().encode();
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
