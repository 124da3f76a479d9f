//! Each way in which a ring can be damaged between two boots, and what survives.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;

use super::super::format::INDEX;
use super::*;

const NEXT_BOOT: BootId = BootId([2; 16]);

/// Writes and syncs three segments of records; returns their paths.
fn written(dir: &Path) -> Vec<PathBuf> {
    let ring = open(dir, BOOT);
    let mut writer = ring.writer("a");
    for seq in 0..100 {
        land(&mut writer, &record(seq, &[seq as u8; 90]));
    }
    ring.sync().unwrap();
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "seg"));
    paths.sort();
    assert_eq!(paths.len(), 3);
    paths
}

fn hurt(path: &Path, at: u64, bytes: &[u8]) {
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(bytes, at).unwrap();
}

/// Opens in the next boot and reads everything: returns numbers and losses. Checks that nothing was invented.
fn survivors(dir: &Path) -> (Vec<u64>, Lost) {
    let ring = open(dir, NEXT_BOOT);
    let mut reader = ring.reader();
    let all = read_all(&mut reader);
    for (seq, time, payload) in &all {
        assert_eq!((*time, payload), (*seq as i64, &vec![*seq as u8; 90]));
    }
    // With any damage, the ring accepts new records, and they get new numbers.
    let mut writer = ring.writer("b");
    land(&mut writer, &record(1000, b"new"));
    let new = read_all(&mut reader);
    assert_eq!(new.last().unwrap().2, b"new");
    assert!(all.iter().all(|(seq, ..)| *seq < new[0].0));
    (all.into_iter().map(|(seq, ..)| seq).collect(), reader.take_lost())
}

#[test]
fn an_undamaged_ring_has_all_records() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    assert_eq!(survivors(dir.path()), ((0..100).collect(), Lost::default()));
}

#[test]
fn a_flipped_bit_in_the_data_costs_its_block_and_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let paths = written(dir.path());
    hurt(&paths[1], 8192 + 700, b"\x00");
    let (seen, lost) = survivors(dir.path());
    assert!((1..=8).contains(&lost.damaged), "{lost:?}");
    assert_eq!((seen.len() as u64 + lost.damaged, lost.overwritten), (100, 0));
}

#[test]
fn a_damaged_index_entry_costs_the_rest_of_its_segment_and_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let paths = written(dir.path());
    hurt(&paths[0], INDEX + 64 + 3, b"\x77");
    let (seen, lost) = survivors(dir.path());
    assert_eq!(seen.len() as u64 + lost.overwritten + lost.damaged, 100);
    assert!(seen.contains(&0) && seen.contains(&99) && seen.len() > 60);
}

#[test]
fn a_damaged_header_costs_its_segment_and_is_counted() {
    let dir = tempfile::tempdir().unwrap();
    let paths = written(dir.path());
    hurt(&paths[1], 9, b"\x77");
    let (seen, lost) = survivors(dir.path());
    assert_eq!((seen.len() as u64 + lost.damaged, lost.overwritten), (100, 0));
    assert!(seen.contains(&0) && seen.contains(&99));
}

#[test]
fn a_missing_segment_is_a_counted_gap() {
    let dir = tempfile::tempdir().unwrap();
    let paths = written(dir.path());
    fs::remove_file(&paths[1]).unwrap();
    let (seen, lost) = survivors(dir.path());
    assert_eq!((seen.len() as u64 + lost.damaged, lost.overwritten), (100, 0));
}

#[test]
fn a_file_cut_short_is_no_panic() {
    for len in [0, 10, 511, 512, 4096, 5000, 8192, 8200, 9000, 12_000] {
        let dir = tempfile::tempdir().unwrap();
        let paths = written(dir.path());
        OpenOptions::new().write(true).open(&paths[2]).unwrap().set_len(len).unwrap();
        let (seen, _) = survivors(dir.path());
        assert!(seen.starts_with(&(0..60).collect::<Vec<_>>()), "cut at {len}");
    }
}

#[test]
fn a_file_truncated_while_the_machine_was_up_loses_only_the_truncated_records() {
    for len in [4096, 5000, 8192, 8200, 9000, 12_000] {
        let dir = tempfile::tempdir().unwrap();
        let paths = written(dir.path());
        OpenOptions::new().write(true).open(&paths[2]).unwrap().set_len(len).unwrap();
        let ring = open(dir.path(), BOOT);
        let mut reader = ring.reader();
        let seen: Vec<_> = read_all(&mut reader).into_iter().map(|(seq, ..)| seq).collect();
        assert!(seen.starts_with(&(0..60).collect::<Vec<_>>()), "cut at {len}");
        land(&mut ring.writer("b"), &record(1000, b"new"));
        assert_eq!(payloads(&mut reader), [b"new"], "cut at {len}");
    }
}

#[test]
fn both_slots_torn_means_the_last_sealed_block() {
    let dir = tempfile::tempdir().unwrap();
    let paths = written(dir.path());
    hurt(&paths[2], 512 + 5, b"\x77");
    hurt(&paths[2], 1024 + 5, b"\x77");
    let (seen, _) = survivors(dir.path());
    assert_eq!(seen, (0..seen.len() as u64).collect::<Vec<_>>());
    assert!(seen.len() > 90);
}

#[test]
fn records_after_the_last_sync_are_not_trusted_without_a_checksum() {
    let dir = tempfile::tempdir().unwrap();
    {
        let ring = open(dir.path(), BOOT);
        let mut writer = ring.writer("a");
        land(&mut writer, &record(0, &[0; 90]));
        ring.sync().unwrap();
        land(&mut writer, &record(1, &[1; 90]));
    }
    assert_eq!(survivors(dir.path()).0, [0]);
}

#[test]
fn a_cursor_ahead_of_the_ring_keeps_its_numbers() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    let ahead = Position { segment: 9, offset: 77, seq: 500 };
    Cursor::open(&dir.path().join(CURSOR)).unwrap().save(ahead, [0; cursor::NOTE]).unwrap();
    let ring = open(dir.path(), NEXT_BOOT);
    assert_eq!(ring.published().next_seq, 500);
    let mut reader = ring.reader_at(ahead);
    assert!(reader.fill().is_none());
    land(&mut ring.writer("b"), &record(1, b"new"));
    assert_eq!(read_all(&mut reader), [(500, 1, b"new".to_vec())]);
    assert_eq!(reader.take_lost(), Lost::default());
}

#[test]
fn a_file_deleted_under_a_running_ring_blocks_neither_reader_nor_writer() {
    let dir = tempfile::tempdir().unwrap();
    let ring = open(dir.path(), BOOT);
    let mut writer = ring.writer("a");
    let mut reader = ring.reader();
    for seq in 0..60 {
        land(&mut writer, &record(seq, &[seq as u8; 90]));
    }
    for entry in fs::read_dir(dir.path()).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    for seq in 60..120 {
        land(&mut writer, &record(seq, &[seq as u8; 90]));
    }
    let seen = read_all(&mut reader);
    let lost = reader.take_lost();
    assert_eq!(seen.len() as u64 + lost.damaged + lost.overwritten, 120);
    assert_eq!(seen.last().unwrap().0, 119);
}

#[test]
fn bytes_that_are_no_record_any_more_are_passed_and_counted() {
    let dir = tempfile::tempdir().unwrap();
    let ring = open(dir.path(), BOOT);
    let mut writer = ring.writer("a");
    for seq in 0..100 {
        land(&mut writer, &record(seq, &[seq as u8; 90]));
    }
    // In the same boot nothing is checksummed, because the page cache is trusted. Here memory fails.
    let first = dir.path().join("0000000000000001.seg");
    hurt(&first, 8192, &[0; 5]);
    let mut reader = ring.reader();
    while let Some(chunk) = reader.fill() {
        let (at, records) = match Toy.scan(chunk.bytes) {
            Scan::Record { len, .. } => (len, 1),
            _ => (0, 0),
        };
        reader.advance(at, records, &Toy);
    }
    assert_eq!(reader.take_lost(), Lost { overwritten: 0, damaged: 1 });
    assert_eq!(reader.position().seq, 100);
}

/// With any damage, the ring's last records are the last readable ones.
#[test]
fn the_last_n_are_those_of_a_plain_list_whatever_is_damaged_or_missing() {
    type Hurt = fn(&[PathBuf]);
    let ways: [(&str, Hurt); 9] = [
        ("nothing", |_| {}),
        ("data of the last segment", |paths| hurt(&paths[2], 8192 + 100, b"\x00")),
        ("data of the one before", |paths| hurt(&paths[1], 8192 + 700, b"\x00")),
        ("data of both", |paths| paths[1..].iter().for_each(|path| hurt(path, 8192 + 900, b"\x00"))),
        ("an index entry", |paths| hurt(&paths[1], INDEX + 64 + 3, b"\x77")),
        ("a header", |paths| hurt(&paths[1], 9, b"\x77")),
        ("a missing segment", |paths| fs::remove_file(&paths[1]).unwrap()),
        ("a missing end", |paths| fs::remove_file(&paths[2]).unwrap()),
        ("a file cut short", |paths| OpenOptions::new().write(true).open(&paths[1]).unwrap().set_len(9500).unwrap()),
    ];
    for (what, hurt) in ways {
        for (boot, passed_over, new) in [(NEXT_BOOT, 0, 0), (NEXT_BOOT, 7, 5), (NEXT_BOOT, 1000, 60), (BOOT, 50, 3)] {
            // In the same boot the page cache is trusted.
            if boot == BOOT && what.starts_with("data") {
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            let paths = written(dir.path());
            hurt(&paths);
            // Acknowledged, and lost in the power loss.
            let seen = Position { segment: 3, offset: 0, seq: 100 + passed_over };
            Cursor::open(&dir.path().join(CURSOR)).unwrap().save(seen, [0; cursor::NOTE]).unwrap();
            let ring = open(dir.path(), boot);
            let mut writer = ring.writer("b");
            (0..new).for_each(|time| _ = land(&mut writer, &record(time, b"new")));
            let mut reader = ring.reader();
            let all = read_all(&mut reader);
            for count in 0..all.len() + 3 {
                reader.seek_last(count as u64, &Toy);
                assert_eq!(reader.take_lost(), Lost::default());
                let expected = &all[all.len().saturating_sub(count)..];
                assert_eq!(read_all(&mut reader), expected, "{what}: last {count} of {}", all.len());
                reader.take_lost();
            }
        }
    }
}

#[test]
fn records_after_a_cursor_in_a_lost_segment_are_read_from_there() {
    let dir = tempfile::tempdir().unwrap();
    written(dir.path());
    // A reader moves to a new segment before it has records; a kill can take that segment.
    let at = Position { segment: 4, offset: 0, seq: 100 };
    Cursor::open(&dir.path().join(CURSOR)).unwrap().save(at, [0; cursor::NOTE]).unwrap();
    for (boot, seq) in [(BOOT, 100), (BOOT, 101), (NEXT_BOOT, 102)] {
        let ring = open(dir.path(), boot);
        land(&mut ring.writer("a"), &record(7, b"new"));
        ring.sync().unwrap();
        let mut reader = ring.reader_at(at);
        assert_eq!(read_all(&mut reader).last().unwrap().0, seq);
        assert_eq!(reader.take_lost(), Lost::default());
    }
}

/// The index entry of a block may reach the disk before the length of the file does, as on xfs.
#[test]
fn a_file_that_ends_inside_an_indexed_block_has_its_synced_records() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("0000000000000000.seg");
    let ring = open(dir.path(), BOOT);
    let mut writer = ring.writer("a");
    let mut write =
        |seqs: std::ops::Range<i64>| seqs.for_each(|seq| _ = land(&mut writer, &record(seq, &[seq as u8; 90])));
    write(0..8);
    ring.sync().unwrap();
    let synced = fs::metadata(&path).unwrap().len();
    write(8..30);
    let landed = fs::metadata(&path).unwrap().len();
    for len in synced..=landed {
        let other = tempfile::tempdir().unwrap();
        fs::copy(&path, other.path().join(path.file_name().unwrap())).unwrap();
        OpenOptions::new()
            .write(true)
            .open(other.path().join(path.file_name().unwrap()))
            .unwrap()
            .set_len(len)
            .unwrap();
        let seen = survivors(other.path()).0;
        assert!(seen.starts_with(&(0..8).collect::<Vec<_>>()), "cut to {len} bytes: {seen:?}");
    }
}
