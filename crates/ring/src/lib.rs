//! The ring: a bounded on-disk buffer of one container's output, readable while it is written, and consistent after a
//! crash.
//!
//! # Guarantees
//!
//! * **Bounded.** Never more than [`Options::budget`] bytes on disk, deleted files that are still open included: an
//!   evicted segment is truncated before it is removed. A full ring evicts its oldest segment. A reader that had not
//!   read it gets the number of lost records. Open files are bounded too, see [`MOST_OPEN`].
//! * **One folder, one owner.** [`Ring::open`] takes the folder from an older instance, which changes nothing from then
//!   on (`lease`). A segment is created under a free name, and never replaces an existing file.
//! * **Nothing between pipe and file.** `splice(2)` moves bytes straight from the pipe to the end of the newest segment
//!   ([`Writer::land`]). At every instant a byte is either in the pipe or in the page cache, so a `kill -9` at any
//!   instruction loses nothing and doubles nothing.
//! * **The writer never waits** for a sync, a rename, a compression or a reader. A reader takes a lock only to learn
//!   how far the ring goes.
//! * **Nothing invented.** After a power loss only what a checksum proves is read. What [`Ring::sync`] had covered is
//!   there; damaged blocks are skipped and counted.
//! * **Nothing removed unread.** An unreadable segment is set aside: renamed, counted in the budget, logged, and
//!   removed in its turn. A bad sector in the data costs its block only.
//! * **Found quickly.** [`Reader::seek_last`] and [`Reader::seek_time`] read one block index and one block, however
//!   large the ring is.
//!
//! The ring knows no log line. It stores *records*: byte strings that encode their own length. A [`Framing`] finds the
//! records; for this driver a record is a Docker frame exactly as dockerd wrote it. Records are numbered from 0 in the
//! order in which they came, and a ring never reuses a number.
//!
//! # On disk
//!
//! ```text
//! <dir>/info.json            the description of the ring; written with the first segment, see [`describe`]
//! <dir>/cursor-<name>        the position of one destination's shipper, see [`cursors`]
//! <dir>/0000000000000007.seg segments, numbered upwards; only the last one is written to
//! <dir>/0000000000000006.unreadable.seg   a segment that could not be read
//! ```
//!
//! A segment, all integers little-endian, all structures of fixed size ([`format`]):
//!
//! ```text
//!      0  header   magic, version, number, first record, capacity, boot id, CRC-32. Written last when a segment is
//!                  created: without it, owner and torn bytes are copies of bytes that are also elsewhere.
//!    512  slot A   the open block as of a sync, CRC-32 over itself and over the data
//!   1024  slot B   the same as of the sync before or after: the valid one that reaches further wins
//!   1536  owner    the writer of the bytes behind the last whole record
//!   2048  mark     the open block as of the last commit; valid until the machine reboots
//!   4096  index    one 64-byte entry per sealed block: offset, length, first record, count, times, CRC-32 of the data and
//!                  of the entry
//!   n*4K  data     records, one behind the other, to the end of the file
//! ```
//!
//! A *block* is a run of whole records, at least 64 KiB unless it is the last of its segment. Sealing one writes its
//! index entry; sealed blocks never change. The commit mark describes the open block, and slot A or B its synced part.
//! Bytes that belong to no record are overwritten with [`FILLER`] and stay inside their block.
//!
//! # Writing
//!
//! 1. Make room: allocate space by `fallocate` in steps (64 KiB up to 1 MiB) beyond the end of the file, and evict the
//!    oldest segments while the budget would be exceeded.
//! 2. `splice(2)` behind the last byte. The file is as long as what has landed in it.
//! 3. Read the new bytes back and walk them, record by record: number them, extend the open block, seal it at 64 KiB.
//! 4. Write the commit mark, publish how far the ring goes now, then wake the readers.
//!
//! When a segment is full, the bytes of a torn record at its end are copied to the beginning of the next one, whose
//! header is written after that. Two streams can feed one ring (a container restarted while its old pipe drains). The
//! writer that takes over moves the torn bytes of the other one into memory, and they return when the other one writes
//! again. A kill can lose this one record; dockerd does not write to two pipes of a container at once.
//!
//! When the disk has no room, new segments are created in memory, at most [`MEMORY_BUDGET`] bytes of them. A file that
//! the disk no longer extends, or that another process has deleted, is left before it is full; it stays open and
//! readable. [`Ring::heal`], called periodically, moves all of that to the disk as soon as possible. A truncated file
//! (`truncate -s 0`) is detected before anything else lands in it, and left too.
//!
//! # Opening again
//!
//! The boot id in the header decides. **Same boot**: the page cache survived, so every byte that was read is there.
//! Bytes behind the commit mark, up to the end of the file, are walked again, and writing continues where it stopped.
//! **Another boot**: only what a checksum proves is trusted: sealed blocks, then the better of the two slots. Blocks of
//! earlier boots are checked when they are read. The next record gets a number above any that was given when a cursor
//! was saved (`given`), and a new segment is begun.
//!
//! **Read-only file system**: the last segment is walked in a copy and closed. Its torn bytes wait for their writer in
//! memory, where the ring continues; [`Ring::heal`] writes the rest later.

// One call of a test may be unsafe.
#![deny(unsafe_code)]

mod active;
mod appender;
pub mod cursor;
pub mod cursors;
mod describe;
mod format;
mod given;
mod heal;
mod lease;
mod leftovers;
mod next;
mod place;
mod reader;
mod recovery;
mod resume;
mod room;
mod set_aside;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use tokio::sync::watch;

use base::disk;

pub use appender::{Landed, Landing, Writer};
pub use cursor::Cursor;
pub use cursors::{Cursors, Saved};
pub use describe::{INFO, described};
use format::Block;
pub use format::BootId;
use format::Note;
pub use heal::Healed;
use lease::{Lease, Revoked};
use leftovers::Leftover;
use place::Place;
pub use reader::{Chunk, Lost, Reader};
use set_aside::Aside;
pub use set_aside::Notice;

/// The byte that overwrites bytes of no record.
pub const FILLER: u8 = crate::format::FILLER;

/// The most bytes of segments in memory, used while the disk has no room.
pub const MEMORY_BUDGET: u64 = 4 * 1024 * 1024;

/// The most open files of a ring that the disk refused in part or that another process has deleted. Open in addition:
/// the active file, one that is synced, one that is copied to its place, one for each active reader, and the segments
/// in memory, fewer than twenty by [`MEMORY_BUDGET`].
pub const MOST_OPEN: usize = 16;

/// Bytes of a ring's budget reserved for the small files beside the segments: the description and some cursors.
const BESIDE: u64 = if cfg!(any(test, small_rings)) { 0 } else { 32 * 1024 };

/// The smallest budget of a ring: less would hold neither history nor an outage of seconds.
pub const LEAST_BUDGET: u64 = if cfg!(any(test, small_rings)) { 64 * 1024 } else { 512 * 1024 };

/// The size limit of a ring, and the boot of the machine.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes on disk, index and headers included; raised to [`LEAST_BUDGET`].
    pub budget: u64,
    /// The current boot of the machine.
    pub boot: BootId,
}

/// Finds the records in a run of bytes. The user of the ring implements it, because it knows the stored format.
///
/// No record may begin with [`FILLER`], and none may be longer than [`Framing::LONGEST`].
pub trait Framing {
    /// Bytes of the longest record.
    const LONGEST: usize;

    /// Classifies the beginning of `bytes`.
    fn scan(&self, bytes: &[u8]) -> Scan;
}

/// The result of [`Framing::scan`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// A record of `len` bytes with a time in nanoseconds.
    Record {
        /// Bytes, at least one.
        len: usize,
        /// Nanoseconds since 1970.
        time: i64,
    },
    /// This many bytes that belong to no record, at least one.
    Garbage(usize),
    /// The beginning of a record whose rest is missing.
    Incomplete,
}

/// A position between two records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// The number of the segment.
    pub segment: u64,
    /// The offset in the data of the segment, in bytes.
    pub offset: u64,
    /// The number of the next record.
    pub seq: u64,
}

/// The published end of a ring, which readers wait on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// The number of the next record.
    pub next_seq: u64,
    /// Bytes of records and filler written since the ring was opened.
    pub bytes: u64,
}

/// The error for an operation that the disk failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {source}", path.display())]
pub struct RingError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl RingError {
    /// The error for a process without a free file descriptor.
    pub fn out_of_files(path: PathBuf) -> Self {
        Self { doing: "read", path, source: Errno::EMFILE.into() }
    }

    /// Whether the process has no file descriptor or memory left, so that the caller should retry.
    pub fn is_exhausted(&self) -> bool {
        disk::is_exhausted(&self.source)
    }

    /// Whether a newer instance of the ring has the folder, so that nothing was done, see [`Ring::open`].
    pub fn is_revoked(&self) -> bool {
        is_revoked(&self.source)
    }
}

/// The error for a ring that is full of pinned records.
#[derive(Debug, thiserror::Error)]
#[error("the ring is full of records that are protected")]
struct Protected;

/// Whether a [`Writer::land`] failed because of records pinned by [`Ring::protect_from`].
pub fn is_protected(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Protected>())
}

/// Whether a [`Writer::land`] failed because a newer instance of the ring has the folder, see [`Ring::open`].
pub fn is_revoked(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Revoked>())
}

/// One container's ring. Cheap to open: a segment costs two small reads, and a missing ring costs none.
#[derive(Debug)]
pub struct Ring {
    dir: PathBuf,
    lease: Lease,
    options: Options,
    state: Mutex<State>,
    appender: Mutex<appender::Appender>,
    published: watch::Sender<Published>,
    describe: Mutex<describe::Description>,
    /// Held while the description is written through one file beside it, or an older description could replace a newer
    /// one.
    staging: Mutex<()>,
    /// Events to log about its files, see [`Ring::take_notices`].
    notices: Mutex<Vec<Notice>>,
    /// Held while the ring heals.
    healing: Mutex<()>,
    /// The first pinned record by caller: it and later ones are not evicted, see [`Ring::protect_from`].
    protected: Mutex<HashMap<usize, u64>>,
}

/// The state that readers and the writer share. Its lock is held for a few instructions, never across a system call of
/// the writer.
#[derive(Debug, Default)]
struct State {
    segments: VecDeque<Segment>,
    next_seq: u64,
    /// The number of the next segment. No cursor has seen it.
    next_number: u64,
    /// Sealed blocks of the active segment.
    sealed: Vec<Block>,
    /// Records below this number were evicted; others that are missing are damaged.
    retired_to: u64,
    /// Numbers of segments closed since the last sync. Stored by number, because an open file keeps its space after
    /// removal.
    unsynced: BTreeSet<u64>,
    /// Segments that cannot be read, by their numbers.
    set_aside: Vec<Aside>,
    /// Files that the disk failed to remove.
    leftovers: Vec<Leftover>,
}

/// The facts about a segment that are known without reading it.
#[derive(Clone, Debug)]
struct Segment {
    number: u64,
    first_seq: u64,
    next_seq: u64,
    first_time: i64,
    last_time: i64,
    /// The offset of the data in the file.
    data_start: u64,
    /// The most bytes of data in the segment.
    capacity: u64,
    /// Bytes of whole records and filler.
    data_len: u64,
    /// Bytes that the file takes on disk or in memory.
    allocated: u64,
    /// Whether this boot wrote it, so that the page cache is valid; otherwise checksums must prove it.
    trusted: bool,
    /// Whether it was created in memory, while the disk had no room.
    memory: bool,
    /// Fixed structures that the disk refused to write.
    unwritten: Vec<Note>,
    place: Place,
}

// === impl Ring ===

impl Ring {
    /// Opens the ring in `dir` and takes it from an older instance, which can still be read and changes nothing any
    /// more. An absent folder is an empty ring; files are created with the first byte. Waits for the disk and for a
    /// write of the older instance: call it from a thread that may block, with no lock held.
    ///
    /// # Errors
    /// When the directory cannot be read, or the process has no file descriptor or memory left. Damage is not an error:
    /// an unreadable segment is set aside, counted and [reported](Ring::take_notices).
    pub fn open<F: Framing>(dir: &Path, options: Options, framing: &F) -> Result<Arc<Self>, RingError> {
        Self::found(dir, options, framing, Lease::take(dir))
    }

    /// Opens a ring read-only. It may belong to another process, which may write to it meanwhile.
    ///
    /// # Errors
    /// As with [`Ring::open`].
    pub fn look<F: Framing>(dir: &Path, boot: BootId, framing: &F) -> Result<Arc<Self>, RingError> {
        // A read-only ring never writes, so its budget does not matter.
        Self::found(dir, Options { budget: LEAST_BUDGET, boot }, framing, Lease::none())
    }

    fn found<F: Framing>(dir: &Path, options: Options, framing: &F, lease: Lease) -> Result<Arc<Self>, RingError> {
        base::lock::may_wait();
        let budget = options.budget.max(LEAST_BUDGET);
        let options = Options { budget, ..options };
        // A newer instance waits until this one is open before it takes the folder.
        let tenure = lease.enter();
        let access = if tenure.is_some() { recovery::Access::Own } else { recovery::Access::Look };
        let found = recovery::recover(dir, &options, framing, access)?;
        drop(tenure);
        let published = Published { next_seq: found.state.next_seq, bytes: 0 };
        Ok(Arc::new(Self {
            dir: dir.to_path_buf(),
            lease,
            options,
            state: Mutex::new(found.state),
            appender: Mutex::new(found.appender),
            published: watch::Sender::new(published),
            describe: Mutex::default(),
            staging: Mutex::default(),
            notices: Mutex::new(found.notices),
            healing: Mutex::default(),
            protected: Mutex::default(),
        }))
    }

    /// A writer for [`Writer::land`], identified by `id` across restarts of the process.
    pub fn writer(self: &Arc<Self>, id: &str) -> Writer {
        Writer::new(self.clone(), id)
    }

    /// A reader at the oldest record.
    pub fn reader(self: &Arc<Self>) -> Reader {
        Reader::new(self.clone(), self.oldest())
    }

    /// A reader at the position of a cursor or of another reader.
    pub fn reader_at(self: &Arc<Self>, position: Position) -> Reader {
        Reader::new(self.clone(), position)
    }

    /// The position of the oldest record in the ring.
    pub fn oldest(&self) -> Position {
        let state = self.state();
        match state.segments.front() {
            Some(first) => Position { segment: first.number, offset: 0, seq: first.first_seq },
            None => Position { segment: 0, offset: 0, seq: state.next_seq },
        }
    }

    /// The published end of the ring.
    pub fn published(&self) -> Published {
        *self.published.borrow()
    }

    /// A channel with each change of [`Ring::published`].
    pub fn follow(&self) -> watch::Receiver<Published> {
        self.published.subscribe()
    }

    /// Bytes that the ring takes now, on disk and in memory.
    pub fn allocated(&self) -> u64 {
        let state = self.state();
        state.segments.iter().map(|segment| segment.allocated).sum::<u64>() + state.used_aside()
    }

    /// The most that the ring may take on disk, in bytes.
    pub fn budget_bytes(&self) -> u64 {
        self.options.budget
    }

    /// The time of the oldest record in the ring, in nanoseconds since 1970.
    pub fn oldest_time(&self) -> Option<i64> {
        let state = self.state();
        let oldest = state.segments.iter().find(|segment| segment.next_seq > segment.first_seq)?;
        Some(oldest.first_time).filter(|time| *time != i64::MAX)
    }

    /// Bytes of records from a position on.
    pub fn bytes_from(&self, position: Position) -> u64 {
        let state = self.state();
        let behind = state.segments.iter().filter(|segment| segment.number >= position.segment);
        let bytes = behind.map(|segment| {
            let passed = if segment.number == position.segment { position.offset } else { 0 };
            segment.data_len.saturating_sub(passed)
        });
        bytes.sum()
    }

    /// About how many bytes can be written before records from a position on are evicted. Less in memory, which the
    /// ring uses while the disk refuses writes.
    pub fn room_behind(&self, position: Position) -> u64 {
        let state = self.state();
        let Some(last) = state.segments.back() else { return self.budget(false) };
        let kept = state.segments.iter().filter(|segment| segment.number >= position.segment);
        let taken: u64 = kept.filter(|segment| segment.memory == last.memory).map(|segment| segment.allocated).sum();
        // Segments that were set aside are evicted in the order of their numbers, like others.
        let aside = state.set_aside.iter().filter(|aside| !last.memory && aside.number >= position.segment);
        let taken = taken + aside.map(|aside| aside.used).sum::<u64>();
        let free = self.budget(last.memory).saturating_sub(taken);
        let (has, set_aside) = (last.data_len, last.allocated.saturating_sub(last.data_start));
        let grown = last.capacity.saturating_sub(set_aside).min(free);
        // Bytes beyond this segment go to new ones, which have their own structures.
        let (new, whole) = (free - grown, last.data_start + last.capacity);
        let in_new = new / whole * last.capacity + (new % whole).saturating_sub(last.data_start);
        set_aside.saturating_sub(has) + grown + in_new
    }

    /// The ring's folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Pins the records from number `seq` on for `who`, so that they are not evicted. When the ring is full of them,
    /// [`Writer::land`] fails before it reads, with an error that [`is_protected`] recognizes. Each `who` has one pin;
    /// a later call replaces it.
    pub fn protect_from(&self, who: usize, seq: u64) {
        lock(&self.protected).insert(who, seq);
    }

    /// Removes the oldest pin until its owner sets it again. When the ring is full, this makes room.
    pub fn unprotect(&self) {
        let mut protected = lock(&self.protected);
        let first = protected.values().min().copied();
        protected.retain(|_, seq| Some(*seq) != first);
    }

    /// Makes all writes so far survive a power loss: first the description, without which the records cannot be
    /// delivered, then the records. Waits for the disk: call it from a thread that may block.
    ///
    /// # Errors
    /// When the disk fails the sync; the ring continues, and the next sync tries again. Also when a [newer
    /// instance](Ring::open) has the folder.
    pub fn sync(&self) -> Result<(), RingError> {
        base::lock::may_wait();
        // Records are synced even if the description fails, because the container may start again and describe the
        // ring.
        let described = self.settle_description();
        self.sync_records().and(described)
    }

    fn sync_records(&self) -> Result<(), RingError> {
        let tenure = self.enter()?;
        self.complete()?;
        // The writer waits for one small write; the sync itself runs without its lock.
        let active = lock(&self.appender).prepare_sync();
        // A newer instance need not wait for the disk.
        drop(tenure);
        let closed = std::mem::take(&mut self.state().unsynced);
        if active.is_none() && closed.is_empty() {
            return Ok(());
        }
        let synced = closed.iter().try_for_each(|number| self.sync_closed(*number));
        let synced = synced.and_then(|()| active.as_ref().map_or(Ok(()), |file| file.sync_data()));
        synced.and_then(|()| disk::sync_dir(&self.dir)).map_err(|source| {
            lock(&self.appender).sync_failed();
            let mut state = self.state();
            let State { segments, unsynced, .. } = &mut *state;
            let is_there = |number: &u64| segments.iter().any(|segment| segment.number == *number);
            unsynced.extend(closed.into_iter().filter(is_there));
            RingError { doing: "sync the ring in", path: self.dir.clone(), source }
        })
    }

    /// The numbers that were not given yet.
    fn given(&self) -> given::Given {
        let state = self.state();
        given::Given { next_seq: state.next_seq, next_number: state.next_number }
    }

    /// Syncs a closed segment, one open file at a time. One that was evicted meanwhile, or that another process has
    /// deleted, is missing after a power loss in any case.
    fn sync_closed(&self, number: u64) -> io::Result<()> {
        match place::open(&place::segment_path(&self.dir, number), false) {
            Ok(file) => file.sync_data(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Acquires the right to change the folder.
    fn enter(&self) -> Result<lease::Tenure<'_>, RingError> {
        let revoked = || RingError { doing: "change", path: self.dir.clone(), source: io::Error::other(Revoked) };
        self.lease.enter().ok_or_else(revoked)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// Locks, also after a panic elsewhere: every critical section leaves consistent state behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
