//! All cursors of a ring: one for each destination of its records.
//!
//! Each has its own file, `cursor-<name>`, so that destinations may be added, removed and reordered. A cursor without a
//! file belongs to a new destination, and begins where the cursor furthest behind is. So all cursors get their files
//! before the first one moves.
//!
//! Each file lists the other cursors. A listed cursor without a file was lost, for example to a power loss, and begins
//! with the oldest record. If no cursor was ever saved, all begin with the ring's first record, overwritten or not:
//! those records were unsent.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::cursor::{self, NOTE, Slot};
use super::given::{Given, Siblings};
use super::{Cursor, Position, Ring, RingError, lock};
use base::disk;

/// The prefix of all cursor files.
const PREFIX: &str = "cursor-";

/// The prefix of a file that is not complete and not yet a cursor.
const STAGED: &str = "new-";

/// The name of a destination, unique in its ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub now: String,
    /// The name in an earlier release, if different. Two destinations may have shared one name there, and so one
    /// cursor.
    pub former: Option<String>,
}

/// The cursors of a ring, see the [module](self).
#[derive(Debug)]
pub struct Cursors {
    ring: Arc<Ring>,
    all: Vec<Cursor>,
    /// The start position of cursors that were never saved.
    begin: Position,
    shown: Saved,
}

/// A view of the saved positions for readers that must not wait for a save. Its lock is held for a few instructions,
/// never across a system call.
#[derive(Clone, Debug, Default)]
pub struct Saved(Arc<Mutex<Vec<Option<Position>>>>);

// === impl Cursors ===

impl Cursors {
    /// Opens the cursors of these names and removes other cursor files. An empty list removes none: the destinations
    /// are then unknown, and their progress must be kept.
    ///
    /// # Errors
    /// When a file exists and cannot be read, or a [newer instance](Ring::open) of the ring has the folder.
    pub fn open(ring: &Arc<Ring>, names: &[Name]) -> Result<Self, RingError> {
        base::lock::may_wait();
        let _tenure = ring.enter()?;
        let dir = ring.dir();
        hand_over(dir, names);
        let all = names.iter().map(|name| Cursor::open(&name.path(dir))).collect::<Result<Vec<_>, _>>()?;
        let fail = |source| RingError { doing: "read the cursors in", path: dir.into(), source };
        let saved = slots(dir).map_err(fail)?;
        let was_ever_saved = !saved.is_empty() || cursor::are_set_aside(dir);
        let begin = if was_ever_saved { ring.oldest() } else { Position::default() };
        let mut cursors = Self { ring: ring.clone(), all, begin, shown: Saved::default() };
        cursors.show();
        if names.is_empty() {
            return Ok(cursors);
        }
        let is_lost = |(name, cursor): (&Name, &Cursor)| {
            // If a file could not be renamed, its former name still counts.
            let paths = std::iter::once(name.path(dir)).chain(name.former_path(dir).filter(|path| !path.exists()));
            let mut paths = paths.filter(|_| cursor.is_new());
            paths.any(|path| saved.iter().flatten().any(|slot| slot.siblings.has(file_name(&path))))
        };
        let any_is_lost = names.iter().zip(&cursors.all).any(is_lost);
        cursors.inform();
        let begun = match furthest_behind_of(saved) {
            // A lost cursor may be the furthest behind.
            Some(slot) if !any_is_lost => cursors.begin_new(slot.position, slot.note),
            _ => Ok(()),
        };
        // Saves the cursors whose list of siblings has changed.
        let saved = begun.and_then(|()| cursors.save_again());
        cursors.show();
        if saved.is_err() {
            // The other files still say where to begin, also to the next process.
            return Ok(cursors);
        }
        let is_named = |path: &PathBuf| cursors.all.iter().any(|cursor| cursor.path() == path);
        files(dir).filter(|path| !is_named(path)).for_each(|path| drop(fs::remove_file(path)));
        Ok(cursors)
    }

    /// The position and note that cursor `at` has saved last.
    pub fn saved(&self, at: usize) -> Option<(Position, [u8; NOTE])> {
        self.all.get(at)?.saved()
    }

    /// The start position and note of cursor `at`: its last save, or the start of one that was never saved. Records
    /// from there on that the ring no longer has are lost.
    pub fn start(&self, at: usize) -> (Position, [u8; NOTE]) {
        self.saved(at).unwrap_or((self.begin, [0; NOTE]))
    }

    /// Saves a position and a note for cursor `at`.
    ///
    /// # Errors
    /// See [`Cursor::save`]; also when a [newer instance](Ring::open) of the ring has the folder.
    pub fn save(&mut self, at: usize, position: Position, note: [u8; NOTE]) -> Result<(), RingError> {
        let saved = self.save_one(at, position, note);
        self.show();
        saved
    }

    fn save_one(&mut self, at: usize, position: Position, note: [u8; NOTE]) -> Result<(), RingError> {
        base::lock::may_wait();
        let ring = self.ring.clone();
        let _tenure = ring.enter()?;
        self.inform();
        let has_files = self.all.iter().enumerate().all(|(other, cursor)| other == at || !cursor.is_new());
        let begun = if has_files { Ok(()) } else { self.begin_new(self.begin, [0; NOTE]) };
        let Some(cursor) = self.all.get_mut(at) else { return Ok(()) };
        match begun {
            Ok(()) => cursor.save(position, note),
            Err(error) => {
                cursor.keep(position, note);
                Err(error)
            }
        }
    }

    /// Saves again what the disk refused.
    ///
    /// # Errors
    /// When the disk still refuses it, or a [newer instance](Ring::open) of the ring has the folder.
    pub fn save_again(&mut self) -> Result<(), RingError> {
        base::lock::may_wait();
        let ring = self.ring.clone();
        let _tenure = ring.enter()?;
        self.all.iter_mut().try_for_each(Cursor::save_again)
    }

    /// The files to sync, so that a power loss moves no cursor back.
    pub fn to_sync(&mut self) -> Vec<fs::File> {
        self.all.iter_mut().filter_map(Cursor::to_sync).collect()
    }

    /// The first record that some destination still needs; `None` while a destination has no position.
    pub fn furthest_behind(&self) -> Option<u64> {
        let seqs = self.all.iter().map(|cursor| cursor.saved().map(|(position, _)| position.seq));
        seqs.min().flatten()
    }

    /// Sets in all cursors what the next save stores about the ring.
    fn inform(&mut self) {
        let siblings = Siblings::of(self.all.iter().map(|cursor| file_name(cursor.path())));
        let given = self.ring.given();
        self.all.iter_mut().for_each(|cursor| cursor.knows(given, &siblings));
    }

    /// The saved positions, updated at each save.
    pub fn shown(&self) -> Saved {
        self.shown.clone()
    }

    fn show(&self) {
        *lock(&self.shown.0) = self.all.iter().map(|cursor| cursor.saved().map(|(position, _)| position)).collect();
    }

    /// Creates the files of cursors that have none.
    fn begin_new(&mut self, position: Position, note: [u8; NOTE]) -> Result<(), RingError> {
        let mut new = self.all.iter_mut().filter(|cursor| cursor.is_new());
        new.try_for_each(|cursor| cursor.save(position, note))
    }
}

/// The position furthest behind of all cursors in `dir`; `None` also when a cursor is damaged or cannot be read.
pub fn furthest_behind(dir: &Path) -> Option<Position> {
    furthest_behind_of(slots(dir).ok()?).map(|slot| slot.position)
}

fn furthest_behind_of(slots: Vec<Option<Slot>>) -> Option<Slot> {
    let all: Option<Vec<_>> = slots.into_iter().collect();
    all?.into_iter().min_by_key(|slot| slot.position.seq)
}

// === impl Name ===

impl Name {
    fn path(&self, dir: &Path) -> PathBuf {
        dir.join(format!("{PREFIX}{}", self.now))
    }

    fn former_path(&self, dir: &Path) -> Option<PathBuf> {
        self.former.as_ref().map(|name| dir.join(format!("{PREFIX}{name}")))
    }
}

impl From<&str> for Name {
    fn from(name: &str) -> Self {
        Self { now: name.to_owned(), former: None }
    }
}

// === impl Saved ===

impl Saved {
    /// The position that cursor `at` has saved last.
    pub fn position(&self, at: usize) -> Option<Position> {
        *lock(&self.0).get(at)?
    }

    /// The first record that some destination still needs; `None` while a destination has no position.
    pub fn furthest_behind(&self) -> Option<u64> {
        lock(&self.0).iter().map(|position| position.map(|position| position.seq)).min().flatten()
    }
}

/// The first record that this destination has not acknowledged, by the files in `dir`; `None` also when its file is
/// damaged.
pub fn saved_in(dir: &Path, name: &Name) -> Option<u64> {
    let path = Some(name.path(dir)).filter(|path| path.exists()).or_else(|| name.former_path(dir))?;
    cursor::read(&path).ok()?.map(|slot| slot.position.seq)
}

/// Renames the files of an earlier release to their present names.
///
/// If the disk refuses, the file stays. The destination then begins where the cursor furthest behind is.
fn hand_over(dir: &Path, names: &[Name]) {
    let is_due = |name: &&Name| !name.path(dir).exists();
    for (at, name) in names.iter().enumerate().filter(|(_, name)| is_due(name)) {
        let Some(former) = name.former_path(dir).filter(|path| path.exists()) else { continue };
        let is_shared = names[at + 1..].iter().filter(is_due).any(|other| other.former == name.former);
        let handed_over = if is_shared { copy(&former, &name.path(dir)) } else { fs::rename(&former, name.path(dir)) };
        if handed_over.is_err() {
            return;
        }
    }
}

/// Copies a file under a temporary name first, so that a file with its final name is complete.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let mut staged = OsString::from(STAGED);
    staged.push(to.file_name().unwrap_or_default());
    let staged = to.with_file_name(staged);
    fs::copy(from, &staged)?;
    fs::File::open(&staged)?.sync_all()?;
    fs::rename(&staged, to)
}

/// The next numbers of the ring in `dir` that its cursors know, those of removed destinations included.
///
/// # Errors
/// When the process has no file descriptor left.
pub(super) fn given(dir: &Path) -> io::Result<Given> {
    Ok(slots(dir)?.into_iter().flatten().fold(Given::default(), |given, slot| given.and(slot.given)))
}

/// Sets aside the cursors in `dir` that the disk cannot read.
pub(super) fn set_aside_unreadable(dir: &Path) {
    for path in files(dir) {
        cursor::set_aside_unreadable(&path);
    }
}

/// The slots of all cursors in `dir`; `None` for a damaged one.
///
/// # Errors
/// When the process has no file descriptor left, which says nothing about the files.
fn slots(dir: &Path) -> io::Result<Vec<Option<Slot>>> {
    let paths: Vec<_> = files_or_error(dir)?.collect();
    paths.iter().map(|path| cursor::read(path)).collect()
}

fn file_name(path: &Path) -> &[u8] {
    path.file_name().unwrap_or_default().as_bytes()
}

/// The paths of all cursor files in `dir`.
fn files(dir: &Path) -> impl Iterator<Item = PathBuf> {
    files_or_error(dir).into_iter().flatten()
}

fn files_or_error(dir: &Path) -> io::Result<impl Iterator<Item = PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if disk::is_exhausted(&error) => return Err(error),
        entries => entries.into_iter().flatten().flatten(),
    };
    let paths =
        entries.filter(|entry| entry.file_name().as_bytes().starts_with(PREFIX.as_bytes())).map(|entry| entry.path());
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::super::tests;
    use super::*;

    fn at(seq: u64) -> Position {
        Position { segment: 1, offset: seq * 10, seq }
    }

    fn names(names: &[&str]) -> Vec<Name> {
        names.iter().map(|name| Name::from(*name)).collect()
    }

    /// Destinations by their present and former names.
    fn renamed(names: &[(&str, &str)]) -> Vec<Name> {
        names.iter().map(|(now, former)| Name { now: (*now).into(), former: Some((*former).into()) }).collect()
    }

    fn files_in(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = files(dir).map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect();
        names.sort();
        names
    }

    fn open(dir: &Path, of: &[&str]) -> Cursors {
        Cursors::open(&tests::open(dir, tests::BOOT), &names(of)).unwrap()
    }

    fn seqs(cursors: &Cursors) -> Vec<Option<u64>> {
        (0..cursors.all.len()).map(|at| cursors.saved(at).map(|(position, _)| position.seq)).collect()
    }

    #[test]
    fn a_cursor_that_has_saved_nothing_is_not_treated_as_new() {
        let dir = tempfile::tempdir().unwrap();
        let mut cursors = open(dir.path(), &["up", "down"]);
        assert_eq!((seqs(&cursors), cursors.furthest_behind()), (vec![None, None], None));
        assert!(files(dir.path()).next().is_none(), "nothing is made before the first save");
        cursors.save(0, at(100), [1; NOTE]).unwrap();
        assert_eq!((seqs(&cursors), cursors.furthest_behind()), (vec![Some(100), Some(0)], Some(0)));
        assert_eq!(seqs(&open(dir.path(), &["up", "down"])), [Some(100), Some(0)]);
        assert_eq!(seqs(&open(dir.path(), &["down", "up"])), [Some(0), Some(100)], "the order does not matter");
        assert_eq!(given(dir.path()).unwrap(), Given { next_seq: 100, next_number: 2 });
    }

    #[test]
    fn a_new_cursor_begins_where_the_furthest_behind_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut cursors = open(dir.path(), &["a", "b"]);
        cursors.save(0, at(7), [7; NOTE]).unwrap();
        cursors.save(1, at(5), [5; NOTE]).unwrap();
        let cursors = open(dir.path(), &["a", "new"]);
        assert_eq!((cursors.saved(0), cursors.saved(1)), (Some((at(7), [7; NOTE])), Some((at(5), [5; NOTE]))));
        assert_eq!(seqs(&open(dir.path(), &["b"])), [Some(5)], "who was taken away is forgotten");
        assert_eq!(files(dir.path()).count(), 1);
    }

    /// Records that were overwritten before the first save were unsent for all destinations, also after a kill, and
    /// after the container's options were unusable for a while.
    #[test]
    fn cursors_that_were_never_saved_begin_with_the_first_record() {
        let dir = tempfile::tempdir().unwrap();
        let ring = tests::open(dir.path(), tests::BOOT);
        let mut cursors = Cursors::open(&ring, &names(&["up", "down"])).unwrap();
        let mut writer = ring.writer("a");
        for time in 0..400 {
            tests::land(&mut writer, &tests::record(time, &[b'x'; 50]));
        }
        assert!(ring.oldest().seq > 0);
        let starts = |cursors: &Cursors| [0, 1].map(|at| cursors.start(at).0.seq);
        assert_eq!(starts(&cursors), [0, 0]);
        assert_eq!(starts(&Cursors::open(&ring, &names(&["up", "down"])).unwrap()), [0, 0], "after a kill");
        cursors.save(0, ring.oldest(), [1; NOTE]).unwrap();
        let cursors = Cursors::open(&ring, &names(&["up", "down"])).unwrap();
        assert_eq!(starts(&cursors), [ring.oldest().seq, 0]);
        let of_all = ring.oldest().seq;
        for of_none in ["cursor-up", "cursor-down"] {
            fs::write(dir.path().join(of_none), [1; 1024]).unwrap();
        }
        assert_eq!(starts(&Cursors::open(&ring, &names(&["up", "down"])).unwrap()), [of_all; 2], "not known");
    }

    #[test]
    fn an_empty_list_of_names_removes_no_cursor() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), &["a", "b"]).save(0, at(7), [7; NOTE]).unwrap();
        open(dir.path(), &[]);
        assert_eq!(seqs(&open(dir.path(), &["a", "b"])), [Some(7), Some(0)]);
    }

    #[test]
    fn a_damaged_cursor_has_no_position() {
        let dir = tempfile::tempdir().unwrap();
        let mut cursors = open(dir.path(), &["a", "b"]);
        cursors.save(0, at(7), [7; NOTE]).unwrap();
        fs::write(dir.path().join("cursor-b"), [1; 1024]).unwrap();
        assert_eq!(seqs(&open(dir.path(), &["a", "b"])), [Some(7), None]);
        assert_eq!(seqs(&open(dir.path(), &["a", "b", "c"])), [Some(7), None, None]);
    }

    /// A power loss took the file of a cursor that had acknowledged nothing. It is not a new destination, so it must
    /// not begin where the others are.
    #[test]
    fn a_cursor_whose_file_was_lost_begins_with_the_oldest_record() {
        let dir = tempfile::tempdir().unwrap();
        tests::land(&mut tests::open(dir.path(), tests::BOOT).writer("a"), &tests::record(1, b"the oldest"));
        open(dir.path(), &["up", "down"]).save(0, at(100), [1; NOTE]).unwrap();
        fs::remove_file(dir.path().join("cursor-down")).unwrap();
        for _ in 0..2 {
            assert_eq!(seqs(&open(dir.path(), &["up", "down"])), [Some(100), None]);
            assert_eq!(seqs(&open(dir.path(), &["up", "down", "new"])), [Some(100), None, None]);
        }
        open(dir.path(), &["up", "down"]).save(0, at(120), [1; NOTE]).unwrap();
        assert_eq!(seqs(&open(dir.path(), &["up", "down"])), [Some(120), Some(0)]);
    }

    #[test]
    fn a_cursor_that_was_removed_and_added_again_is_new() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), &["a", "b"]).save(0, at(100), [1; NOTE]).unwrap();
        open(dir.path(), &["a"]);
        assert_eq!(seqs(&open(dir.path(), &["a", "b"])), [Some(100), Some(100)]);
    }

    #[test]
    fn numbers_are_above_what_any_cursor_has_acknowledged_also_one_that_is_not_named() {
        for named in [&["kept"][..], &["gone"], &["other"], &[]] {
            let dir = tempfile::tempdir().unwrap();
            let ring = tests::open(dir.path(), tests::BOOT);
            let mut writer = ring.writer("a");
            (0..10).for_each(|time| drop(tests::land(&mut writer, &tests::record(time, b"not synced"))));
            // An open line keeps both positions back; records behind it are acknowledged all the same.
            let mut cursors = Cursors::open(&ring, &names(&["kept", "gone"])).unwrap();
            cursors.save(0, ring.oldest(), [9; NOTE]).unwrap();
            (0..10).for_each(|time| drop(tests::land(&mut writer, &tests::record(time, b"not synced"))));
            cursors.save(1, ring.oldest(), [9; NOTE]).unwrap();
            drop((writer, cursors, ring));
            for file in fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path()) {
                if file.extension().is_some() {
                    fs::remove_file(file).unwrap();
                }
            }
            for boot in 2..5 {
                let ring = tests::open(dir.path(), super::super::BootId([boot; 16]));
                assert_eq!(ring.published().next_seq, 20, "{named:?}");
                drop(Cursors::open(&ring, &names(named)).unwrap());
            }
        }
    }

    #[test]
    fn a_file_of_an_earlier_release_is_found_by_its_former_name_and_renamed() {
        let dir = tempfile::tempdir().unwrap();
        let mut cursors = open(dir.path(), &["old-a", "old-b"]);
        cursors.save(0, at(7), [7; NOTE]).unwrap();
        cursors.save(1, at(5), [5; NOTE]).unwrap();
        drop(cursors);
        let now = renamed(&[("a", "old-a"), ("new", "old-new"), ("b", "old-b")]);
        assert_eq!(now.iter().map(|name| saved_in(dir.path(), name)).collect::<Vec<_>>(), [Some(7), None, Some(5)]);
        for _ in 0..2 {
            let cursors = Cursors::open(&tests::open(dir.path(), tests::BOOT), &now).unwrap();
            assert_eq!(seqs(&cursors), [Some(7), Some(5), Some(5)]);
            assert_eq!(cursors.saved(0), Some((at(7), [7; NOTE])), "with its note");
            assert_eq!(files_in(dir.path()), ["cursor-a", "cursor-b", "cursor-new"]);
        }
        assert_eq!(now.iter().map(|name| saved_in(dir.path(), name)).collect::<Vec<_>>(), [Some(7), Some(5), Some(5)]);
    }

    #[test]
    fn places_that_shared_a_file_in_an_earlier_release_have_one_each_and_begin_where_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let mut cursors = open(dir.path(), &["shared", "behind"]);
        cursors.save(0, at(7), [7; NOTE]).unwrap();
        cursors.save(1, at(5), [5; NOTE]).unwrap();
        drop(cursors);
        let now = renamed(&[("a", "shared"), ("behind", "behind"), ("b", "shared")]);
        let mut cursors = Cursors::open(&tests::open(dir.path(), tests::BOOT), &now).unwrap();
        assert_eq!(seqs(&cursors), [Some(7), Some(5), Some(7)]);
        cursors.save(2, at(9), [9; NOTE]).unwrap();
        drop(cursors);
        let cursors = Cursors::open(&tests::open(dir.path(), tests::BOOT), &now).unwrap();
        assert_eq!(seqs(&cursors), [Some(7), Some(5), Some(9)]);
        assert_eq!(files_in(dir.path()), ["cursor-a", "cursor-b", "cursor-behind"]);
    }

    #[test]
    fn a_cursor_whose_file_was_lost_before_it_was_renamed_begins_with_the_oldest_record() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), &["old-a", "old-b"]).save(0, at(100), [1; NOTE]).unwrap();
        fs::remove_file(dir.path().join("cursor-old-b")).unwrap();
        let now = renamed(&[("a", "old-a"), ("b", "old-b")]);
        for _ in 0..2 {
            let cursors = Cursors::open(&tests::open(dir.path(), tests::BOOT), &now).unwrap();
            assert_eq!(seqs(&cursors), [Some(100), None]);
        }
    }
}
