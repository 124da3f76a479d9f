//! The ring: what one container wrote, on disk, bounded, readable while it is written, and whole after a crash.
//!
//! # What it promises
//!
//! * **Bounded.** Never more than [`Options::budget`] bytes on disk, files that are deleted and still open included: a
//!   retired segment is cut before it is removed. When the ring is full the oldest segment goes, and a reader that had not
//!   come so far is told how many records that were. Open files are bounded too, see [`MOST_OPEN`].
//! * **One folder, one owner.** [`Ring::open`] takes the folder from an older instance, which changes nothing from then on
//!   (`lease`). A segment is made under a name that is free, and never over a file that is there.
//! * **Nothing between pipe and file.** Bytes are moved by `splice(2)`, straight from the pipe to the end of the newest
//!   segment ([`Writer::land`]). There is no instant at which a byte is neither in the pipe nor in the page cache, and
//!   none at which it is in both, so a `kill -9` at any instruction loses nothing and doubles nothing.
//! * **Nothing in the writer's way.** No sync, no rename, no compression, no reader. A reader takes a lock only to
//!   learn how far the ring goes.
//! * **Nothing invented.** After a power loss only what a checksum proves is read. What [`Ring::sync`] had covered is
//!   there; what was damaged is skipped and counted.
//! * **Nothing removed unread.** A segment that cannot be read is set aside: renamed, counted in the budget,
//!   said, and removed when its turn comes. A bad sector in the data costs its block. The rest goes on.
//! * **Found quickly.** [`Reader::seek_last`] and [`Reader::seek_time`] read one block index and one block, however
//!   large the ring is.
//!
//! The ring knows no log line. It stores *records*: byte strings that tell their own length. A [`Framing`] finds
//! where one ends and whether it is one; for this driver a record is a Docker frame exactly as dockerd wrote it.
//! Records are numbered from 0 in the order in which they came; the numbers never repeat in the life of a ring.
//!
//! # On disk
//!
//! ```text
//! <dir>/info.json            what the owner says about the ring; written when the first segment is made, see [`describe`]
//! <dir>/cursor-<name>        how far a shipper has come, see [`cursors`]
//! <dir>/0000000000000007.seg segments, numbered upwards; only the last one is written to
//! <dir>/0000000000000006.unreadable.seg   a segment that could not be read
//! ```
//!
//! A segment, all integers little-endian, all structures of fixed size ([`format`]):
//!
//! ```text
//!      0  header   magic, version, number, first record, capacity, boot id, CRC-32. Written last when a segment is made:
//!                  one of which nothing is written but owner and torn bytes holds nothing that is not elsewhere.
//!    512  slot A   the open block as of a sync, CRC-32 over itself and over the data
//!   1024  slot B   the same as of the sync before or after: the valid one that reaches further wins
//!   1536  owner    which writer the bytes behind the last whole record belong to
//!   2048  mark     the open block as of the last commit; it counts while the machine stays up
//!   4096  index    one 64-byte entry a sealed block: offset, length, first record, count, times, CRC-32 of the data, CRC-32
//!   n*4K  data     records, one behind the other, to the end of the file
//! ```
//!
//! A *block* is a run of whole records, at least 64 KiB unless it is the last of its segment. Sealing one writes its
//! index entry; sealed blocks never change. The block being filled is described by the mark, and by slot A or B as
//! far as it was synced. Bytes that were no record are overwritten with [`FILLER`] and stay inside their block.
//!
//! # Writing
//!
//! 1. Make room: set it aside by `fallocate` in steps (64 KiB up to 1 MiB) beyond the end of the file, and retire the
//!    oldest segments while the budget would be passed.
//! 2. `splice(2)` behind the last byte. The file is as long as what has landed in it.
//! 3. Read the new bytes back and walk them, record by record: number them, extend the open block, seal it at 64 KiB.
//! 4. Write the mark, publish how far the ring goes now, then wake the readers.
//!
//! When a segment is full, the bytes of a torn record at its end are copied to the beginning of the next one, whose
//! header is written after that. Two streams can feed one ring (a container restarted while its old pipe drains):
//! whoever comes takes the torn bytes of the other one out, into memory, and gives them back on its return. This is
//! the one record that a kill can cost: dockerd does not write to two pipes of a container at once.
//!
//! When the disk gives no room, new segments are made in memory, at most [`MEMORY_BUDGET`] bytes of them. A file that
//! the disk takes nothing more of, or that somebody has deleted, is left before it is full; it is open and can still be
//! read. [`Ring::heal`], called again and again, brings all of that to the disk as soon as it can be done. A file that
//! somebody has cut (`truncate -s 0`) is noticed before anything else lands in it, and left too.
//!
//! # Opening again
//!
//! The boot id in the header decides. **Same boot**: the page cache survived, every byte that was read is there;
//! bytes behind the mark, up to the end of the file, are walked again, and writing goes on where it stopped.
//! **Another boot**: nothing is believed that a checksum does not prove: sealed blocks,
//! then the better of the two slots. Blocks of earlier boots are checked when they are read. The next record gets a
//! number above any that was given out when a cursor was saved (`given`), and a new segment is begun.
//!
//! **Nothing may be written** (a read-only file system): the last segment is walked in a copy and closed. Its torn bytes
//! wait for their writer, in memory, where the ring goes on; what should be written is written by [`Ring::heal`].

// Allowed in one call of a test.
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

/// Overwrites bytes that are no record, one by one.
pub const FILLER: u8 = crate::format::FILLER;

/// The most that segments in memory may take when the disk gives no room, in bytes.
pub const MEMORY_BUDGET: u64 = 4 * 1024 * 1024;

/// The most files of a ring that are open because the disk refused a part of them, or because somebody has deleted them.
/// With them there are open at once: the one that is written to, one that is synced, one that is copied to its place, one
/// for each reader that reads at this moment, and those in memory, of which [`MEMORY_BUDGET`] allows fewer than twenty.
pub const MOST_OPEN: usize = 16;

/// Bytes of a ring's budget that are left to the small files beside the segments: the description and some cursors.
const BESIDE: u64 = if cfg!(any(test, small_rings)) { 0 } else { 32 * 1024 };

/// The least a ring can be bounded to: less would hold neither history nor an outage of seconds.
pub const LEAST_BUDGET: u64 = if cfg!(any(test, small_rings)) { 64 * 1024 } else { 512 * 1024 };

/// How large a ring may grow, and what it says of itself.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes on disk, index and headers included; raised to [`LEAST_BUDGET`].
    pub budget: u64,
    /// Which boot of the machine this is.
    pub boot: BootId,
}

/// Finds the records in a run of bytes. The implementation belongs to whoever knows what is stored.
///
/// No record may begin with [`FILLER`], and none may be longer than [`Framing::LONGEST`].
pub trait Framing {
    /// Bytes of the longest record.
    const LONGEST: usize;

    /// What stands at the beginning of `bytes`.
    fn scan(&self, bytes: &[u8]) -> Scan;
}

/// What [`Framing::scan`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// A record of `len` bytes with a time in nanoseconds.
    Record {
        /// Bytes, at least one.
        len: usize,
        /// Nanoseconds since 1970.
        time: i64,
    },
    /// Bytes that are no record, at least one.
    Garbage(usize),
    /// The beginning of a record.
    Incomplete,
}

/// A place between two records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Number of the segment.
    pub segment: u64,
    /// Bytes into the data of the segment.
    pub offset: u64,
    /// Number of the record that comes next.
    pub seq: u64,
}

/// How far a ring goes; what readers wait on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// Number of the record that comes next.
    pub next_seq: u64,
    /// Bytes of records and filler written since the ring was opened.
    pub bytes: u64,
}

/// Why the disk did not do what the ring needs.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {}: {source}", path.display())]
pub struct RingError {
    doing: &'static str,
    path: PathBuf,
    source: io::Error,
}

impl RingError {
    /// The process has no file left to read this with.
    pub fn out_of_files(path: PathBuf) -> Self {
        Self { doing: "read", path, source: Errno::EMFILE.into() }
    }

    /// Whether the process has no file descriptor or memory left: it is to be tried again.
    pub fn is_exhausted(&self) -> bool {
        disk::is_exhausted(&self.source)
    }

    /// Whether nothing was done because a newer instance of the ring has the folder, see [`Ring::open`].
    pub fn is_revoked(&self) -> bool {
        is_revoked(&self.source)
    }
}

/// Room could only be made of records that are protected.
#[derive(Debug, thiserror::Error)]
#[error("the ring is full of records that are protected")]
struct Protected;

/// Whether a [`Writer::land`] failed because of [`Ring::protect_from`].
pub fn is_protected(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Protected>())
}

/// Whether a [`Writer::land`] failed because a newer instance of the ring has the folder, see [`Ring::open`].
pub fn is_revoked(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Revoked>())
}

/// One container's ring. Cheap to open: a segment costs two small reads, a ring that does not exist costs none.
#[derive(Debug)]
pub struct Ring {
    dir: PathBuf,
    lease: Lease,
    options: Options,
    state: Mutex<State>,
    appender: Mutex<appender::Appender>,
    published: watch::Sender<Published>,
    describe: Mutex<describe::Description>,
    /// Held by the one that writes the description, through one file beside it: the older of two would take the place of the newer.
    staging: Mutex<()>,
    /// What is to be said of its files, see [`Ring::take_notices`].
    notices: Mutex<Vec<Notice>>,
    /// Held by the one that heals.
    healing: Mutex<()>,
    /// By who needs them: records from this one on are not retired, see [`Ring::protect_from`].
    protected: Mutex<HashMap<usize, u64>>,
}

/// What readers and the writer share. Held for a few instructions, never across a system call of the writer.
#[derive(Debug, Default)]
struct State {
    segments: VecDeque<Segment>,
    next_seq: u64,
    /// Number of the segment that is made next. No cursor has seen it.
    next_number: u64,
    /// Sealed blocks of the segment that is written to.
    sealed: Vec<Block>,
    /// Records below this number were retired; others that are missing are damaged.
    retired_to: u64,
    /// Numbers of segments that were left since the last sync. By number: a file that is open keeps its blocks when it is
    /// removed.
    unsynced: BTreeSet<u64>,
    /// Segments that cannot be read, by their numbers.
    set_aside: Vec<Aside>,
    /// Files that the disk did not remove.
    leftovers: Vec<Leftover>,
}

/// What is known of a segment without reading it.
#[derive(Clone, Debug)]
struct Segment {
    number: u64,
    first_seq: u64,
    next_seq: u64,
    first_time: i64,
    last_time: i64,
    /// Where the data begins in the file.
    data_start: u64,
    /// Bytes of data that it can take.
    capacity: u64,
    /// Bytes of whole records and filler.
    data_len: u64,
    /// Bytes the file takes on disk or in memory.
    allocated: u64,
    /// Written in this boot, so the page cache vouches for it; otherwise checksums must.
    trusted: bool,
    /// Made while the disk gave no room.
    memory: bool,
    /// What the disk did not take of its structures.
    unwritten: Vec<Note>,
    place: Place,
}

// === impl Ring ===

impl Ring {
    /// Opens what is in `dir` and takes it from an older instance, which may still be read, and changes nothing any more.
    /// An absent folder is an empty ring, and nothing is made until something is written. Waits for the disk and for what
    /// the older instance is writing at this moment: call it from a thread that may wait, with no lock held.
    ///
    /// # Errors
    /// When the directory cannot be read, or the process has no file or memory left. Damage is not an error: a segment that
    /// cannot be read is set aside, counted and [said](Ring::take_notices).
    pub fn open<F: Framing>(dir: &Path, options: Options, framing: &F) -> Result<Arc<Self>, RingError> {
        Self::found(dir, options, framing, Lease::take(dir))
    }

    /// The same for one that may be another process's: it is to be read alone, and changes nothing in `dir`, also while
    /// its owner writes there.
    ///
    /// # Errors
    /// As with [`Ring::open`].
    pub fn look<F: Framing>(dir: &Path, boot: BootId, framing: &F) -> Result<Arc<Self>, RingError> {
        // Nothing is written through it, so its bound does not matter.
        Self::found(dir, Options { budget: LEAST_BUDGET, boot }, framing, Lease::none())
    }

    fn found<F: Framing>(dir: &Path, options: Options, framing: &F, lease: Lease) -> Result<Arc<Self>, RingError> {
        base::lock::may_wait();
        let budget = options.budget.max(LEAST_BUDGET);
        let options = Options { budget, ..options };
        // A newer instance waits for this one to be open before it takes the folder.
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

    /// A writer that is known by `id` across restarts of the process, for [`Writer::land`].
    pub fn writer(self: &Arc<Self>, id: &str) -> Writer {
        Writer::new(self.clone(), id)
    }

    /// A reader at the oldest record.
    pub fn reader(self: &Arc<Self>) -> Reader {
        Reader::new(self.clone(), self.oldest())
    }

    /// A reader where a cursor or another reader was.
    pub fn reader_at(self: &Arc<Self>, position: Position) -> Reader {
        Reader::new(self.clone(), position)
    }

    /// The place of the oldest record that is still there.
    pub fn oldest(&self) -> Position {
        let state = self.state();
        match state.segments.front() {
            Some(first) => Position { segment: first.number, offset: 0, seq: first.first_seq },
            None => Position { segment: 0, offset: 0, seq: state.next_seq },
        }
    }

    /// How far the ring goes.
    pub fn published(&self) -> Published {
        *self.published.borrow()
    }

    /// A channel that shows [`Ring::published`] as it changes.
    pub fn follow(&self) -> watch::Receiver<Published> {
        self.published.subscribe()
    }

    /// Bytes the ring takes now, on disk and in memory.
    pub fn allocated(&self) -> u64 {
        let state = self.state();
        state.segments.iter().map(|segment| segment.allocated).sum::<u64>() + state.used_aside()
    }

    /// The most that the ring may take on disk, in bytes.
    pub fn budget_bytes(&self) -> u64 {
        self.options.budget
    }

    /// When the oldest record was made that is still there, in nanoseconds since 1970.
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

    /// About how many bytes can still be written before records from a position on have to go. It is in memory while the
    /// disk takes nothing, where there is less.
    pub fn room_behind(&self, position: Position) -> u64 {
        let state = self.state();
        let Some(last) = state.segments.back() else { return self.budget(false) };
        let kept = state.segments.iter().filter(|segment| segment.number >= position.segment);
        let taken: u64 = kept.filter(|segment| segment.memory == last.memory).map(|segment| segment.allocated).sum();
        // What was set aside goes in the order of its number, as segments do.
        let aside = state.set_aside.iter().filter(|aside| !last.memory && aside.number >= position.segment);
        let taken = taken + aside.map(|aside| aside.used).sum::<u64>();
        let free = self.budget(last.memory).saturating_sub(taken);
        let (has, set_aside) = (last.data_len, last.allocated.saturating_sub(last.data_start));
        let grown = last.capacity.saturating_sub(set_aside).min(free);
        // What comes behind this segment goes to new ones, which have structures of their own.
        let (new, whole) = (free - grown, last.data_start + last.capacity);
        let in_new = new / whole * last.capacity + (new % whole).saturating_sub(last.data_start);
        set_aside.saturating_sub(has) + grown + in_new
    }

    /// Where the ring is.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// From now on no record from number `seq` on is retired, because `who` needs it: when the ring is full of them,
    /// [`Writer::land`] fails with an error that [`is_protected`] knows, before it reads. Each `who` protects for itself,
    /// and the last thing that it said counts.
    pub fn protect_from(&self, who: usize, seq: u64) {
        lock(&self.protected).insert(who, seq);
    }

    /// Protects no longer for whom the most is protected, until they ask again. When the ring is full, this makes room.
    pub fn unprotect(&self) {
        let mut protected = lock(&self.protected);
        let first = protected.values().min().copied();
        protected.retain(|_, seq| Some(*seq) != first);
    }

    /// Makes what was written so far survive a power loss: first what the ring says of itself, without which nobody knows
    /// where the records may go, then the records. Slow, as disks are; call it from a thread that may wait.
    ///
    /// # Errors
    /// When the disk does not take it; the ring goes on, and the next sync tries again. Also when a
    /// [newer instance](Ring::open) has the folder.
    pub fn sync(&self) -> Result<(), RingError> {
        base::lock::may_wait();
        // A disk that takes the records and not the description is asked for both: the container may start again.
        let described = self.settle_description();
        self.sync_records().and(described)
    }

    fn sync_records(&self) -> Result<(), RingError> {
        let tenure = self.enter()?;
        self.complete()?;
        // The writer is held up for one small write; the sync itself happens without its lock.
        let active = lock(&self.appender).prepare_sync();
        // A newer instance does not wait for the disk to be done.
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

    /// The numbers that were not given out yet.
    fn given(&self) -> given::Given {
        let state = self.state();
        given::Given { next_seq: state.next_seq, next_number: state.next_number }
    }

    /// Syncs a segment that is not written to any more, one open file at a time. One that was retired meanwhile, or that
    /// somebody has deleted, is not found after a power loss either way.
    fn sync_closed(&self, number: u64) -> io::Result<()> {
        match place::open(&place::segment_path(&self.dir, number), false) {
            Ok(file) => file.sync_data(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// The right to change the folder.
    fn enter(&self) -> Result<lease::Tenure<'_>, RingError> {
        let revoked = || RingError { doing: "change", path: self.dir.clone(), source: io::Error::other(Revoked) };
        self.lease.enter().ok_or_else(revoked)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

/// A panic elsewhere does not take the ring with it: every critical section leaves whole state behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
