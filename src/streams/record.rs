//! Records of streams on disk, which the next process resumes.
//!
//! dockerd calls StartLogging once. When the plugin dies, the containers continue to write into their FIFOs, and
//! dockerd does not call again. So before StartLogging is answered, the FIFO's path and the container's info are in
//! `<state>/streams`, one [small file](small) per stream. They stay there until the stream has ended.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use base::disk::small::{self, Content};
use base::disk::{self};
use base::lock;
use dockerd::info::Info;

/// The most unreadable records that are kept for inspection: a few KiB each.
const MOST_UNREADABLE: usize = 64;

/// The time between two attempts to read while the process has no file descriptor left.
pub(super) const EXHAUSTED: Duration = Duration::from_millis(100);

/// The record of a stream.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// The FIFO, as dockerd named it.
    pub file: PathBuf,
    /// The container.
    pub info: Info,
}

/// The folder of records.
#[derive(Clone, Debug)]
pub struct Records {
    dir: PathBuf,
}

// === impl Records ===

impl Records {
    /// The records below the state directory.
    pub fn new(state: &Path) -> Self {
        Self { dir: state.join("streams") }
    }

    /// Writes a record. It survives the process from here on, and a power loss from the next [`Records::settle`] on.
    ///
    /// # Errors
    /// When the disk refuses it.
    pub fn save(&self, record: &Record) -> io::Result<()> {
        disk::make_dir(&self.dir)?;
        let bytes = serde_json::to_vec(record)?;
        small::stage(&self.path(&record.file), &bytes)
    }

    /// Makes all written records survive a power loss. Waits for the disk.
    ///
    /// # Errors
    /// When the disk refuses one; the next call retries it.
    pub fn settle(&self) -> io::Result<()> {
        lock::may_wait();
        small::settle_all(&self.dir)
    }

    /// Whether the stream has a record.
    pub fn has(&self, file: &Path) -> bool {
        lock::may_wait();
        small::exists(&self.path(file))
    }

    /// Removes the record of a stream that has ended.
    pub fn remove(&self, file: &Path) {
        lock::may_wait();
        // A leftover is found and removed at the next start.
        small::remove(&self.path(file));
    }

    /// Reads all records, and lists files that are not valid records. Waits until the process has a free file
    /// descriptor.
    pub fn load(&self) -> (Vec<Record>, Vec<PathBuf>) {
        lock::may_wait();
        let (mut records, mut broken) = (Vec::new(), Vec::new());
        let paths = loop {
            match small::all(&self.dir) {
                Ok(paths) => break paths,
                Err(_) => thread::sleep(EXHAUSTED),
            }
        };
        for path in paths {
            let content = loop {
                match small::read(&path) {
                    Content::OutOfFiles => thread::sleep(EXHAUSTED),
                    content => break content,
                }
            };
            let record = match content {
                Content::Whole(bytes) => serde_json::from_slice(&bytes).ok(),
                // Another thread removed it meanwhile.
                Content::Absent => continue,
                Content::Unreadable | Content::OutOfFiles => None,
            };
            match record {
                Some(record) => records.push(record),
                None => broken.push(path),
            }
        }
        (records, broken)
    }

    /// Renames an unreadable record, so that it is logged once. Unreadable files are not deleted, except for the oldest
    /// of many.
    pub fn set_aside(&self, path: &Path) {
        for place in ["next", "syncing", "json"].map(|extension| path.with_extension(extension)) {
            // One file for each: the same stream may have had several, now and at an earlier start.
            let mut names =
                (0..=MOST_UNREADABLE).map(|number| place.with_added_extension(format!("{number}.unreadable")));
            if let Some(free) = names.find(|name| name.symlink_metadata().is_err()) {
                // A file that cannot be renamed is logged again.
                let _ = fs::rename(&place, free);
            }
        }
        let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let mut aside: Vec<_> =
            entries.filter(|path| path.extension().is_some_and(|extension| extension == "unreadable")).collect();
        aside.sort_by_key(|path| path.metadata().and_then(|metadata| metadata.modified()).ok());
        for path in aside.iter().rev().skip(MOST_UNREADABLE) {
            let _ = fs::remove_file(path);
        }
    }

    /// The path of a record. dockerd's names are 64 hexadecimal digits; any other name stays inside the folder too.
    fn path(&self, file: &Path) -> PathBuf {
        let name: String = stream_id(file).chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let crc = crc32fast::hash(file.as_os_str().as_encoded_bytes());
        self.dir.join(format!("{name:.64}-{crc:08x}.json"))
    }
}

/// The id of a stream: the last part of its FIFO's path.
pub fn stream_id(file: &Path) -> String {
    file.file_name().unwrap_or(file.as_os_str()).to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_there_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::new(dir.path());
        assert!(records.load().0.is_empty());
        let file = PathBuf::from("/run/docker/logging/../../0123");
        let info: Info = serde_json::from_str(r#"{"ContainerID": "c1", "Config": {"labels": "a"}}"#).unwrap();
        records.save(&Record { file: file.clone(), info }).unwrap();
        fs::write(dir.path().join("streams/torn.json"), b"{\"file\":").unwrap();
        for _ in 0..2 {
            let (found, broken) = records.load();
            assert_eq!((found.len(), broken.len()), (1, 1));
            assert_eq!((&found[0].file, found[0].info.container_id.as_str()), (&file, "c1"));
            records.settle().unwrap();
        }
        records.set_aside(&records.load().1[0]);
        assert!(records.load().1.is_empty(), "said once");
        assert!(dir.path().join("streams/torn.json.0.unreadable").exists());
        records.remove(&file);
        assert!(records.load().0.is_empty());
    }

    #[test]
    fn every_file_of_an_unreadable_record_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let records = Records::new(dir.path());
        let streams = dir.path().join("streams");
        fs::create_dir(&streams).unwrap();
        let mut written = Vec::new();
        for start in 0..2 {
            for extension in ["next", "syncing", "json"] {
                let text = format!("torn {extension} {start}");
                fs::write(streams.join("a").with_extension(extension), &text).unwrap();
                written.push(text);
            }
            records.load().1.iter().for_each(|path| records.set_aside(path));
            assert!(records.load().1.is_empty());
        }
        let entries = fs::read_dir(&streams).unwrap();
        let mut kept: Vec<_> = entries.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
        kept.sort();
        written.sort();
        assert_eq!(kept, written);
    }
}
