//! Former descriptions of a container, kept while lines printed under them are unsent.
//!
//! A `docker rename` takes effect at the next start. Unsent lines were printed under the former description, so they
//! keep its name, labels and options, and later lines get the new ones. A description belongs to the entries of the
//! ring below a number:
//!
//! ```text
//! <ring>/info.json                     the container now
//! <ring>/info-000000000000a2f1.json    the container while entries below that number were printed
//! ```
//!
//! A former description is written before the new one replaces it, and removed once everything below its number was
//! sent to all destinations. [`MOST`] bounds them: a container that is renamed more often during an outage gets the
//! later of its names for some of its lines.

use std::io;
use std::path::{Path, PathBuf};

use base::disk::small::{self, Content};
use base::lock;
use dockerd::info::Info;
use ring::RingError;

/// The most former descriptions of one container. Each is a restart after a change, during one outage.
pub const MOST: usize = 16;

/// A description that was replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Former {
    /// The first entry that was printed under a later description.
    pub until: u64,
    /// The description itself.
    pub info: Info,
}

/// Records that entries below `until` were printed under `info`, in a ring whose entries below `sent` were sent.
///
/// # Errors
/// When there are too many, or the disk refuses it.
pub fn save(dir: &Path, sent: u64, until: u64, info: &Info) -> io::Result<()> {
    lock::may_wait();
    // The container has no ring on disk, so no entry is unsent.
    if !dir.is_dir() {
        return Ok(());
    }
    files(dir)?.iter().filter(|(until, _)| *until <= sent).for_each(|(_, path)| small::remove(path));
    if files(dir)?.len() >= MOST {
        return Err(io::Error::other("the container was renamed too often while lines wait for Loki"));
    }
    small::stage(&path(dir, until), &serde_json::to_vec(info)?)
}

/// Reads the descriptions of unsent entries, oldest first, and removes those of sent ones. A damaged one counts as
/// absent.
///
/// # Errors
/// When the process has no file descriptor left.
pub fn load(dir: &Path, sent: u64) -> Result<Vec<Former>, RingError> {
    lock::may_wait();
    let mut all = Vec::new();
    for (until, path) in files(dir).map_err(|_| RingError::out_of_files(dir.into()))? {
        if until <= sent {
            small::remove(&path);
            continue;
        }
        let info = match small::read(&path) {
            Content::Whole(bytes) => serde_json::from_slice(&bytes).ok(),
            Content::Absent | Content::Unreadable => None,
            Content::OutOfFiles => return Err(RingError::out_of_files(path)),
        };
        all.extend(info.map(|info| Former { until, info }));
    }
    all.sort_by_key(|former| former.until);
    Ok(all)
}

fn path(dir: &Path, until: u64) -> PathBuf {
    dir.join(format!("info-{until:016x}.json"))
}

/// The paths of all former descriptions, with their numbers.
fn files(dir: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let numbered = small::all(dir)?.into_iter().filter_map(|path| {
        let digits = path.file_stem()?.to_str()?.strip_prefix("info-").filter(|digits| digits.len() == 16)?;
        Some((u64::from_str_radix(digits, 16).ok()?, path))
    });
    Ok(numbered.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn named(name: &str) -> Info {
        Info { container_name: name.into(), ..Info::default() }
    }

    #[test]
    fn descriptions_are_read_in_order_until_their_entries_were_sent() {
        let dir = tempfile::tempdir().unwrap();
        for (until, name) in [(300, "second"), (20, "first")] {
            save(dir.path(), 0, until, &named(name)).unwrap();
        }
        fs::write(dir.path().join("info.json"), b"{}").unwrap();
        fs::write(path(dir.path(), 100), b"{\"Conf").unwrap();
        let names = |sent| {
            load(dir.path(), sent).unwrap().into_iter().map(|former| former.info.container_name).collect::<Vec<_>>()
        };
        assert_eq!(names(0), ["first", "second"]);
        assert_eq!(names(20), ["second"]);
        assert!(!path(dir.path(), 20).exists());
        assert_eq!(names(300), Vec::<String>::new());
        assert_eq!(files(dir.path()).unwrap().len(), 0);
    }

    #[test]
    fn descriptions_are_bounded_in_number_and_need_a_ring() {
        let dir = tempfile::tempdir().unwrap();
        save(&dir.path().join("absent"), 0, 1, &named("a")).unwrap();
        assert!(!dir.path().join("absent").exists());
        for until in 0..MOST as u64 {
            save(dir.path(), 0, until + 1, &named("a")).unwrap();
        }
        assert!(save(dir.path(), 0, 99, &named("a")).is_err());
        assert_eq!(load(dir.path(), 0).unwrap().len(), MOST);
        save(dir.path(), 2, 99, &named("a")).unwrap();
        assert_eq!(load(dir.path(), 2).unwrap().len(), MOST - 1, "there is room where lines were sent");
    }
}
