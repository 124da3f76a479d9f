//! Unreadable segments: they are renamed, counted in the ring's bound, and removed only in their turn.
//!
//! `<number>.seg` becomes `<number>.unreadable.seg`, beside the others. An operator can still inspect it, and recovery
//! knows that there was a segment. Its records count as missing. Their number is reported if the segment's index, slots
//! and commit mark prove it, or the segments around it show it.

use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::format::{Block, ENTRY, INDEX, MARK, SLOTS};
use super::{Ring, lock, place};

/// An event of a ring's files that must be logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A segment could not be read and was set aside.
    SetAside {
        /// The path of the file.
        path: PathBuf,
        /// The reason why it could not be read.
        reason: String,
        /// Bytes that it takes on disk.
        bytes: u64,
        /// The number of records in it, if known.
        records: Option<u64>,
    },
    /// A segment that was set aside was removed to make room.
    Expired {
        /// The path of the file.
        path: PathBuf,
        /// Bytes that it took on disk.
        bytes: u64,
        /// The number of records in it, if known.
        records: Option<u64>,
    },
}

/// The most notices kept. Only a folder full of foreign files causes more.
pub(super) const MOST_NOTICES: usize = 64;

/// A segment that was set aside.
#[derive(Clone, Debug)]
pub(super) struct Aside {
    pub number: u64,
    pub path: PathBuf,
    /// Bytes on disk.
    pub used: u64,
    /// The numbers of its records, if known.
    pub records: Option<Range<u64>>,
}

// === impl Ring ===

impl Ring {
    /// Returns the events of the ring's files since the last call, to be logged.
    pub fn take_notices(&self) -> Vec<Notice> {
        std::mem::take(&mut *lock(&self.notices))
    }

    /// Sets aside a foreign file in the place of a segment, because the ring must not remove it.
    pub(super) fn make_way(&self, number: u64, path: &Path) {
        if path.symlink_metadata().is_err() {
            return;
        }
        let aside = Aside::put(number, path);
        if aside.path != path {
            self.note(aside.notice("it was put in the place of a segment that is in use".into()));
            let mut state = self.state();
            let at = state.set_aside.partition_point(|other| other.number < number);
            state.set_aside.insert(at, aside);
        }
    }

    /// Removes segments that were set aside, to make room.
    pub(super) fn expire(&self, gone: Vec<Aside>) {
        for aside in gone {
            self.remove_file(&aside.path);
            let Aside { path, used: bytes, records, .. } = aside;
            let records = records.map(|records| records.end - records.start);
            self.note(Notice::Expired { path, bytes, records });
        }
    }

    fn note(&self, notice: Notice) {
        let mut notices = lock(&self.notices);
        if notices.len() < MOST_NOTICES {
            notices.push(notice);
        }
    }
}

// === impl Aside ===

impl Aside {
    /// A file that is already set aside, or must stay where it is.
    pub fn at(number: u64, path: PathBuf) -> Self {
        let used = place::used_at(&path);
        let records = place::open(&path, false).ok().and_then(|file| records(&file));
        Self { number, path, used, records }
    }

    /// Sets a file aside. If it cannot be renamed it stays, and recovery finds it again.
    pub fn put(number: u64, path: &Path) -> Self {
        Self::at(number, place::set_aside(path).unwrap_or_else(|_| path.to_path_buf()))
    }

    /// The notice about it.
    pub fn notice(&self, reason: String) -> Notice {
        let records = self.records.as_ref().map(|records| records.end - records.start);
        Notice::SetAside { path: self.path.clone(), reason, bytes: self.used, records }
    }
}

/// The record numbers of a segment without a valid header, as its index, slots and commit mark prove them. Each of
/// these structures has its own checksum, so a foreign file has none.
fn records(file: &File) -> Option<Range<u64>> {
    let read = |at| {
        let mut entry = [0; ENTRY];
        place::read_up_to(file, &mut entry, at).ok()?;
        Block::decode(&entry)
    };
    let mut all: Option<(Range<u64>, u64)> = None;
    let mut take = |block: Block| {
        let follows = match &all {
            Some((records, end)) => block.offset == *end && block.first_seq == records.end,
            None => block.offset == 0,
        };
        if follows {
            let first = all.as_ref().map_or(block.first_seq, |(records, _)| records.start);
            all = Some((first..block.next_seq(), block.end()));
        }
        follows
    };
    let mut at = INDEX;
    while read(at).is_some_and(&mut take) {
        at += ENTRY as u64;
    }
    let mut open: Vec<Block> = SLOTS.into_iter().chain([MARK]).filter_map(read).collect();
    open.sort_by_key(|block| std::cmp::Reverse(block.count));
    let _ = open.into_iter().any(take);
    all.map(|(records, _)| records)
}

/// Lists segments in a folder in the order of their numbers; the last field tells whether it was set aside.
pub(super) fn list(dir: &Path) -> std::io::Result<Vec<(u64, PathBuf, bool)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if let Some(number) = place::segment_number(&path) {
            all.push((number, path, false));
        } else if let Some(number) = place::aside_number(&path) {
            all.push((number, path, true));
        }
    }
    all.sort_unstable();
    Ok(all)
}

/// Lists unfinished copies of segments.
pub(super) fn list_copies(dir: &Path) -> impl Iterator<Item = PathBuf> {
    let paths = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let is_segment = |path: &PathBuf| place::segment_number(&path.with_extension("seg")).is_some();
    paths.filter(move |path| path.extension().is_some_and(|extension| extension == "new") && is_segment(path))
}
