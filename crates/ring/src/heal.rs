//! Back to the disk: segments that were made while it gave no room, files that somebody has deleted while they were
//! written to, and structures of a segment that it did not take.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use super::appender::Landed;
use super::format::Note;
use super::place::{self, Place};
use super::{Framing, Ring, RingError, Segment, lock};

/// What [`Ring::heal`] did.
#[derive(Debug, Default)]
pub struct Healed {
    /// Nothing was done: a newer instance of the ring has the folder, see [`Ring::open`].
    pub is_revoked: bool,
    /// Why segments are still in memory, or have to be now.
    pub in_memory: Option<RingError>,
    /// Why a file was left before it was full, and another one begun.
    pub left: Option<RingError>,
    /// Segments that were in memory and are on disk now.
    pub segments: u64,
}

// === impl Ring ===

impl Ring {
    /// Brings to the disk what should be there and is not. Slow, as disks are; call it from a thread that may wait.
    pub fn heal<F: Framing>(&self) -> Healed {
        base::lock::may_wait();
        let Some(_tenure) = self.lease.enter() else { return Healed { is_revoked: true, ..Healed::default() } };
        let _one_at_a_time = lock(&self.healing);
        let mut healed = Healed::default();
        let mut landed = Landed::default();
        // What is older first: a disk that has no room for that has none for what comes.
        let outcome = self.settle(&mut healed).and_then(|()| {
            lock(&self.appender).come_back::<F>(self, &mut landed)?;
            self.settle(&mut healed)
        });
        healed.in_memory = outcome.err().or(landed.in_memory).filter(|_| self.is_in_memory());
        healed.left = landed.left;
        healed
    }

    /// Whether records are in memory alone.
    pub fn is_in_memory(&self) -> bool {
        self.state().segments.iter().any(|segment| segment.memory)
    }

    /// Gives closed segments their place on disk.
    fn settle(&self, healed: &mut Healed) -> Result<(), RingError> {
        self.complete()?;
        for segment in self.open_and_closed() {
            if let Place::Open(file) = &segment.place
                && self.bring_to_disk(&segment, file)?
                && segment.memory
            {
                healed.segments += 1;
            }
        }
        Ok(())
    }

    /// Writes what the disk did not take of segments that are in their place. Without it their end would not be found
    /// once another segment follows them.
    pub(super) fn complete(&self) -> Result<(), RingError> {
        let is_incomplete = |segment: &&Segment| !segment.unwritten.is_empty();
        let incomplete: Vec<Segment> = self.state().segments.iter().filter(is_incomplete).cloned().collect();
        for segment in incomplete {
            let Place::Disk(path) = &segment.place else { continue };
            match place::open(path, true).and_then(|file| write_down(&file, &segment.unwritten)) {
                Ok(()) => {}
                // One that was deleted needs nothing more.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(RingError { doing: "complete the segment", path: path.clone(), source }),
            }
            self.settled(&segment, |_| {});
        }
        Ok(())
    }

    /// Segments that nobody writes to and that are in no file of the directory.
    fn open_and_closed(&self) -> Vec<Segment> {
        let appender = lock(&self.appender);
        let state = self.state();
        let closed = state.segments.iter().filter(|segment| Some(segment.number) != appender.number());
        closed.filter(|segment| matches!(segment.place, Place::Open(_))).cloned().collect()
    }

    /// Copies a segment into a file of its own; false when there is no need any more.
    fn bring_to_disk(&self, segment: &Segment, from: &File) -> Result<bool, RingError> {
        let len = segment.data_start + segment.data_len;
        // A deleted file takes room for as long as it is open, so the copy is in addition to it.
        if self.check_protected(len, false).is_err() {
            return Ok(false);
        }
        self.retire_for(len, false).map_err(|source| RingError {
            doing: "find room for the segment",
            path: place::segment_path(&self.dir, segment.number),
            source,
        })?;
        if !self.has(segment.number) {
            return Ok(false);
        }
        self.make_dir()?;
        let path = place::segment_path(&self.dir, segment.number);
        let new = path.with_extension("new");
        // One that a kill has left is half a copy.
        self.remove_file(&new);
        let written = place::create(&new).and_then(|file| {
            place::allocate(&file, 0, len)?;
            place::copy(from, &file, len)?;
            write_down(&file, &segment.unwritten)?;
            // An older file of this name may hold what was synced before.
            file.sync_all()?;
            if place::is_at(from, &path) {
                // The ring's own file: under no other name, and at no moment under none.
                fs::rename(&new, &path)?;
            } else {
                self.make_way(segment.number, &path);
                place::rename_to_free(&new, &path)?;
            }
            Ok(place::used(&file))
        });
        let used = written.map_err(|source| {
            self.remove_file(&new);
            RingError { doing: "write the segment", path: path.clone(), source }
        })?;
        let there = self.settled(segment, |segment| {
            segment.place = Place::Disk(path.clone());
            segment.memory = false;
            segment.allocated = used.max(len);
        });
        if !segment.memory {
            place::cut(from);
        }
        if there {
            self.state().unsynced.insert(segment.number);
        } else {
            // Retired meanwhile, and its file was not known.
            self.remove_file(&path);
        }
        Ok(there)
    }

    /// Notes that a segment is where it belongs; false when it is gone.
    fn settled(&self, segment: &Segment, change: impl FnOnce(&mut Segment)) -> bool {
        let mut state = self.state();
        let found = state.segments.iter_mut().find(|found| found.number == segment.number);
        found.is_some_and(|found| {
            found.unwritten = Vec::new();
            change(found);
            true
        })
    }

    fn has(&self, number: u64) -> bool {
        self.state().segments.iter().any(|segment| segment.number == number)
    }
}

fn write_down(file: &File, notes: &[Note]) -> io::Result<()> {
    notes.iter().try_for_each(|(at, structure)| file.write_all_at(structure, *at))
}
