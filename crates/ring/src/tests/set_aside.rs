//! Unreadable segments: the ring continues, nothing is removed unread, and all of it is counted and reported.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::os::unix::fs::{FileExt, symlink};

use super::faults::BadSector;
use super::*;

/// Writes about four segments, with records that hold their number.
fn written(dir: &Path) -> Vec<PathBuf> {
    let ring = open(dir, BOOT);
    let mut writer = ring.writer("a");
    (0..150).for_each(|time| _ = land(&mut writer, &record(time, &[time as u8; 90])));
    ring.sync().unwrap();
    let numbers: Vec<_> = ring.state().segments.iter().map(|segment| segment.number).collect();
    numbers.into_iter().map(|number| place::segment_path(dir, number)).collect()
}

fn hurt(path: &Path, at: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

/// Changes a segment as a future release would write it.
pub(super) fn make_of_another_version(path: &Path) {
    let mut header = [0; 64];
    if fs::File::open(path).unwrap().read_exact_at(&mut header, 0).is_err() {
        return;
    }
    header[8..12].copy_from_slice(&99u32.to_le_bytes());
    let crc = crc32fast::hash(&header[..60]);
    header[60..].copy_from_slice(&crc.to_le_bytes());
    hurt(path, 0, &header);
}

fn in_its_place(path: &Path, put: impl FnOnce(&Path)) -> Option<BadSector> {
    fs::rename(path, path.with_extension("kept")).unwrap();
    put(path);
    None
}

type Way = (&'static str, fn(&Path) -> Option<BadSector>, &'static str);

/// The ways in which a segment can be unreadable, and the reported reason.
const WAYS: [Way; 12] = [
    ("bad sector in the header", |path| Some(BadSector::of(path, 0..512)), "error"),
    ("bad sector in the index", |path| Some(BadSector::of(path, 4096..8192)), "error"),
    ("directory", |path| in_its_place(path, |path| fs::create_dir(path).unwrap()), "directory"),
    ("link to a file", |path| in_its_place(path, |path| symlink(path.with_extension("kept"), path).unwrap()), "link"),
    ("link to memory", |path| in_its_place(path, |path| symlink("/proc/self/mem", path).unwrap()), "link"),
    ("link to nowhere", |path| in_its_place(path, |path| symlink("/nowhere", path).unwrap()), "link"),
    (
        "FIFO",
        |path| in_its_place(path, |path| nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap()),
        "file",
    ),
    (
        "flipped bit in the header",
        |path| {
            hurt(path, 20, b"\x77");
            None
        },
        "header is damaged",
    ),
    (
        "header of zeros",
        |path| {
            hurt(path, 0, &[0; 512]);
            None
        },
        "header is damaged",
    ),
    (
        "later version",
        |path| {
            make_of_another_version(path);
            None
        },
        "version 99",
    ),
    (
        "cut in the header",
        |path| {
            OpenOptions::new().write(true).open(path).unwrap().set_len(30).unwrap();
            None
        },
        "header is damaged",
    ),
    (
        "another segment's name",
        |path| {
            fs::copy(path.with_file_name("0000000000000003.seg"), path).unwrap();
            None
        },
        "another name",
    ),
];

#[test]
fn a_segment_that_cannot_be_read_is_set_aside_and_the_rest_goes_on() {
    for (what, spoil, said) in WAYS {
        for (at, boot) in (0..4).flat_map(|at| [(at, BOOT), (at, BootId([2; 16]))]) {
            let dir = tempfile::tempdir().unwrap();
            let paths = written(dir.path());
            let what = format!("{what}, segment {at} of {}", paths.len());
            if paths[at].ends_with("0000000000000003.seg") && said == "another name" {
                continue;
            }
            let first = open(dir.path(), BOOT).oldest().seq;
            let _bad = spoil(&paths[at]);
            let before = paths[at].metadata().ok().filter(|it| it.is_file()).and_then(|_| fs::read(&paths[at]).ok());

            // A read-only ring sees the same and changes nothing.
            let look = Ring::look(dir.path(), boot, &Toy).unwrap();
            assert!(paths[at].symlink_metadata().is_ok(), "{what}");
            let ring = open(dir.path(), boot);
            let aside = paths[at].with_extension("unreadable.seg");
            assert!(aside.symlink_metadata().is_ok() && paths[at].symlink_metadata().is_err(), "{what}");
            if let Some(before) = before {
                assert_eq!(fs::read(&aside).unwrap(), before, "{what}: nothing of it is changed");
            }
            match &ring.take_notices()[..] {
                [Notice::SetAside { path, reason, .. }] => {
                    assert!(*path == aside && reason.contains(said), "{what}: {reason}")
                }
                other => panic!("{what}: {other:?}"),
            }
            let mut reader = ring.reader();
            let read = read_all(&mut reader);
            assert_eq!(read_all(&mut look.reader()), read, "{what}");
            assert!(read.iter().all(|(seq, time, payload)| *seq == *time as u64 && payload == &[*seq as u8; 90]));
            let mut writer = ring.writer("b");
            land(&mut writer, &record(1000, b"new"));
            assert_eq!(payloads(&mut reader), [b"new"], "{what}");
            let lost = reader.take_lost();
            let next = ring.published().next_seq;
            assert!(
                next <= 151 && read.len() as u64 + 1 + lost.damaged + lost.overwritten + ring.oldest().seq == next,
                "{what}: {lost:?}"
            );
            assert!(read.len() as u64 >= 150 - first - 50, "{what}: {} read", read.len());
            assert!(ring.allocated() >= on_disk(dir.path()), "{what}");

            // The next process knows about it and does not report it again.
            drop(ring);
            let ring = open(dir.path(), boot);
            assert_eq!(ring.take_notices(), [], "{what}");
            assert_eq!(read_all(&mut ring.reader()).len(), read.len() + 1, "{what}");
        }
    }
}

#[test]
fn records_of_a_last_segment_that_was_set_aside_keep_their_numbers_and_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let paths = written(dir.path());
    let last = paths.last().unwrap();
    let position = open(dir.path(), BOOT).reader_at(Position::default()).position();
    make_of_another_version(last);
    let ring = open(dir.path(), BOOT);
    let Some(Notice::SetAside { records: Some(records), .. }) = ring.take_notices().pop() else { panic!("not said") };
    assert_eq!(ring.published().next_seq, 150);
    let mut reader = ring.reader_at(position);
    let read = read_all(&mut reader).len() as u64;
    let lost = reader.take_lost();
    assert_eq!(read + lost.damaged + lost.overwritten, 150);
    assert!(records > 0 && lost.damaged + lost.overwritten >= records);
}

#[test]
fn a_segment_that_is_not_the_rings_to_move_stays_and_is_set_aside_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let paths = written(dir.path());
    make_of_another_version(&paths[1]);
    let before = fs::read(&paths[1]).unwrap();
    let refusal = Refusal::of(dir.path());
    let ring = open(dir.path(), BOOT);
    assert_eq!((ring.take_notices().len(), fs::read(&paths[1]).unwrap()), (1, before));
    let mut writer = ring.writer("a");
    land(&mut writer, &record(150, &[150; 90]));
    drop(refusal);
    assert!(ring.heal::<Toy>().in_memory.is_none());
    let read = read_all(&mut ring.reader()).len();
    drop(ring);
    let ring = open(dir.path(), BOOT);
    assert_eq!((ring.take_notices().len(), read_all(&mut ring.reader()).len()), (1, read));
}

#[test]
fn a_segment_set_aside_counts_in_the_bound_and_is_removed_in_its_turn() {
    for at in 0..3 {
        let dir = tempfile::tempdir().unwrap();
        let paths = written(dir.path());
        make_of_another_version(&paths[at]);
        let ring = open(dir.path(), BOOT);
        let aside = paths[at].with_extension("unreadable.seg");
        let number = place::segment_number(&paths[at]).unwrap();
        let mut writer = ring.writer("a");
        ring.take_notices();
        let used = || -> u64 {
            let files = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap());
            files.map(|file| 512 * file.blocks()).sum()
        };
        let mut expired = Vec::new();
        for time in 150..600 {
            land(&mut writer, &record(time, &[time as u8; 90]));
            assert!(used() <= LEAST_BUDGET, "{} bytes on disk", used());
            expired.extend(ring.take_notices());
            let is_older = ring.oldest().segment > number + 1;
            assert_eq!(aside.exists(), expired.is_empty());
            assert!(!is_older || !expired.is_empty(), "it stays no longer than its neighbours");
        }
        match &expired[..] {
            [Notice::Expired { path, bytes, records: Some(_) }] => assert!(*path == aside && *bytes > 0),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_segment_set_aside_is_removed_before_pinned_records() {
    let dir = tempfile::tempdir().unwrap();
    let paths = written(dir.path());
    make_of_another_version(&paths[2]);
    let ring = open(dir.path(), BOOT);
    let oldest = ring.oldest().seq;
    ring.protect_from(0, oldest);
    let mut writer = ring.writer("a");
    let full = loop {
        if let Err(error) = writer.land(&Toy, |to| to.put(&record(1, &[1; 90]))) {
            break error;
        }
    };
    assert!(is_protected(&full));
    assert_eq!(ring.oldest().seq, oldest);
    assert!(!paths[2].with_extension("unreadable.seg").exists());
}

/// A bad sector in the data loses and counts the block around it, and nothing else. Tried in segments of this boot and
/// of an earlier one, and in the active one, when it is opened or while it is read.
#[test]
fn a_bad_sector_in_the_data_costs_its_block_and_is_counted() {
    for (boot, late) in [(BOOT, false), (BOOT, true), (BootId([2; 16]), false), (BootId([2; 16]), true)] {
        for segment in 0..4 {
            for sector in 0..8 {
                let dir = tempfile::tempdir().unwrap();
                let paths = written(dir.path());
                let first = open(dir.path(), BOOT).oldest().seq;
                let range = 8192 + sector * 512..8192 + (sector + 1) * 512;
                let bad = (!late).then(|| BadSector::of(&paths[segment], range.clone()));
                let ring = open(dir.path(), boot);
                let _bad = bad.unwrap_or_else(|| BadSector::of(&paths[segment], range));
                let mut reader = ring.reader();
                let read = read_all(&mut reader);
                let lost = reader.take_lost();
                assert!(read.iter().all(|(seq, _, payload)| payload == &[*seq as u8; 90]));
                let what = format!("sector {sector} of segment {segment}, boot {boot:?}, late: {late}");
                assert_eq!(read.len() as u64 + lost.damaged + lost.overwritten, 150 - first, "{what}: {lost:?}");
                assert!(lost.damaged + lost.overwritten <= 20, "{what}: {lost:?}");
                // The first record may land in the bad sector.
                let mut writer = ring.writer("a");
                let landed = land(&mut writer, &record(1000, b"new"));
                assert_eq!(landed.garbage > 0, landed.records == 0, "{what}");
                land(&mut writer, &record(1001, b"new"));
                assert_eq!(payloads(&mut reader).last().unwrap(), b"new", "{what}");
            }
        }
    }
}

#[test]
fn a_bad_sector_under_the_mark_or_the_slots_costs_no_more_than_the_open_block() {
    for range in [512..1024, 1024..1536, 1536..2048, 2048..2560] {
        let dir = tempfile::tempdir().unwrap();
        let paths = written(dir.path());
        let _bad = BadSector::of(paths.last().unwrap(), range.clone());
        let ring = open(dir.path(), BOOT);
        let mut reader = ring.reader();
        let read = read_all(&mut reader);
        assert!(read.len() as u64 + ring.oldest().seq >= 140, "{range:?}: {} read", read.len());
        land(&mut ring.writer("a"), &record(1000, b"new"));
        assert_eq!(payloads(&mut reader), [b"new"], "{range:?}");
    }
}

/// For each sector of an index but the first, of each segment, in this boot and in the next: entries before it count.
#[test]
fn a_bad_sector_in_an_index_loses_only_later_blocks() {
    const RECORDS: u64 = 600;
    let roomy = |dir: &Path, boot| Ring::open(dir, Options { budget: 256 * 1024, boot }, &Toy).unwrap();
    for boot in [BOOT, BootId([2; 16])] {
        for (hurt, sector) in (0..4).flat_map(|hurt| (1..4).map(move |sector| (hurt, sector))) {
            let what = format!("boot {boot:?}, segment {hurt}, sector {sector}");
            let dir = tempfile::tempdir().unwrap();
            let ring = roomy(dir.path(), BOOT);
            let mut writer = ring.writer("a");
            (0..RECORDS).for_each(|time| _ = land(&mut writer, &record(time as i64, &[b'x'; 90])));
            ring.sync().unwrap();
            let segments: Vec<_> = ring.state().segments.iter().cloned().collect();
            let segment = &segments[hurt];
            let path = place::segment_path(dir.path(), segment.number);
            drop((writer, ring));
            let file = fs::File::open(&path).unwrap();
            let options = Options { budget: 256 * 1024, boot };
            let header = recovery::read_header(&file, &options).unwrap().unwrap();
            let blocks = recovery::read_index(&file, &header, &[]).unwrap().blocks;
            let known = blocks.get(8 * sector as usize - 1).map_or(segment.next_seq, |block| block.next_seq());
            let at = 4096 + 512 * sector;
            let _bad = BadSector::of(&path, at..at + 512);

            let ring = roomy(dir.path(), boot);
            assert_eq!(ring.take_notices(), [], "{what}");
            let mut reader = ring.reader();
            let found: Vec<_> = read_all(&mut reader).into_iter().map(|(seq, time, _)| (seq, time as u64)).collect();
            assert!(found.iter().all(|(seq, time)| seq == time), "{what}: nothing is invented");
            let kept = (0..RECORDS).filter(|seq| !(known..segment.next_seq).contains(seq));
            let found: BTreeSet<u64> = found.into_iter().map(|(seq, _)| seq).collect();
            assert!(kept.into_iter().all(|seq| found.contains(&seq)), "{what}: {found:?}");
            assert_eq!(reader.take_lost().damaged, RECORDS - found.len() as u64, "{what}");
            land(&mut ring.writer("a"), &record(9999, b"after"));
            assert_eq!(ring.published().next_seq, RECORDS + 1, "{what}: no number is given twice");
            assert_eq!(read_all(&mut reader).pop(), Some((RECORDS, 9999, b"after".to_vec())), "{what}");
        }
    }
}
