//! A durable cursor: how far a reader has come.
//!
//! ```text
//!   0  slot A   generation, position, note, what the ring has given out, siblings, version, CRC-32
//! 512  slot B   the same; slots are written in turn, the valid one with the higher generation counts
//! ```
//!
//! A save is one small write into the page cache. It survives a `kill -9` at once and a power loss after
//! [`Cursor::to_sync`]. A torn slot fails its checksum and the earlier slot counts: a reader then goes back a little,
//! never forward. With the position, a save stores [`NOTE`] bytes for the cursor's owner, and the numbers that the ring
//! must not reuse, see `given`.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::given::{Given, Siblings};
use super::{Position, RingError, place};
use base::disk;

/// Bytes that a cursor stores for its owner.
pub const NOTE: usize = 144;

const SLOT: usize = 384;
const SLOTS: [u64; 2] = [0, 512];
const VERSION: u32 = 2;

/// The prefix of unreadable cursor files that were set aside.
const ASIDE: &str = "unreadable-";

/// Offset in a slot of the note, behind the generation and the position.
const NOTE_AT: usize = 32;
const GIVEN_AT: usize = 272;
const SIBLINGS_AT: usize = 288;
const VERSION_AT: usize = SLOT - 8;

const _: () = assert!(NOTE_AT + NOTE <= GIVEN_AT && SIBLINGS_AT + Siblings::LEN <= VERSION_AT);

/// Bytes of a slot in the earlier format, with a note of 32 bytes; behind them the file ends or holds zeros.
const OLD_SLOT: usize = 128;
const OLD_NOTE: usize = 32;

/// A durable position with a note of its owner.
#[derive(Debug)]
pub struct Cursor {
    path: PathBuf,
    /// Created at the first save.
    file: Option<File>,
    generation: u64,
    saved: Option<(Position, [u8; NOTE])>,
    /// The ring's next numbers, saved with the next position.
    given: Given,
    siblings: Siblings,
    /// Whether the file holds no valid slot. Its content must not count once a save succeeds.
    is_damaged: bool,
    /// Whether the disk refused the last save.
    unsaved: bool,
    dirty: bool,
}

/// The content of a slot.
#[derive(Clone, Debug)]
pub(super) struct Slot {
    generation: u64,
    pub position: Position,
    pub note: [u8; NOTE],
    pub given: Given,
    pub siblings: Siblings,
}

// === impl Cursor ===

impl Cursor {
    /// Opens the cursor in a file. It has no position if it was never saved, or if both slots are damaged.
    ///
    /// # Errors
    /// When the file exists and cannot be read.
    pub fn open(path: &Path) -> Result<Self, RingError> {
        let path = path.to_path_buf();
        let (file, best) = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => {
                let best = read_best(&file).ok().flatten();
                (Some(file), best)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => (None, None),
            // A read-only file can be read; each save tries to open it for writing.
            Err(error) if disk::is_read_only(&error) => {
                let fail = |source| RingError { doing: "read the cursor", path: path.clone(), source };
                (None, read(&path).map_err(fail)?)
            }
            Err(source) => return Err(RingError { doing: "open the cursor", path, source }),
        };
        Ok(Self {
            path,
            generation: best.as_ref().map_or(0, |slot| slot.generation),
            saved: best.as_ref().map(|slot| (slot.position, slot.note)),
            given: best.as_ref().map(|slot| slot.given).unwrap_or_default(),
            is_damaged: file.is_some() && best.is_none(),
            siblings: best.map(|slot| slot.siblings).unwrap_or_default(),
            // The last process may have died before it synced the file.
            dirty: file.is_some(),
            file,
            unsaved: false,
        })
    }

    /// The position and note that were saved last.
    pub fn saved(&self) -> Option<(Position, [u8; NOTE])> {
        self.saved
    }

    /// Whether it has no file, because it was never saved.
    pub fn is_new(&self) -> bool {
        self.saved.is_none() && self.file.is_none()
    }

    /// The path of its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets what the next save stores about the ring, beside the position.
    pub(super) fn knows(&mut self, given: Given, siblings: &Siblings) {
        self.given = self.given.and(given);
        if self.siblings != *siblings {
            self.siblings = siblings.clone();
            // Until that save, the file has the old siblings.
            self.unsaved |= self.saved.is_some();
        }
    }

    /// Saves a position and a note; they survive the process from here on.
    ///
    /// # Errors
    /// When the disk refuses the write. After a restart the cursor is then where it was, and the lines since are sent
    /// again.
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
        let reached = Given { next_seq: position.seq, next_number: position.segment + 1 };
        let (given, siblings) = (self.given.and(reached), self.siblings.clone());
        let slot = Slot { generation, position, note, given, siblings }.encode();
        if let Some(file) = &self.file {
            if self.is_damaged {
                // A slot that is unreadable now and readable later would count, because its generation is higher.
                file.set_len(0).map_err(|source| fail(&self.path, source))?;
                self.is_damaged = false;
            }
            file.write_all_at(&slot, SLOTS[(generation % 2) as usize]).map_err(|source| fail(&self.path, source))?;
        }
        self.generation = generation;
        self.unsaved = false;
        self.dirty = true;
        Ok(())
    }

    /// Keeps a position and a note in memory, to be [saved](Cursor::save_again) later.
    pub fn keep(&mut self, position: Position, note: [u8; NOTE]) {
        self.saved = Some((position, note));
        self.unsaved = true;
    }

    /// Saves again what the disk refused, or what another process has deleted.
    ///
    /// # Errors
    /// When the disk still refuses it.
    pub fn save_again(&mut self) -> Result<(), RingError> {
        match self.saved {
            Some((position, note)) if self.unsaved || !self.is_in_place() => self.save(position, note),
            _ => Ok(()),
        }
    }

    /// Whether the file is still at its path. The next process would not find a deleted file.
    fn is_in_place(&self) -> bool {
        self.file.as_ref().is_some_and(|file| place::is_at(file, &self.path))
    }

    /// The file, if it was saved since the last call. After a sync of it, a power loss does not move the cursor back.
    pub fn to_sync(&mut self) -> Option<File> {
        let dirty = std::mem::take(&mut self.dirty);
        self.file.as_ref().filter(|_| dirty)?.try_clone().ok()
    }
}

/// Reads the saved slot of a file; `None` if the file is not a valid cursor.
///
/// # Errors
/// When the process has no file descriptor left, which says nothing about the file.
pub(super) fn read(path: &Path) -> io::Result<Option<Slot>> {
    match File::open(path).and_then(|file| read_best(&file)) {
        Err(error) if disk::is_exhausted(&error) => Err(error),
        read => Ok(read.ok().flatten()),
    }
}

/// Renames an unreadable file, so that it no longer counts as a cursor.
///
/// Its content is unknown, and new numbers are given without it. So it must not count if it becomes readable again.
pub(super) fn set_aside_unreadable(path: &Path) {
    let read = File::open(path).and_then(|file| read_best(&file));
    let is_unreadable = read.is_err_and(|error| {
        error.kind() != io::ErrorKind::NotFound && !disk::is_read_only(&error) && !disk::is_exhausted(&error)
    });
    if let Some(name) = path.file_name().filter(|_| is_unreadable) {
        let mut aside = OsString::from(ASIDE);
        aside.push(name);
        // Where it cannot be renamed, it cannot be written either.
        let _ = fs::rename(path, path.with_file_name(aside));
    }
}

/// Whether `dir` has a file that [`set_aside_unreadable`] has renamed.
pub(super) fn are_set_aside(dir: &Path) -> bool {
    let mut entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.any(|entry| entry.file_name().as_bytes().starts_with(ASIDE.as_bytes()))
}

/// The valid slot with the higher generation.
///
/// # Errors
/// When neither slot can be read.
fn read_best(file: &File) -> io::Result<Option<Slot>> {
    let slot = |at| {
        let mut slot = [0; SLOT];
        place::read_up_to(file, &mut slot, at).map(|()| Slot::decode(&slot))
    };
    match SLOTS.map(slot) {
        [Err(error), Err(_)] => Err(error),
        slots => Ok(slots.into_iter().filter_map(|slot| slot.ok().flatten()).max_by_key(|slot| slot.generation)),
    }
}

// === impl Slot ===

impl Slot {
    fn encode(&self) -> [u8; SLOT] {
        let mut slot = [0; SLOT];
        let Position { segment, offset, seq } = self.position;
        for (at, value) in [self.generation, segment, offset, seq].into_iter().enumerate() {
            slot[at * 8..at * 8 + 8].copy_from_slice(&value.to_le_bytes());
        }
        slot[NOTE_AT..NOTE_AT + NOTE].copy_from_slice(&self.note);
        slot[GIVEN_AT..GIVEN_AT + 8].copy_from_slice(&self.given.next_seq.to_le_bytes());
        slot[GIVEN_AT + 8..GIVEN_AT + 16].copy_from_slice(&self.given.next_number.to_le_bytes());
        slot[SIBLINGS_AT..SIBLINGS_AT + Siblings::LEN].copy_from_slice(&self.siblings.encode());
        slot[VERSION_AT..VERSION_AT + 4].copy_from_slice(&VERSION.to_le_bytes());
        seal(&mut slot);
        slot
    }

    fn decode(slot: &[u8; SLOT]) -> Option<Self> {
        let is_this = is_sealed(slot) && slot[VERSION_AT..VERSION_AT + 4] == VERSION.to_le_bytes();
        if !is_this && !is_sealed(&slot[..OLD_SLOT]) {
            return None;
        }
        let value = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&slot[at..at + 8]);
            u64::from_le_bytes(bytes)
        };
        let position = Position { segment: value(8), offset: value(16), seq: value(24) };
        let mut note = [0; NOTE];
        let kept = if is_this { NOTE } else { OLD_NOTE };
        note[..kept].copy_from_slice(&slot[NOTE_AT..NOTE_AT + kept]);
        // In the earlier format, the note began with the two numbers up to which its owner had acknowledged.
        let (given, siblings) = if is_this {
            let given = Given { next_seq: value(GIVEN_AT), next_number: value(GIVEN_AT + 8) };
            (given, Siblings::decode(&slot[SIBLINGS_AT..SIBLINGS_AT + Siblings::LEN]))
        } else {
            let next_seq = position.seq.max(value(NOTE_AT)).max(value(NOTE_AT + 8));
            (Given { next_seq, next_number: position.segment.saturating_add(1) }, Siblings::default())
        };
        Some(Self { generation: value(0), position, note, given, siblings })
    }
}

/// Writes the checksum of a slot into its last four bytes.
fn seal(slot: &mut [u8]) {
    let fields = slot.len() - 4;
    let crc = crc32fast::hash(&slot[..fields]);
    slot[fields..].copy_from_slice(&crc.to_le_bytes());
}

fn is_sealed(slot: &[u8]) -> bool {
    let (fields, crc) = slot.split_at(slot.len() - 4);
    crc == crc32fast::hash(fields).to_le_bytes()
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
        assert_eq!(read(&dir.path().join(FILE)).unwrap().unwrap().position, at(5));
    }

    #[test]
    fn a_save_of_the_last_process_is_synced_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cursor");
        assert!(Cursor::open(&path).unwrap().to_sync().is_none());
        Cursor::open(&path).unwrap().save(at(7), [0; NOTE]).unwrap();
        let mut next = Cursor::open(&path).unwrap();
        assert!(next.to_sync().is_some());
        assert!(next.to_sync().is_none(), "once");
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
            let (note, given, siblings) = ([9; NOTE], Given::default(), Siblings::default());
            let whole = Slot { generation, position: at(seq), note, given, siblings }.encode();
            slot[..NOTE_AT + OLD_NOTE].copy_from_slice(&whole[..NOTE_AT + OLD_NOTE]);
            seal(&mut slot);
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

    #[test]
    fn old_slots_of_a_damaged_file_do_not_count_after_a_save() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let mut cursor = Cursor::open(&path).unwrap();
        (1..=6).for_each(|seq| cursor.save(at(seq), [0; NOTE]).unwrap());
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, [1; 1024]).unwrap();
        let mut cursor = Cursor::open(&path).unwrap();
        // The file is unreadable for a while, and then readable again.
        std::fs::write(&path, whole).unwrap();
        cursor.save(at(2), [0; NOTE]).unwrap();
        assert_eq!(Cursor::open(&path).unwrap().saved().unwrap().0, at(2));
    }

    #[test]
    fn a_slot_of_the_format_before_is_read_with_the_marks_in_its_note() {
        let mut slot = [0; SLOT];
        for (word, value) in [7u64, 3, 99, 4, 0, 23, 1, 2].into_iter().enumerate() {
            slot[word * 8..word * 8 + 8].copy_from_slice(&value.to_le_bytes());
        }
        seal(&mut slot[..OLD_SLOT]);
        let read = Slot::decode(&slot).unwrap();
        assert_eq!((read.generation, read.position), (7, Position { segment: 3, offset: 99, seq: 4 }));
        assert_eq!(read.given, Given { next_seq: 23, next_number: 4 });
        slot[40] ^= 1;
        assert!(Slot::decode(&slot).is_none());
    }
}
