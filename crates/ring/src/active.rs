//! The segment being written to: its file, the torn record at its end, and the block being filled.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::format::{BLOCK, Block, ENTRY, FILLER, Header, INDEX, MARK, Note};
use super::place::{self, Place};
use super::{Framing, Ring, RingError, Scan, State};

/// The most that lands at once: a busy stream's bytes are looked at while they are in the processor's cache.
pub(super) const MOST: u64 = if cfg!(any(test, small_rings)) { 8192 } else { 256 * 1024 };

/// A file grows by at least and at most this much.
pub(super) const STEP: (u64, u64) = if cfg!(any(test, small_rings)) { (4096, 4096) } else { (64 * 1024, 1024 * 1024) };

/// All offsets count from the beginning of the data.
#[derive(Debug)]
pub(super) struct Active {
    pub header: Header,
    pub file: Arc<File>,
    pub memory: bool,
    /// Why it has to be left for another segment.
    pub refused: Option<io::Error>,
    /// How long somebody has left the file, when it was cut.
    pub cut_at: Option<u64>,
    /// What the disk did not take of its structures.
    pub unwritten: Vec<Note>,
    /// Bytes of data that have room in the file.
    pub allocated: u64,
    /// End of the last whole record.
    pub committed: u64,
    /// End of the last byte that landed, and of the file.
    pub landed: u64,
    /// The bytes from `committed` to `landed`, which are no whole record.
    pub torn: Vec<u8>,
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
    /// Over its bytes, of which there are so many.
    hasher: crc32fast::Hasher,
    len: u64,
}

/// What one walk over new bytes found.
pub(super) struct Walked {
    /// From the first one to the end of the last record, or of what was none.
    pub bytes: usize,
    pub records: u64,
    pub garbage: u64,
    pub block_is_full: bool,
}

// === impl Active ===

impl Active {
    pub(super) fn new(header: Header, file: File, memory: bool) -> Self {
        Self {
            header,
            file: Arc::new(file),
            memory,
            refused: None,
            cut_at: None,
            unwritten: Vec::new(),
            allocated: 0,
            committed: 0,
            landed: 0,
            torn: Vec::new(),
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

    /// Makes a segment with room for `first` bytes of data, under the first number from the header's on that is free.
    pub(super) fn on_disk(ring: &Ring, mut header: Header, first: u64) -> Result<(Self, Place), RingError> {
        ring.make_dir()?;
        let (file, number) = place::create_segment(&ring.dir, header.number)?;
        header.number = number;
        let path = place::segment_path(&ring.dir, number);
        // A disk that takes no file costs no other.
        let has_room = ring.retire_for(header.data_start() + first, false);
        let mut active = Self::new(header, file, false);
        if let Err(source) = has_room.and_then(|()| active.make_room(first)) {
            // Nothing is in it, and its room is needed.
            ring.remove_file(&path);
            return Err(RingError { doing: "find room for the segment", path, source });
        }
        let place = Place::Open(active.file.clone());
        Ok((active, place))
    }

    /// The same without the disk.
    pub(super) fn in_memory(ring: &Ring, header: Header, first: u64) -> io::Result<(Self, Place)> {
        ring.retire_for(header.data_start() + first, true)?;
        let mut active = Self::new(header, place::create_in_memory()?, true);
        active.make_room(first)?;
        let place = Place::Open(active.file.clone());
        Ok((active, place))
    }

    /// Room for the structures before the data, and for `first` bytes of it.
    fn make_room(&mut self, first: u64) -> io::Result<()> {
        let start = self.header.data_start();
        place::allocate(&self.file, 0, start + first)?;
        self.file.set_len(start)?;
        self.allocated = first;
        Ok(())
    }

    /// Whether `more` bytes are to go to this segment.
    pub(super) fn takes(&self, more: u64) -> bool {
        self.refused.is_none() && self.landed + more <= self.header.capacity
    }

    /// What a segment must have room for at once: so many torn bytes of the one before, and what lands behind them.
    pub(super) fn first_allocation(torn: u64, header: &Header) -> u64 {
        (torn + STEP.0).next_multiple_of(4096).min(header.capacity)
    }

    /// Puts bytes behind the last ones, as those of a record that is not whole.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.header.data_start() + self.landed)?;
        self.landed += bytes.len() as u64;
        self.torn.extend_from_slice(bytes);
        Ok(())
    }

    /// Reads the last `new` bytes, which have landed in the file, behind the torn ones into `scratch`, and gives them. What else is in there
    /// stays: zeros in its place would only be written over.
    pub(super) fn read_back<'a>(&mut self, new: usize, scratch: &'a mut Vec<u8>) -> io::Result<&'a mut [u8]> {
        let torn = self.torn.len();
        if scratch.len() < torn + new {
            scratch.resize(torn + new, 0);
        }
        let bytes = &mut scratch[..torn + new];
        bytes[..torn].copy_from_slice(&self.torn);
        self.torn.clear();
        let from = self.header.data_start() + self.landed;
        self.landed += new as u64;
        place::read_exact(&self.file, &mut bytes[torn..], from)?;
        Ok(bytes)
    }

    /// Takes whole records from the beginning of `bytes`, which stand behind what is committed, into the open block,
    /// until the bytes or the block end.
    pub(super) fn walk<F: Framing>(&mut self, framing: &F, bytes: &mut [u8]) -> Walked {
        let mut found = Walked { bytes: 0, records: 0, garbage: 0, block_is_full: false };
        let open = &mut self.open;
        let most = usize::try_from(BLOCK.saturating_sub(open.len)).unwrap_or(usize::MAX);
        let mut at = 0;
        while at < bytes.len() && !found.block_is_full {
            match framing.scan(&bytes[at..]) {
                Scan::Record { len, time } => {
                    open.first_time = open.first_time.min(time);
                    open.last_time = open.last_time.max(time);
                    at += len;
                    found.records += 1;
                }
                Scan::Garbage(len) => {
                    bytes[at..at + len].fill(FILLER);
                    let written = self
                        .file
                        .write_all_at(&bytes[at..at + len], self.header.data_start() + self.committed + at as u64);
                    if let Err(error) = written {
                        self.refused.get_or_insert(error);
                    }
                    at += len;
                    found.garbage += len as u64;
                }
                Scan::Incomplete => break,
            }
            found.block_is_full = at >= most;
        }
        open.count += found.records;
        found.bytes = at;
        self.take(&bytes[..at]);
        found
    }

    /// Takes bytes that stand behind what is committed into the open block.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.open.hasher.update(bytes);
        self.open.len += bytes.len() as u64;
        self.committed += bytes.len() as u64;
    }

    /// Writes one of the fixed structures. A segment of which the disk does not take that is left for another; what has
    /// landed in it is in the page cache and stays readable.
    pub(super) fn note(&mut self, at: u64, structure: [u8; 64]) {
        if self.cut_at.is_some_and(|len| len < self.header.data_start()) {
            // The others are gone; one alone would not be believed.
            return;
        }
        if let Err(error) = self.file.write_all_at(&structure, at) {
            self.unwritten.push((at, structure));
            self.refused.get_or_insert(error);
        }
    }

    /// Looks whether the file is still where the next process would look for it.
    pub(super) fn look_for(&mut self, dir: &Path) {
        self.look_at_length();
        if !self.memory && !place::is_at(&self.file, &place::segment_path(dir, self.header.number)) {
            self.refused.get_or_insert_with(|| io::Error::other("somebody has deleted or replaced it"));
        }
    }

    /// Looks whether the file is as long as what has landed in it. Bytes that land behind a cut are lost with the process:
    /// the structures that tell where they are may be gone.
    pub(super) fn look_at_length(&mut self) {
        let landed = self.header.data_start() + self.landed;
        if self.memory || self.cut_at.is_some() {
            return;
        }
        if let Ok(len) = self.file.metadata().map(|metadata| metadata.len())
            && len < landed
        {
            self.cut_at = Some(len);
            self.refused.get_or_insert_with(|| io::Error::other("somebody has cut it short"));
        }
    }

    /// Writes the mark: how far the open block goes.
    pub(super) fn mark(&mut self) {
        self.note(MARK, self.open.as_block().encode());
    }

    /// Walks bytes that landed before a process died; they are whole records up to where the torn one begins.
    pub(super) fn walk_again<F: Framing>(&mut self, framing: &F, state: &mut State) -> io::Result<()> {
        let (new, mut scratch, mut at) = (self.landed - self.committed, Vec::new(), 0);
        self.landed = self.committed;
        let bytes = self.read_back(new as usize, &mut scratch)?;
        loop {
            let found = self.walk(framing, &mut bytes[at..]);
            at += found.bytes;
            if !found.block_is_full {
                break;
            }
            self.seal(state);
        }
        self.torn.extend_from_slice(&bytes[at..]);
        self.publish(state);
        Ok(())
    }

    /// Writes the index entry of the open block and begins the next one.
    pub(super) fn seal(&mut self, state: &mut State) {
        if self.open.len == 0 {
            return;
        }
        let block = self.open.as_block();
        self.note(INDEX + self.sealed * ENTRY as u64, block.encode());
        self.sealed += 1;
        self.open = Open::at(block.end(), block.next_seq());
        self.dirty = true;
        self.publish(state);
        state.sealed.push(block);
        if let Some(segment) = state.segments.back_mut() {
            segment.first_time = segment.first_time.min(block.first_time);
            segment.last_time = segment.last_time.max(block.last_time);
        }
    }

    /// Shows readers how far the segment goes.
    pub(super) fn publish(&self, state: &mut State) {
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
            len: 0,
        }
    }

    /// Where it ends.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.len
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
            len: mark.len,
        }
    }

    /// The block as it is now.
    pub(super) fn as_block(&self) -> Block {
        Block {
            offset: self.offset,
            len: self.len,
            first_seq: self.first_seq,
            count: self.count,
            first_time: self.first_time,
            last_time: self.last_time,
            crc: self.hasher.clone().finalize(),
        }
    }
}
