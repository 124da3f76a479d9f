//! Small files that survive a power loss, written where no caller may wait for the disk.
//!
//! A file that is renamed into place without a sync is empty after a power loss, and a sync can take seconds. So a file
//! is written in two steps: after the first it survives the process, after the second the machine.
//!
//! ```text
//! stage    <name>.new  ─rename─▶  <name>.next                        wherever it is written
//! settle   <name>.next ─rename─▶  <name>.syncing ─sync, rename─▶  <name>.json, sync of the folder   beside it
//! ```
//!
//! The first that exists of `.next`, `.syncing` and `.json` counts. Its last line is a checksum of the rest, which
//! detects a file torn by a power loss. An older file does not replace a torn one: what was stored since belongs to the
//! newer content. A `.json` without that line was written by an earlier release.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{is_exhausted, sync_dir, write_whole};
use crate::lock;

/// The most bytes read from a file. execve(2) bounds dockerd's description of a container to 2 MiB.
const LONGEST: u64 = 16 * 1024 * 1024;

/// The beginning of the last line, followed by eight hexadecimal digits and a newline.
const CRC: &[u8] = b"\ncrc32 ";

/// Bytes of the last line, the newline before it included.
const TRAILER: usize = CRC.len() + 8 + 1;

/// What reading a file gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The whole content.
    Whole(Vec<u8>),
    /// There is no such file.
    Absent,
    /// The newest version is damaged, or the disk cannot read it.
    Unreadable,
    /// The process has no file descriptor left, which says nothing about the file.
    OutOfFiles,
}

// === impl Content ===

impl Content {
    fn from_error(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Absent,
            _ if is_exhausted(error) => Self::OutOfFiles,
            _ => Self::Unreadable,
        }
    }
}

/// Writes a file, given the path of its `.json`. It survives the process from here on, without waiting for a sync.
///
/// # Errors
/// When the file system refuses; the content before this call is then unchanged.
pub fn stage(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut sealed = bytes.to_vec();
    sealed.extend_from_slice(CRC);
    sealed.extend_from_slice(format!("{:08x}\n", crc32fast::hash(bytes)).as_bytes());
    write_whole(&next(path), &sealed)
}

/// Makes a staged file survive a power loss; false when none was staged. Waits for the disk.
///
/// # Errors
/// When the disk fails the sync; the caller should retry.
pub fn settle(path: &Path) -> io::Result<bool> {
    let is_settled = settle_one(path)?;
    if is_settled && let Some(dir) = path.parent() {
        sync_dir(dir)?;
    }
    Ok(is_settled)
}

/// Settles every staged file in a folder, with one sync of the folder. Damaged files stay as they are.
///
/// # Errors
/// The first error; the other files are settled all the same.
pub fn settle_all(dir: &Path) -> io::Result<()> {
    let mut outcome = Ok(false);
    for path in all(dir)? {
        let settled = settle_one(&path);
        outcome = match (outcome, settled) {
            (Ok(any), Ok(one)) => Ok(any || one),
            (Err(error), _) | (Ok(_), Err(error)) => Err(error),
        };
    }
    if outcome? { sync_dir(dir) } else { Ok(()) }
}

/// Reads a file, given the path of its `.json`.
pub fn read(path: &Path) -> Content {
    lock::may_wait();
    for place in [next(path), syncing(path)] {
        match read_file(&place) {
            Ok(bytes) => return unseal(bytes).map_or(Content::Unreadable, Content::Whole),
            // Another thread may move it from one name to the next meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Content::from_error(&error),
        }
    }
    match read_file(path) {
        Ok(bytes) if has_trailer(&bytes) => unseal(bytes).map_or(Content::Unreadable, Content::Whole),
        Ok(bytes) if bytes.is_empty() => Content::Unreadable,
        Ok(bytes) => Content::Whole(bytes),
        Err(error) => Content::from_error(&error),
    }
}

/// Whether the file exists, in any state.
pub fn exists(path: &Path) -> bool {
    [next(path), syncing(path), path.to_path_buf()].iter().any(|place| place.exists())
}

/// Whether the file is staged and not yet settled.
pub fn is_staged(path: &Path) -> bool {
    next(path).exists() || syncing(path).exists()
}

/// Removes a file in each of its names, in the order in which settling moves it, so that none escapes.
pub fn remove(path: &Path) {
    for place in [next(path), syncing(path), path.to_path_buf()] {
        // This name may never have existed.
        let _ = fs::remove_file(place);
    }
}

/// The paths of all files in a folder, as [`read`] takes them. Empty for a folder that the disk cannot read.
///
/// # Errors
/// When the process has no file descriptor left.
pub fn all(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if is_exhausted(&error) => return Err(error),
        entries => entries.into_iter().flatten().flatten().map(|entry| entry.path()),
    };
    let is_one = |path: &PathBuf| {
        path.extension().is_some_and(|extension| ["json", "next", "syncing"].iter().any(|known| extension == *known))
    };
    let mut all: Vec<_> = entries.filter(is_one).map(|path| path.with_extension("json")).collect();
    all.sort_unstable();
    all.dedup();
    Ok(all)
}

fn settle_one(path: &Path) -> io::Result<bool> {
    lock::may_wait();
    let (next, syncing) = (next(path), syncing(path));
    // A damaged file must not replace a whole one. A caller that stages at this moment writes a whole one.
    if read_file(&next).is_ok_and(|bytes| unseal(bytes).is_some()) {
        fs::rename(&next, &syncing)?;
    }
    let file = match File::open(&syncing) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        opened => opened?,
    };
    if unseal(read_file(&syncing)?).is_none() {
        return Ok(false);
    }
    file.sync_all()?;
    match fs::rename(&syncing, path) {
        // Another thread removed it meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        renamed => renamed.map(|()| true),
    }
}

fn next(path: &Path) -> PathBuf {
    path.with_extension("next")
}

fn syncing(path: &Path) -> PathBuf {
    path.with_extension("syncing")
}

fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(LONGEST).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn has_trailer(bytes: &[u8]) -> bool {
    bytes.len().checked_sub(TRAILER).is_some_and(|at| bytes[at..].starts_with(CRC))
}

/// Removes the checksum line; `None` if it is missing or wrong.
fn unseal(mut bytes: Vec<u8>) -> Option<Vec<u8>> {
    let at = bytes.len().checked_sub(TRAILER)?;
    let expected = format!("{:08x}\n", crc32fast::hash(&bytes[..at]));
    let is_right = has_trailer(&bytes) && bytes[at + CRC.len()..] == *expected.as_bytes();
    bytes.truncate(at);
    is_right.then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Content {
        Content::Whole(text.into())
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_staged_file_is_read_at_once_and_settled_later() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("info.json");
        assert_eq!((read(&path), settle(&path).unwrap()), (Content::Absent, false));
        for text in ["{}", "{\"a\": 1}"] {
            stage(&path, text.as_bytes()).unwrap();
            assert_eq!(read(&path), whole(text));
            assert!(settle(&path).unwrap());
            assert_eq!((read(&path), names(dir.path())), (whole(text), vec!["info.json".to_owned()]));
        }
        assert!(!settle(&path).unwrap());
    }

    #[test]
    fn a_file_of_the_release_before_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("info.json");
        fs::write(&path, "{}").unwrap();
        assert_eq!(read(&path), whole("{}"));
        fs::write(&path, "").unwrap();
        assert_eq!(read(&path), Content::Unreadable);
    }

    /// An older version does not replace a file that a power loss has torn at any point.
    #[test]
    fn a_torn_file_is_unreadable_and_replaces_no_whole_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("info.json");
        stage(&path, b"{\"old\": 1}").unwrap();
        settle(&path).unwrap();
        stage(&path, b"{\"new\": 2}").unwrap();
        let staged = fs::read(next(&path)).unwrap();
        for place in [next(&path), syncing(&path)] {
            for len in 0..staged.len() {
                for torn in [staged[..len].to_vec(), [&staged[..len], &vec![0; staged.len() - len]].concat()] {
                    let _ = fs::remove_file(next(&path));
                    fs::write(&place, &torn).unwrap();
                    assert_eq!((read(&path), settle(&path).unwrap()), (Content::Unreadable, false), "{len}");
                    assert!(place.exists());
                }
            }
        }
        stage(&path, b"{\"newer\": 3}").unwrap();
        assert!(settle(&path).unwrap());
        assert_eq!((read(&path), names(dir.path())), (whole("{\"newer\": 3}"), vec!["info.json".to_owned()]));
    }

    /// Each process is killed between two steps, and the next one continues.
    #[test]
    fn the_newest_staged_file_counts_at_every_step() {
        for place in ["next", "syncing"] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("info.json");
            stage(&path, b"{\"old\": 1}").unwrap();
            settle(&path).unwrap();
            stage(&path, b"{\"new\": 2}").unwrap();
            fs::rename(next(&path), path.with_extension(place)).unwrap();
            assert_eq!(read(&path), whole("{\"new\": 2}"));
            stage(&path, b"{\"newest\": 3}").unwrap();
            assert_eq!(read(&path), whole("{\"newest\": 3}"));
            assert!(settle(&path).unwrap());
            assert_eq!((read(&path), names(dir.path())), (whole("{\"newest\": 3}"), vec!["info.json".to_owned()]));
            stage(&path, b"{}").unwrap();
            fs::write(dir.path().join("other.json"), "{}").unwrap();
            assert_eq!(all(dir.path()).unwrap(), [path.clone(), dir.path().join("other.json")]);
            settle_all(dir.path()).unwrap();
            assert_eq!(names(dir.path()), ["info.json", "other.json"]);
            remove(&path);
            assert!(!exists(&path));
        }
    }
}
