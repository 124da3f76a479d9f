//! Healing: moves to the disk what it refused or lost before.
//!
//! That is: segments in memory, active files that another process has deleted, and structures that could not be
//! written.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;

use super::appender::Landed;
use super::format::Note;
use super::place::{self, Place};
use super::{Framing, Ring, RingError, Segment, lock};

/// The result of [`Ring::heal`].
#[derive(Debug, Default)]
pub struct Healed {
    /// Nothing was done, because a newer instance of the ring has the folder, see [`Ring::open`].
    pub is_revoked: bool,
    /// The error for which segments are still, or now, in memory.
    pub in_memory: Option<RingError>,
    /// The error for which a file was left before it was full and another one begun.
    pub left: Option<RingError>,
    /// Segments that moved from memory to disk.
    pub segments: u64,
}

// === impl Ring ===

impl Ring {
    /// Moves to the disk what it refused or lost. Waits for the disk: call it from a thread that may block.
    pub fn heal<F: Framing>(&self) -> Healed {
        base::lock::may_wait();
        let Some(_tenure) = self.lease.enter() else { return Healed { is_revoked: true, ..Healed::default() } };
        let _one_at_a_time = lock(&self.healing);
        let mut healed = Healed::default();
        let mut landed = Landed::default();
        // Older segments first: a disk without room for them has none for newer ones.
        let outcome = self.settle(&mut healed).and_then(|()| {
            lock(&self.appender).come_back::<F>(self, &mut landed)?;
            self.settle(&mut healed)
        });
        healed.in_memory = outcome.err().or(landed.in_memory).filter(|_| self.is_in_memory());
        healed.left = landed.left;
        healed
    }

    /// Whether some records are only in memory.
    pub fn is_in_memory(&self) -> bool {
        self.state().segments.iter().any(|segment| segment.memory)
    }

    /// Moves closed segments to their place on disk.
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

    /// Writes the missing structures of segments on disk. Without them recovery would not find a segment's end once
    /// another segment follows it.
    pub(super) fn complete(&self) -> Result<(), RingError> {
        let is_incomplete = |segment: &&Segment| !segment.unwritten.is_empty();
        let incomplete: Vec<Segment> = self.state().segments.iter().filter(is_incomplete).cloned().collect();
        for segment in incomplete {
            let Place::Disk(path) = &segment.place else { continue };
            match place::open(path, true).and_then(|file| write_down(&file, &segment.unwritten)) {
                Ok(()) => {}
                // A deleted segment needs no structures.
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(RingError { doing: "complete the segment", path: path.clone(), source }),
            }
            self.settled(&segment, |_| {});
        }
        Ok(())
    }

    /// Closed segments that have no file in the directory.
    fn open_and_closed(&self) -> Vec<Segment> {
        let appender = lock(&self.appender);
        let state = self.state();
        let closed = state.segments.iter().filter(|segment| Some(segment.number) != appender.number());
        closed.filter(|segment| matches!(segment.place, Place::Open(_))).cloned().collect()
    }

    /// Copies a segment into its own file; false when the copy is no longer needed.
    fn bring_to_disk(&self, segment: &Segment, from: &File) -> Result<bool, RingError> {
        let len = segment.data_start + segment.data_len;
        // A deleted file takes space while it is open, so the copy takes space in addition.
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
        // A kill may have left half a copy.
        self.remove_file(&new);
        let written = place::create(&new).and_then(|file| {
            place::allocate(&file, 0, len)?;
            place::copy(from, &file, len)?;
            write_down(&file, &segment.unwritten)?;
            // An older file of this name may hold synced records.
            file.sync_all()?;
            if place::is_at(from, &path) {
                // The file is the ring's own, so the copy replaces it in one step.
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
            // The segment was evicted meanwhile, when its file was not known.
            self.remove_file(&path);
        }
        Ok(there)
    }

    /// Records that a segment is in its place; false when it is gone.
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
