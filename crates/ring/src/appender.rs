//! The writing side: land, commit, and begin [`super::next`] segments. See *Writing* in the [crate](super) for the
//! order.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use nix::errno::Errno;

use super::active::{Active, MOST};
use super::format::{FILLER, OWNER, SLOTS, encode_owner};
use super::{Framing, Revoked, Ring, RingError, lock};

/// Writes one stream's bytes into a ring.
#[derive(Debug)]
pub struct Writer {
    ring: Arc<Ring>,
    owner: [u8; 64],
}

/// The result of one [`Writer::land`].
#[derive(Debug, Default)]
pub struct Landed {
    /// Bytes that landed; 0 when `bring` returned 0.
    pub bytes: usize,
    /// Records that became readable.
    pub records: u64,
    /// Bytes that belong to no record.
    pub garbage: u64,
    /// The error for which this call moved the ring to memory.
    pub in_memory: Option<RingError>,
    /// The error for which this call left a file before it was full and began another.
    pub left: Option<RingError>,
}

/// The place for the next bytes of a stream: the end of a segment's file.
#[derive(Clone, Copy, Debug)]
pub struct Landing<'a> {
    file: &'a File,
    offset: u64,
    room: usize,
}

/// The active segment, and torn bytes of inactive writers.
#[derive(Debug, Default)]
pub(super) struct Appender {
    pub active: Option<Active>,
    /// Torn bytes at the end of a stream, by owner, while another stream writes.
    parked: HashMap<[u8; 64], Vec<u8>>,
    /// The error number for which the disk is not tried for the next bytes.
    pub shunned: Option<i32>,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new(ring: Arc<Ring>, id: &str) -> Self {
        Self { ring, owner: encode_owner(id) }
    }

    /// The ring that it writes to.
    pub fn ring(&self) -> &Ring {
        &self.ring
    }

    /// Lets `bring` append bytes to the ring, and commits the records that they complete.
    ///
    /// `bring` gets a place with room for at least one byte, and returns how many bytes it wrote there. If it fails or
    /// returns 0, nothing has changed. It is called again, with another place, when the file refused the bytes. A kill
    /// loses nothing if `bring` makes one system call that leaves each byte either at its source or in the file, such
    /// as splice(2).
    ///
    /// # Errors
    /// The error of `bring`. Before `bring` is called: [`is_protected`](super::is_protected) when the ring is full of
    /// pinned records, [`is_revoked`](super::is_revoked) when a newer instance of the ring has the folder, and others
    /// when neither disk nor memory has room.
    pub fn land<F: Framing>(
        &mut self,
        framing: &F,
        mut bring: impl FnMut(Landing<'_>) -> io::Result<usize>,
    ) -> io::Result<Landed> {
        let ring = &*self.ring;
        let Some(_tenure) = ring.lease.enter() else { return Err(io::Error::other(Revoked)) };
        let mut appender = lock(&ring.appender);
        appender.shunned = None;
        let mut landed = Landed::default();
        let mut tries = 0;
        let brought = loop {
            let active = appender.prepare::<F>(ring, &self.owner, &mut landed)?;
            let room = active.allocated.saturating_sub(active.landed).min(MOST);
            if room == 0 {
                // A read of 0 bytes would look like the end of the stream.
                return Err(io::Error::other("the segment has no room"));
            }
            let offset = active.header.data_start() + active.landed;
            match bring(Landing { file: &active.file, offset, room: room as usize }) {
                Err(error) if is_the_files(&error) && tries < TRIES && !active.memory => {
                    tries += 1;
                    let shunned = error.raw_os_error().filter(|_| tries == TRIES);
                    active.refused.get_or_insert(error);
                    appender.shunned = shunned;
                }
                brought => break brought,
            }
        };
        appender.shunned = None;
        landed.bytes = brought?;
        if landed.bytes > 0 {
            SCRATCH.with_borrow_mut(|scratch| appender.take_in(ring, framing, scratch, &mut landed));
            appender.leave_refused::<F>(ring, &mut landed);
        }
        Ok(landed)
    }

    /// Removes and returns the torn record at the end, because another path has its rest. The caller calls this when it
    /// reads the rest elsewhere, so that the next bytes are not joined to it.
    pub fn take_torn(&mut self) -> Vec<u8> {
        let mut appender = lock(&self.ring.appender);
        if appender.active.as_ref().is_some_and(|active| active.owner == self.owner) {
            appender.park(&self.ring);
        }
        appender.parked.remove(&self.owner).unwrap_or_default()
    }

    /// Ends the stream: whole records inside its torn bytes are kept, and the rest becomes filler. Does nothing when a
    /// newer instance of the ring has the folder.
    pub fn finish<F: Framing>(&mut self, framing: &F) -> Landed {
        let ring = &*self.ring;
        let Some(_tenure) = ring.lease.enter() else { return Landed::default() };
        let mut appender = lock(&ring.appender);
        let mut landed = Landed::default();
        if let Some(active) = &mut appender.active {
            active.look_at_length();
        }
        appender.leave_refused::<F>(ring, &mut landed);
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
    /// The buffer for walking new bytes. It is per thread, because few threads write to many rings.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The number of files on disk that are tried for the same bytes before memory.
const TRIES: usize = 2;

/// Whether an error of moving bytes into a file comes from the file, and not from the source.
fn is_the_files(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::ENOSPC | Errno::EDQUOT | Errno::EROFS | Errno::EIO | Errno::EFBIG | Errno::ESTALE))
}

// === impl Landing ===

impl<'a> Landing<'a> {
    /// The file to write to.
    pub fn file(&self) -> &'a File {
        self.file
    }

    /// The offset in the file, in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The most bytes that fit.
    pub fn room(&self) -> usize {
        self.room
    }

    /// Writes as many of `bytes` as fit.
    ///
    /// # Errors
    /// When the file refuses them.
    pub fn put(&self, bytes: &[u8]) -> io::Result<usize> {
        let fitting = &bytes[..bytes.len().min(self.room)];
        self.file.write_all_at(fitting, self.offset)?;
        Ok(fitting.len())
    }
}

// === impl Appender ===

impl Appender {
    /// Continues in a segment.
    pub(super) fn resume(active: Active) -> Self {
        Self { active: Some(active), ..Self::default() }
    }

    /// Begins behind a closed segment. Torn bytes at its end wait for their writer.
    pub(super) fn behind(closed: Active) -> Self {
        Self { parked: HashMap::from([(closed.owner, closed.torn)]), ..Self::default() }
    }

    /// The number of the active segment.
    pub(super) fn number(&self) -> Option<u64> {
        self.active.as_ref().map(|active| active.header.number)
    }

    /// Whether no torn record is waiting for its rest.
    pub(super) fn has_whole_records_only(&self) -> bool {
        self.parked.is_empty() && self.active.as_ref().is_none_or(|active| active.torn.is_empty())
    }

    /// Prepares a segment with room whose torn bytes, if any, belong to `owner`.
    fn prepare<F: Framing>(&mut self, ring: &Ring, owner: &[u8; 64], landed: &mut Landed) -> io::Result<&mut Active> {
        if let Some(active) = &mut self.active {
            active.look_at_length();
        }
        self.make_room::<F>(ring, 1, landed)?;
        let is_theirs = |active: &Active| active.owner == *owner;
        if self.parked.contains_key(owner) || !self.active.as_ref().is_some_and(is_theirs) {
            self.give_back::<F>(ring, owner, landed)?;
            self.make_room::<F>(ring, 1, landed)?;
        }
        self.active.as_mut().ok_or_else(|| io::Error::other("the ring has no segment"))
    }

    /// Makes `owner` the active writer. Its torn bytes leave memory only after they have landed, so an error at any
    /// step loses none of them.
    fn give_back<F: Framing>(&mut self, ring: &Ring, owner: &[u8; 64], landed: &mut Landed) -> io::Result<()> {
        let returned = self.parked.get(owner).map_or(0, Vec::len) as u64;
        if returned > 0 {
            // Checked before any change: the ring may be full of pinned records.
            self.make_room::<F>(ring, 1 + returned, landed)?;
        }
        self.park(ring);
        for tries in 1.. {
            let Some(active) = &mut self.active else { break };
            active.owner = *owner;
            active.note(OWNER, *owner);
            let Some(returned) = self.parked.get(owner) else { break };
            match active.append(returned) {
                Ok(()) => {
                    self.parked.remove(owner);
                    break;
                }
                // Memory is the last resort.
                Err(error) if active.memory => return Err(error),
                Err(error) => {
                    let need = 1 + returned.len() as u64;
                    self.shunned = error.raw_os_error().filter(|_| tries == TRIES);
                    active.refused.get_or_insert(error);
                    self.make_room::<F>(ring, need, landed)?;
                }
            }
        }
        Ok(())
    }

    /// Moves the torn bytes of the active owner from the segment to memory, until that owner writes again.
    fn park(&mut self, ring: &Ring) {
        let Some(active) = self.active.as_mut().filter(|active| !active.torn.is_empty()) else { return };
        let torn = std::mem::take(&mut active.torn);
        let filler = vec![FILLER; torn.len()];
        let at = active.header.data_start() + active.committed;
        if let Err(error) = active.file.write_all_at(&filler, at) {
            active.refused.get_or_insert(error);
            // The next process must not join other bytes to them either.
            let _ = active.file.set_len(at);
        } else {
            active.take(&filler);
            active.mark();
            active.publish(&mut ring.state());
        }
        self.parked.insert(active.owner, torn);
    }

    /// Walks the bytes that have landed.
    fn take_in<F: Framing>(&mut self, ring: &Ring, framing: &F, scratch: &mut Vec<u8>, landed: &mut Landed) {
        let Some(active) = &mut self.active else { return };
        let all = active.torn.len() + landed.bytes;
        match active.read_back(landed.bytes, scratch) {
            Ok(bytes) => self.commit(ring, framing, bytes, landed),
            Err(error) => {
                // The bytes cannot be read back, so the next ones go to another segment.
                landed.garbage += all as u64;
                active.refused.get_or_insert(error);
            }
        }
    }

    /// Commits whole records and wakes readers. `bytes` follow the committed ones and are all there is.
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

    /// Writes the end of the open block into a slot, and returns the file that a sync must cover.
    pub(super) fn prepare_sync(&mut self) -> Option<Arc<File>> {
        let active = self.active.as_mut().filter(|active| active.dirty && !active.memory)?;
        active.note(SLOTS[active.syncs % 2], active.open.as_block().encode());
        active.syncs += 1;
        active.dirty = false;
        Some(active.file.clone())
    }

    /// Records that the disk failed the sync of [`Appender::prepare_sync`]: the next sync covers the same records.
    pub(super) fn sync_failed(&mut self) {
        if let Some(active) = &mut self.active {
            active.dirty = true;
        }
    }
}
