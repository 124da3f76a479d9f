//! How far a reader has come, durable.
//!
//! ```text
//!   0  slot A   generation, position, note, CRC-32
//! 512  slot B   the same; slots are written in turn, the valid one with the higher generation counts
//! ```
//!
//! A save is one small write into the page cache: it survives a `kill -9` at once and a power loss after
//! [`Cursor::to_sync`]. A torn slot fails its checksum and the one before it counts: a reader then goes back a little,
//! never forward. Beside the position there are [`NOTE`] bytes for its owner, saved together with it.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::{Position, RingError, place};
use crate::disk;

/// Bytes a cursor keeps for its owner.
pub const NOTE: usize = 144;

const SLOT: usize = 256;
const SLOTS: [u64; 2] = [0, 512];

/// Bytes of a slot as the release before wrote it, with a note of 32 bytes; behind those the file is empty or holds zeros.
const OLD_SLOT: usize = 128;
const OLD_NOTE: usize = 32;

/// A durable position, and what its owner wants to remember with it.
#[derive(Debug)]
pub struct Cursor {
    path: PathBuf,
    /// Made at the first save.
    file: Option<File>,
    generation: u64,
    saved: Option<(Position, [u8; NOTE])>,
    /// The disk did not take the last save.
    unsaved: bool,
    dirty: bool,
}

// === impl Cursor ===

impl Cursor {
    /// Opens the cursor in a file. One that was never saved, or that is damaged in both slots, is at no position.
    ///
    /// # Errors
    /// When the file is there and cannot be read.
    pub fn open(path: &Path) -> Result<Self, RingError> {
        let path = path.to_path_buf();
        let (file, best) = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => {
                let best = read_best(&file);
                (Some(file), best)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, None),
            // It can be read, and is tried again with each save.
            Err(error) if disk::is_read_only(&error) => (None, File::open(&path).ok().as_ref().and_then(read_best)),
            Err(source) => return Err(RingError { doing: "open the cursor", path, source }),
        };
        Ok(Self {
            path,
            file,
            generation: best.map_or(0, |(generation, ..)| generation),
            saved: best.map(|(_, position, note)| (position, note)),
            unsaved: false,
            dirty: false,
        })
    }

    /// What was saved last.
    pub fn saved(&self) -> Option<(Position, [u8; NOTE])> {
        self.saved
    }

    /// Whether it has no file, as one that was never saved.
    pub fn is_new(&self) -> bool {
        self.saved.is_none() && self.file.is_none()
    }

    /// Where its file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Saves a position and a note; they survive the process from here on.
    ///
    /// # Errors
    /// When the disk does not take it. The cursor then stays where it was for the next process, which sends again
    /// what lies between.
    pub fn save(&mut self, position: Position, note: [u8; NOTE]) -> Result<(), RingError> {
        self.keep(position, note);
        let fail = |path: &Path, source| RingError { doing: "save the cursor", path: path.into(), source };
        if !self.is_in_place() {
            self.file = None;
            if let Some(dir) = self.path.parent() {
                disk::make_dir(dir).map_err(|source| fail(dir, source))?;
            }
            let made =
                OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&self.path);
            self.file = Some(made.map_err(|source| fail(&self.path, source))?);
        }
        let generation = self.generation + 1;
        let slot = encode(generation, position, &note);
        if let Some(file) = &self.file {
            file.write_all_at(&slot, SLOTS[(generation % 2) as usize]).map_err(|source| fail(&self.path, source))?;
        }
        self.generation = generation;
        self.unsaved = false;
        self.dirty = true;
        Ok(())
    }

    /// Takes a position and a note, to be [saved](Cursor::save_again) later.
    pub fn keep(&mut self, position: Position, note: [u8; NOTE]) {
        self.saved = Some((position, note));
        self.unsaved = true;
    }

    /// Saves again what the disk did not take, or what somebody has deleted.
    ///
    /// # Errors
    /// When the disk still does not take it.
    pub fn save_again(&mut self) -> Result<(), RingError> {
        match self.saved {
            Some((position, note)) if self.unsaved || !self.is_in_place() => self.save(position, note),
            _ => Ok(()),
        }
    }

    /// In a file that somebody has deleted the next process finds nothing.
    fn is_in_place(&self) -> bool {
        self.file.as_ref().is_some_and(|file| place::is_at(file, &self.path))
    }

    /// The file, if something was saved since the last call: sync it and a power loss does not move the cursor back.
    pub fn to_sync(&mut self) -> Option<File> {
        let dirty = std::mem::take(&mut self.dirty);
        self.file.as_ref().filter(|_| dirty)?.try_clone().ok()
    }
}

/// What was saved in a file, if it is a cursor's.
pub(super) fn read(path: &Path) -> Option<(Position, [u8; NOTE])> {
    let file = File::open(path).ok()?;
    read_best(&file).map(|(_, position, note)| (position, note))
}

fn encode(generation: u64, position: Position, note: &[u8; NOTE]) -> [u8; SLOT] {
    let mut slot = [0; SLOT];
    for (at, value) in [generation, position.segment, position.offset, position.seq].into_iter().enumerate() {
        slot[at * 8..at * 8 + 8].copy_from_slice(&value.to_le_bytes());
    }
    slot[32..32 + NOTE].copy_from_slice(note);
    let crc = crc32fast::hash(&slot[..SLOT - 4]);
    slot[SLOT - 4..].copy_from_slice(&crc.to_le_bytes());
    slot
}

fn decode(slot: &[u8; SLOT]) -> Option<(u64, Position, [u8; NOTE])> {
    let proven = |len: usize| slot[len - 4..len] == crc32fast::hash(&slot[..len - 4]).to_le_bytes();
    let kept = match () {
        () if proven(SLOT) => NOTE,
        () if proven(OLD_SLOT) => OLD_NOTE,
        () => return None,
    };
    let value = |at: usize| {
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&slot[at * 8..at * 8 + 8]);
        u64::from_le_bytes(bytes)
    };
    let mut note = [0; NOTE];
    note[..kept].copy_from_slice(&slot[32..32 + kept]);
    Some((value(0), Position { segment: value(1), offset: value(2), seq: value(3) }, note))
}

fn read_best(file: &File) -> Option<(u64, Position, [u8; NOTE])> {
    let slot = |at| {
        let mut slot = [0; SLOT];
        let mut read = 0;
        // The file of an old slot may end right behind it.
        while let Some(rest) = slot.get_mut(read..).filter(|rest| !rest.is_empty()) {
            match file.read_at(rest, at + read as u64).ok()? {
                0 => break,
                more => read += more,
            }
        }
        decode(&slot)
    };
    SLOTS.into_iter().filter_map(slot).max_by_key(|(generation, ..)| *generation)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "cursor";

    fn at(seq: u64) -> Position {
        Position { segment: 1, offset: seq * 10, seq }
    }

    #[test]
    fn a_cursor_is_where_it_was_saved() {
        let dir = tempfile::tempdir().unwrap();
        let mut cursor = Cursor::open(&dir.path().join(FILE)).unwrap();
        assert_eq!(cursor.saved(), None);
        assert!(!dir.path().join(FILE).exists(), "nothing is made before the first save");
        for seq in 1..6 {
            cursor.save(at(seq), [seq as u8; NOTE]).unwrap();
        }
        assert_eq!(Cursor::open(&dir.path().join(FILE)).unwrap().saved(), Some((at(5), [5; NOTE])));
        assert_eq!(read(&dir.path().join(FILE)), Some((at(5), [5; NOTE])));
    }

    #[test]
    fn a_torn_slot_means_the_save_before() {
        let dir = tempfile::tempdir().unwrap();
        let mut cursor = Cursor::open(&dir.path().join(FILE)).unwrap();
        cursor.save(at(1), [0; NOTE]).unwrap();
        cursor.save(at(2), [0; NOTE]).unwrap();
        let file = OpenOptions::new().write(true).open(dir.path().join(FILE)).unwrap();
        file.write_all_at(&[0xee; 7], SLOTS[0] + 20).unwrap();
        let mut cursor = Cursor::open(&dir.path().join(FILE)).unwrap();
        assert_eq!(cursor.saved(), Some((at(1), [0; NOTE])));
        cursor.save(at(3), [0; NOTE]).unwrap();
        assert_eq!(Cursor::open(&dir.path().join(FILE)).unwrap().saved(), Some((at(3), [0; NOTE])));
    }

    #[test]
    fn a_slot_of_the_release_before_is_read_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let file = OpenOptions::new().write(true).create_new(true).open(dir.path().join(FILE)).unwrap();
        for (generation, seq) in [(1, 1), (2, 2)] {
            let mut slot = [0; OLD_SLOT];
            slot[..OLD_SLOT - 4].copy_from_slice(&encode(generation, at(seq), &[9; NOTE])[..OLD_SLOT - 4]);
            slot[32 + OLD_NOTE..OLD_SLOT - 4].fill(0);
            let crc = crc32fast::hash(&slot[..OLD_SLOT - 4]);
            slot[OLD_SLOT - 4..].copy_from_slice(&crc.to_le_bytes());
            file.write_all_at(&slot, SLOTS[(generation % 2) as usize]).unwrap();
        }
        let mut note = [0; NOTE];
        note[..OLD_NOTE].fill(9);
        let mut cursor = Cursor::open(&dir.path().join(FILE)).unwrap();
        assert_eq!(cursor.saved(), Some((at(2), note)));
        cursor.save(at(3), [7; NOTE]).unwrap();
        assert_eq!(Cursor::open(&dir.path().join(FILE)).unwrap().saved(), Some((at(3), [7; NOTE])));
    }

    #[test]
    fn both_slots_damaged_is_no_position() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), [1; 1024]).unwrap();
        assert_eq!(Cursor::open(&dir.path().join(FILE)).unwrap().saved(), None);
    }
}
