//! All cursors of a ring: one for each place that its records go to.
//!
//! Each has a file of its own, `cursor-<name>`, so that places may be added, taken away and named in another order. A
//! cursor that has no file belongs to a place that was just added, and begins where the one stands that is the furthest
//! behind. For that to be true, all of them get their files before the first one moves.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::cursor::{self, NOTE};
use super::{Cursor, Position, RingError};

/// What the names of all cursors' files begin with.
const PREFIX: &str = "cursor-";

/// See the [module](self).
#[derive(Debug)]
pub struct Cursors {
    all: Vec<Cursor>,
}

// === impl Cursors ===

impl Cursors {
    /// Opens the cursors of these names in a ring's directory. The files of others are removed, but when no name is given:
    /// who does not know where the records go to must not forget how far they got.
    ///
    /// # Errors
    /// When a file is there and cannot be read.
    pub fn open(dir: &Path, names: &[String]) -> Result<Self, RingError> {
        let open = |name| Cursor::open(&dir.join(format!("{PREFIX}{name}")));
        let all = names.iter().map(open).collect::<Result<Vec<_>, _>>()?;
        let mut cursors = Self { all };
        if names.is_empty() {
            return Ok(cursors);
        }
        if let Some((position, note)) = furthest_behind(dir)
            && cursors.begin_new(position, note).is_err()
        {
            // The files of others still say where to begin, to the next process too.
            return Ok(cursors);
        }
        let is_named = |path: &PathBuf| cursors.all.iter().any(|cursor| cursor.path() == path);
        files(dir).filter(|path| !is_named(path)).for_each(|path| drop(fs::remove_file(path)));
        Ok(cursors)
    }

    /// What the cursor number `at` has saved last.
    pub fn saved(&self, at: usize) -> Option<(Position, [u8; NOTE])> {
        self.all.get(at)?.saved()
    }

    /// Saves a position and a note for the cursor number `at`.
    ///
    /// # Errors
    /// See [`Cursor::save`].
    pub fn save(&mut self, at: usize, position: Position, note: [u8; NOTE]) -> Result<(), RingError> {
        let has_files = self.all.iter().enumerate().all(|(other, cursor)| other == at || !cursor.is_new());
        let begun = if has_files { Ok(()) } else { self.begin_new(Position::default(), [0; NOTE]) };
        let Some(cursor) = self.all.get_mut(at) else { return Ok(()) };
        match begun {
            Ok(()) => cursor.save(position, note),
            Err(error) => {
                cursor.keep(position, note);
                Err(error)
            }
        }
    }

    /// Saves again what the disk did not take.
    ///
    /// # Errors
    /// When the disk still does not take it.
    pub fn save_again(&mut self) -> Result<(), RingError> {
        self.all.iter_mut().try_for_each(Cursor::save_again)
    }

    /// The files to sync for a power loss to move no cursor back.
    pub fn to_sync(&mut self) -> Vec<fs::File> {
        self.all.iter_mut().filter_map(Cursor::to_sync).collect()
    }

    /// The first record that not every place has, `None` while there is a place that has none.
    pub fn furthest_behind(&self) -> Option<u64> {
        let seqs = self.all.iter().map(|cursor| cursor.saved().map(|(position, _)| position.seq));
        seqs.min().flatten()
    }

    /// Gives those their files that have none.
    fn begin_new(&mut self, position: Position, note: [u8; NOTE]) -> Result<(), RingError> {
        let mut new = self.all.iter_mut().filter(|cursor| cursor.is_new());
        new.try_for_each(|cursor| cursor.save(position, note))
    }
}

/// What the cursor in `dir` has saved that is the furthest behind of all; `None` also when one is damaged.
pub fn furthest_behind(dir: &Path) -> Option<(Position, [u8; NOTE])> {
    let saved: Option<Vec<_>> = files(dir).map(|path| cursor::read(&path)).collect();
    saved?.into_iter().min_by_key(|(position, _)| position.seq)
}

/// The first record that the place of this name has not got, by what is saved in `dir`; `None` also when that is damaged.
pub fn saved_in(dir: &Path, name: &str) -> Option<u64> {
    cursor::read(&dir.join(format!("{PREFIX}{name}"))).map(|(position, _)| position.seq)
}

/// The furthest position that was saved in `dir`, for a ring that must not give its numbers again.
pub(super) fn furthest(dir: &Path) -> Position {
    let positions = files(dir).filter_map(|path| cursor::read(&path)).map(|(position, _)| position);
    positions.max_by_key(|position| (position.seq, position.segment)).unwrap_or_default()
}

/// The files of all cursors in `dir`.
fn files(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|entry| entry.file_name().as_bytes().starts_with(PREFIX.as_bytes())).map(|entry| entry.path())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seq: u64) -> Position {
        Position { segment: 1, offset: seq * 10, seq }
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn open(dir: &Path, of: &[&str]) -> Cursors {
        Cursors::open(dir, &names(of)).unwrap()
    }

    fn seqs(cursors: &Cursors) -> Vec<Option<u64>> {
        (0..cursors.all.len()).map(|at| cursors.saved(at).map(|(position, _)| position.seq)).collect()
    }

    #[test]
    fn one_that_has_got_nothing_is_not_taken_for_one_that_was_just_added() {
        let dir = tempfile::tempdir().unwrap();
        let mut cursors = open(dir.path(), &["up", "down"]);
        assert_eq!((seqs(&cursors), cursors.furthest_behind()), (vec![None, None], None));
        assert!(files(dir.path()).next().is_none(), "nothing is made before the first save");
        cursors.save(0, at(100), [1; NOTE]).unwrap();
        assert_eq!((seqs(&cursors), cursors.furthest_behind()), (vec![Some(100), Some(0)], Some(0)));
        assert_eq!(seqs(&open(dir.path(), &["up", "down"])), [Some(100), Some(0)]);
        assert_eq!(seqs(&open(dir.path(), &["down", "up"])), [Some(0), Some(100)], "the order does not matter");
        assert_eq!(furthest(dir.path()), at(100));
    }

    #[test]
    fn one_that_was_just_added_begins_where_the_last_of_the_others_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut cursors = open(dir.path(), &["a", "b"]);
        cursors.save(0, at(7), [7; NOTE]).unwrap();
        cursors.save(1, at(5), [5; NOTE]).unwrap();
        let cursors = open(dir.path(), &["a", "new"]);
        assert_eq!((cursors.saved(0), cursors.saved(1)), (Some((at(7), [7; NOTE])), Some((at(5), [5; NOTE]))));
        assert_eq!(seqs(&open(dir.path(), &["b"])), [Some(5)], "who was taken away is forgotten");
        assert_eq!(files(dir.path()).count(), 1);
    }

    #[test]
    fn who_names_none_removes_none() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), &["a", "b"]).save(0, at(7), [7; NOTE]).unwrap();
        open(dir.path(), &[]);
        assert_eq!(seqs(&open(dir.path(), &["a", "b"])), [Some(7), Some(0)]);
    }

    #[test]
    fn one_that_is_damaged_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut cursors = open(dir.path(), &["a", "b"]);
        cursors.save(0, at(7), [7; NOTE]).unwrap();
        fs::write(dir.path().join("cursor-b"), [1; 1024]).unwrap();
        assert_eq!(seqs(&open(dir.path(), &["a", "b"])), [Some(7), None]);
        assert_eq!(seqs(&open(dir.path(), &["a", "b", "c"])), [Some(7), None, None]);
    }
}
