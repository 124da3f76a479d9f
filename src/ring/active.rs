//! The segment being written to: its file, its window, and the block being filled.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::format::{BLOCK, Block, ENTRY, FILLER, Header, INDEX};
use super::place::{self, Place};
use super::window::Window;
use super::{Framing, INFO, Ring, RingError, Scan, State, lock};
use crate::disk;

/// The most one `read(2)` brings, and about what a busy ring keeps mapped.
pub(super) const WINDOW: u64 = if cfg!(test) { 8192 } else { 256 * 1024 };

/// A file grows by at least and at most this much.
pub(super) const STEP: (u64, u64) = if cfg!(test) { (4096, 4096) } else { (64 * 1024, 1024 * 1024) };

/// How often the disk is tried again while segments are made in memory.
pub(super) const RETRY_DISK: Duration = Duration::from_secs(10);

/// All offsets count from the beginning of the data.
#[derive(Debug)]
pub(super) struct Active {
    pub header: Header,
    pub file: Arc<File>,
    pub memory: bool,
    /// When the disk is worth another try; only in memory.
    pub retry_disk: Instant,
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

/// What one walk over new bytes found.
pub(super) struct Walked {
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

    /// Makes a segment with room for `first` bytes of data.
    pub(super) fn on_disk(ring: &Ring, header: Header, first: u64) -> Result<(Self, Place), RingError> {
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

    /// The same without the disk.
    pub(super) fn in_memory(ring: &Ring, header: Header, first: u64) -> io::Result<(Self, Place)> {
        ring.retire_for(header.data_start() + first, true);
        let mut active = Self::new(header, place::create_in_memory()?, true);
        place::allocate(&active.file, 0, header.data_start() + first)?;
        active.allocated = first;
        let place = Place::Open(active.file.clone());
        Ok((active, place))
    }

    /// The bytes from `from` to `to`; the window moves there if it is elsewhere.
    pub(super) fn map(&mut self, from: u64, to: u64) -> io::Result<&mut [u8]> {
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

    /// What the next segment must have room for at once: the torn record, and what is read behind it.
    pub(super) fn first_allocation<F: Framing>(&self, next: &Header) -> u64 {
        let torn = self.landed - self.committed;
        (torn + self.need::<F>(STEP.0)).next_multiple_of(4096).min(next.capacity)
    }

    /// Room that `more` bytes need. After a kill a whole record must come with one read, and zeros may go before it.
    pub(super) fn need<F: Framing>(&self, more: u64) -> u64 {
        more + if self.unsure { 2 * F::LONGEST as u64 } else { 0 }
    }

    /// Puts the zeros back that a dead process had read between the torn bytes and the `new` ones behind them.
    pub(super) fn settle_zeros<F: Framing>(&mut self, framing: &F, new: u64) -> io::Result<()> {
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
    pub(super) fn walk<F: Framing>(&mut self, framing: &F) -> io::Result<Walked> {
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
    pub(super) fn hash(&mut self) -> io::Result<()> {
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
    pub(super) fn seal(&mut self, state: &mut State) -> io::Result<()> {
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
    pub(super) fn as_block(&self, end: u64) -> Block {
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
