//! The active segment: its file, the torn record at its end, and the block being filled.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::format::{BLOCK, Block, ENTRY, FILLER, Header, INDEX, MARK, Note};
use super::place::{self, Place};
use super::{Framing, Ring, RingError, Scan, State};

/// The most bytes that land at once: a busy stream's bytes are walked while they are in the processor's cache.
pub(super) const MOST: u64 = if cfg!(any(test, small_rings)) { 8192 } else { 256 * 1024 };

/// The smallest and the largest step by which a file grows, in bytes.
pub(super) const STEP: (u64, u64) = if cfg!(any(test, small_rings)) { (4096, 4096) } else { (64 * 1024, 1024 * 1024) };

/// The segment being written to. All offsets count from the beginning of the data.
#[derive(Debug)]
pub(super) struct Active {
    pub header: Header,
    pub file: Arc<File>,
    pub memory: bool,
    /// The error for which this segment must be left for another.
    pub refused: Option<io::Error>,
    /// The length that remained when another process truncated the file.
    pub cut_at: Option<u64>,
    /// Fixed structures that the disk refused to write.
    pub unwritten: Vec<Note>,
    /// Bytes of data for which the file has allocated space.
    pub allocated: u64,
    /// End of the last whole record.
    pub committed: u64,
    /// End of the last byte that landed, and of the file.
    pub landed: u64,
    /// The bytes from `committed` to `landed`, which are not a whole record.
    pub torn: Vec<u8>,
    pub open: Open,
    /// Index entries written.
    pub sealed: u64,
    pub owner: [u8; 64],
    /// The number of syncs; slots are written in turn.
    pub syncs: usize,
    /// Whether records were committed since the last sync.
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
    /// The checksum over the block's bytes, and their number.
    hasher: crc32fast::Hasher,
    len: u64,
}

/// The result of one walk over new bytes.
pub(super) struct Walked {
    /// The number of bytes up to the end of the last record or garbage.
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

    /// Continues a segment that the last process was writing to when it died.
    pub(super) fn recovered(header: Header, file: File) -> Self {
        Self::new(header, file, false)
    }

    /// Creates a segment with space for `first` bytes of data, under the first free number from the header's on.
    pub(super) fn on_disk(ring: &Ring, mut header: Header, first: u64) -> Result<(Self, Place), RingError> {
        ring.make_dir()?;
        let (file, number) = place::create_segment(&ring.dir, header.number)?;
        header.number = number;
        let path = place::segment_path(&ring.dir, number);
        // If the disk cannot create the file, no other segment is evicted for it.
        let has_room = ring.retire_for(header.data_start() + first, false);
        let mut active = Self::new(header, file, false);
        if let Err(source) = has_room.and_then(|()| active.make_room(first)) {
            // The new file is empty and takes space that other files need.
            ring.remove_file(&path);
            return Err(RingError { doing: "find room for the segment", path, source });
        }
        let place = Place::Open(active.file.clone());
        Ok((active, place))
    }

    /// Creates a segment in memory, without the disk.
    pub(super) fn in_memory(ring: &Ring, header: Header, first: u64) -> io::Result<(Self, Place)> {
        ring.retire_for(header.data_start() + first, true)?;
        let mut active = Self::new(header, place::create_in_memory()?, true);
        active.make_room(first)?;
        let place = Place::Open(active.file.clone());
        Ok((active, place))
    }

    /// Allocates space for the structures before the data, and for `first` bytes of data.
    fn make_room(&mut self, first: u64) -> io::Result<()> {
        let start = self.header.data_start();
        place::allocate(&self.file, 0, start + first)?;
        self.file.set_len(start)?;
        self.allocated = first;
        Ok(())
    }

    /// Whether the next `more` bytes belong in this segment.
    pub(super) fn takes(&self, more: u64) -> bool {
        self.refused.is_none() && self.landed + more <= self.header.capacity
    }

    /// The space a new segment needs at once: the torn bytes of the last segment, and the bytes that land after them.
    pub(super) fn first_allocation(torn: u64, header: &Header) -> u64 {
        (torn + STEP.0).next_multiple_of(4096).min(header.capacity)
    }

    /// Appends bytes as part of a record that is not yet whole.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, self.header.data_start() + self.landed)?;
        self.landed += bytes.len() as u64;
        self.torn.extend_from_slice(bytes);
        Ok(())
    }

    /// Reads the last `new` bytes that landed in the file into `scratch`, after the torn ones, and returns both. Other
    /// content of `scratch` stays: clearing it would only cost time.
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

    /// Adds whole records from the beginning of `bytes` to the open block, until the bytes or the block end. `bytes`
    /// follow the committed ones.
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

    /// Adds bytes to the open block. They follow the committed ones.
    pub(super) fn take(&mut self, bytes: &[u8]) {
        self.open.hasher.update(bytes);
        self.open.len += bytes.len() as u64;
        self.committed += bytes.len() as u64;
    }

    /// Writes one of the fixed structures. If this write fails, the segment is abandoned; its data is in the page cache
    /// and stays readable.
    pub(super) fn note(&mut self, at: u64, structure: [u8; 64]) {
        if self.cut_at.is_some_and(|len| len < self.header.data_start()) {
            // Earlier structures are missing, so recovery would not trust this one alone.
            return;
        }
        if let Err(error) = self.file.write_all_at(&structure, at) {
            self.unwritten.push((at, structure));
            self.refused.get_or_insert(error);
        }
    }

    /// Checks that the file is still where the next process will look for it.
    pub(super) fn look_for(&mut self, dir: &Path) {
        self.look_at_length();
        if !self.memory && !place::is_at(&self.file, &place::segment_path(dir, self.header.number)) {
            self.refused.get_or_insert_with(|| io::Error::other("somebody has deleted or replaced it"));
        }
    }

    /// Checks that the file is as long as what has landed in it. Bytes that land behind a truncation are lost with the
    /// process: the structures that locate them may be gone.
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

    /// Writes the commit mark: the end of the open block.
    pub(super) fn mark(&mut self) {
        self.note(MARK, self.open.as_block().encode());
    }

    /// Walks bytes that landed before a process died. They are whole records up to the torn one.
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

    /// Writes the index entry of the open block and begins the next block.
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

    /// Publishes the end of the segment to readers.
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

    /// The end of the block in the data.
    pub(super) fn end(&self) -> u64 {
        self.offset + self.len
    }

    /// The open block that a commit mark describes.
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

    /// The block as an index entry describes it.
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
