//! Measured bounds: what a ring takes of the disk and of the process.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

/// Bytes on disk of everything in `dir` and of `held` files, also of those that were deleted.
pub(super) fn measured(dir: &Path, held: &[File]) -> u64 {
    let there = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap());
    let there = there.filter(|file| file.path().extension().is_some()).map(|file| file.metadata().unwrap());
    let held = held.iter().map(|file| file.metadata().unwrap());
    let by_inode: BTreeMap<u64, u64> = there.chain(held).map(|file| (file.ino(), 512 * file.blocks())).collect();
    by_inode.into_values().sum()
}

/// Files of `dir` that this process has open, also those that were deleted.
fn open_files(dir: &Path) -> usize {
    let links = fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|fd| fs::read_link(fd.path()).ok());
    links.filter(|link| link.starts_with(dir)).count()
}

#[test]
fn retired_segments_give_their_room_back_while_something_has_them_open() {
    let dir = tempfile::tempdir().unwrap();
    let ring = open(dir.path(), BOOT);
    let mut writer = ring.writer("a");
    let (mut held, mut slow) = (Vec::new(), ring.reader());
    for time in 0..1000u64 {
        land(&mut writer, &record(time as i64, &[b'x'; 90]));
        // A sync that takes minutes or a reader on a slow disk holds files like this.
        if time % 20 == 0 {
            let paths = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
            held.extend(paths.filter_map(|path| File::open(path).ok()));
        }
        let used = measured(dir.path(), &held);
        assert!(used <= LEAST_BUDGET, "{used} bytes on disk after {time} records");
    }
    assert!(held.iter().any(|file| file.metadata().unwrap().nlink() == 0), "none was retired");
    let read = read_all(&mut slow);
    let lost = slow.take_lost();
    assert_eq!((read.len() as u64 + lost.overwritten, lost.damaged), (1000, 0), "overtaken, and told how far");
}

#[test]
fn a_ring_whose_segments_the_disk_does_not_remove_stays_within_its_bound() {
    let dir = tempfile::tempdir().unwrap();
    let ring = open(dir.path(), BOOT);
    let mut writer = ring.writer("a");
    let mut slow = ring.reader();
    let mut in_memory = false;
    for time in 0..3000u64 {
        faults::set_removable(!(500..2000).contains(&time));
        in_memory |= land(&mut writer, &record(time as i64, &[b'x'; 90])).in_memory.is_some();
        let used = measured(dir.path(), &[]);
        assert!(used <= LEAST_BUDGET, "{used} bytes on disk after {time} records");
        if time >= 2000 {
            ring.heal::<Toy>();
        }
    }
    assert!(in_memory, "memory has what the disk has no room for");
    assert!(ring.state().leftovers.is_empty(), "all are removed once the disk allows it");
    let read = read_all(&mut slow);
    let lost = slow.take_lost();
    assert_eq!((read.len() as u64 + lost.overwritten, lost.damaged), (3000, 0));
}

#[test]
fn a_reader_that_is_overtaken_in_the_middle_of_a_read_invents_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let ring = open(dir.path(), BOOT);
    let mut writer = ring.writer("a");
    (0..100).for_each(|time| _ = land(&mut writer, &record(time, &[b'x'; 90])));
    let path = place::segment_path(dir.path(), 1);
    let file = place::open(&path, false).unwrap();
    let state = ring.state().segments[0].clone();
    (100..1000).for_each(|time| _ = land(&mut writer, &record(time, &[b'x'; 90])));
    let mut bytes = [0; 100];
    let read = std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, state.data_start);
    assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[test]
fn a_ring_that_is_never_synced_has_few_files_open() {
    let dir = tempfile::tempdir().unwrap();
    let ring = open(dir.path(), BOOT);
    let mut writer = ring.writer("a");
    for time in 0..1000 {
        land(&mut writer, &record(time, &[b'x'; 90]));
        assert!(open_files(dir.path()) <= 1, "after {time} records");
    }
    ring.sync().unwrap();
    assert!(ring.state().unsynced.is_empty() && open_files(dir.path()) == 1);
}

#[test]
fn files_that_are_deleted_again_and_again_are_bounded_in_room_and_in_number() {
    let dir = tempfile::tempdir().unwrap();
    let ring = open(dir.path(), BOOT);
    let mut writer = ring.writer("a");
    let mut read = 0;
    for time in 0..200 {
        land(&mut writer, &record(time, &[b'x'; 90]));
        fs::read_dir(dir.path()).unwrap().for_each(|entry| fs::remove_file(entry.unwrap().path()).unwrap());
        if time % 3 == 0 {
            assert!(ring.heal::<Toy>().in_memory.is_none());
        }
        let links = fs::read_dir("/proc/self/fd").unwrap().flatten().map(|fd| fd.path());
        let ours = links.filter(|fd| fs::read_link(fd).is_ok_and(|link| link.starts_with(dir.path())));
        let held: Vec<_> = ours.filter_map(|fd| File::open(fd).ok()).collect();
        assert!(held.len() <= MOST_OPEN + 1, "{} open files", held.len());
        assert!(measured(dir.path(), &held) <= LEAST_BUDGET);
        read = read_all(&mut ring.reader()).len();
    }
    assert!(read > 0);
}

#[test]
fn segments_that_a_failing_sync_is_behind_with_are_synced_by_the_next_one() {
    let dir = tempfile::tempdir().unwrap();
    let ring = open(dir.path(), BOOT);
    let mut writer = ring.writer("a");
    (0..100).for_each(|time| _ = land(&mut writer, &record(time, &[b'x'; 90])));
    let before = ring.state().unsynced.clone();
    assert!(before.len() >= 2);
    // The oldest cannot be opened.
    let path = place::segment_path(dir.path(), 1);
    fs::rename(&path, dir.path().join("elsewhere")).unwrap();
    std::os::unix::fs::symlink("elsewhere", &path).unwrap();
    assert!(ring.sync().unwrap_err().to_string().contains("sync"));
    assert_eq!(ring.state().unsynced, before);
    fs::rename(dir.path().join("elsewhere"), &path).unwrap();
    ring.sync().unwrap();
    assert!(ring.state().unsynced.is_empty());
}

/// Both run under one lock: an intake that evicts some in between would leave others at that index.
#[test]
fn only_requested_segments_are_evicted_while_a_writer_makes_room() {
    const RECORDS: i64 = 30_000;
    /// Records that are still needed, behind which there is a segment or two.
    const NEEDED: u64 = 100;
    let dir = tempfile::tempdir().unwrap();
    let ring = open(dir.path(), BOOT);
    ring.protect_from(0, 0);
    let is_over = AtomicBool::new(false);
    let broken = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut writer = ring.writer("a");
            for time in 0..RECORDS {
                let whole = record(time, &[b'x'; 90]);
                let mut bytes = &whole[..];
                while !bytes.is_empty() && !is_over.load(Ordering::Relaxed) {
                    match writer.land(&Toy, |to| to.put(bytes)) {
                        Ok(landed) => bytes = &bytes[landed.bytes..],
                        // Needed records stay until they are no longer needed.
                        Err(error) => assert!(is_protected(&error), "{error}"),
                    }
                }
            }
        });
        loop {
            let published = ring.published().next_seq;
            let needed = published.saturating_sub(NEEDED);
            ring.protect_from(0, needed);
            ring.retire_oldest_before(needed, 1);
            let oldest = ring.oldest().seq;
            if oldest > needed || published == RECORDS as u64 {
                is_over.store(true, Ordering::Relaxed);
                return (oldest > needed).then_some((oldest, needed));
            }
        }
    });
    assert_eq!(broken, None, "the oldest record that is there, and the oldest that was needed");
}
