//! Two instances on one folder: the older one changes nothing, whichever method is called.

use std::collections::BTreeMap;

use super::*;

fn contents(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    paths.map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// Calls every method of a ring that changes its folder.
pub(super) fn ask_everything_of(stale: &Arc<Ring>) {
    assert!(stale.heal::<Toy>().is_revoked);
    assert!(stale.sync().unwrap_err().is_revoked());
    assert!(stale.describe(b"stale").unwrap_err().is_revoked());
    let mut writer = stale.writer("first run");
    let error = writer.land(&Toy, |_| panic!("nothing is to be read for a stale ring")).unwrap_err();
    assert!(is_revoked(&error), "{error}");
    assert_eq!(writer.finish(&Toy).garbage, 0);
    stale.retire_before(u64::MAX);
    stale.retire_all_before(u64::MAX);
}

#[test]
fn a_stale_ring_touches_nothing_of_its_successor() {
    // The progress of its successor: not begun, in the same segment, a few segments on, wrapped.
    for records in [0, 1, 40, 150, 1000] {
        let dir = tempfile::tempdir().unwrap();
        let stale = open(dir.path(), BOOT);
        land(&mut stale.writer("first run"), &record(0, b"first run"));
        land(&mut stale.writer("first run"), &record(1, b"torn")[..5]);
        let ring = open(dir.path(), BOOT);
        let mut writer = ring.writer("second run");
        for time in 1..=records {
            land(&mut writer, &record(time, &[b'x'; 90]));
        }
        let before = contents(dir.path());
        ask_everything_of(&stale);
        assert_eq!(contents(dir.path()), before, "after {records} records");
        let mut reader = ring.reader();
        assert_eq!(read_all(&mut reader).len() as u64 + ring.oldest().seq, 1 + records as u64);
        assert_eq!(reader.take_lost(), Lost::default());
    }
}

#[test]
fn a_stale_ring_whose_disk_took_nothing_brings_nothing_to_it() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("ring");
    let stale = open(&dir, BOOT);
    fs::write(&dir, b"in the way").unwrap();
    land(&mut stale.writer("first run"), &[record(0, b"in memory"), record(1, b"torn")[..7].to_vec()].concat());
    fs::remove_file(&dir).unwrap();
    let ring = open(&dir, BOOT);
    land(&mut ring.writer("second run"), &record(1, b"on disk"));
    let before = contents(&dir);
    ask_everything_of(&stale);
    assert_eq!(contents(&dir), before);
    assert_eq!(payloads(&mut ring.reader()), [b"on disk"]);
    assert_eq!(payloads(&mut stale.reader()), [b"in memory"], "it can still be read");
}

#[test]
fn a_reader_of_a_stale_ring_counts_the_records_that_it_missed() {
    let dir = tempfile::tempdir().unwrap();
    let stale = open(dir.path(), BOOT);
    let mut writer = stale.writer("first run");
    (0..100).for_each(|time| _ = land(&mut writer, &record(time, &[b'x'; 90])));
    let mut reader = stale.reader();
    let ring = open(dir.path(), BOOT);
    let mut writer = ring.writer("second run");
    (0..1000).for_each(|time| _ = land(&mut writer, &record(time, &[b'y'; 90])));
    let read = read_all(&mut reader);
    assert!(read.iter().all(|(_, _, payload)| payload == &[b'x'; 90]), "nothing of its successor");
    let lost = reader.take_lost();
    assert_eq!(read.len() as u64 + lost.damaged + lost.overwritten, 100);
}

#[test]
fn a_ring_that_is_only_looked_at_changes_nothing_and_takes_nothing_away() {
    let dir = tempfile::tempdir().unwrap();
    let ring = open(dir.path(), BOOT);
    let mut writer = ring.writer("first run");
    land(&mut writer, &[record(0, b"first run"), record(1, b"torn")[..5].to_vec()].concat());
    let before = contents(dir.path());
    let look = Ring::look(dir.path(), BOOT, &Toy).unwrap();
    ask_everything_of(&look);
    assert_eq!(contents(dir.path()), before);
    land(&mut writer, &record(1, b"torn")[5..]);
    assert_eq!(payloads(&mut ring.reader()), [&b"first run"[..], b"torn"]);
}

/// A number that was taken and is free again does not mean a lost segment: the ring continues where it was.
#[test]
fn a_torn_record_survives_a_kill_after_a_file_in_the_next_place_was_removed() {
    let dir = tempfile::tempdir().unwrap();
    land(&mut open(dir.path(), BOOT).writer("a"), &record(0, b"first"));
    fs::write(place::segment_path(dir.path(), 2), b"").unwrap();
    let torn = record(1, b"torn");
    let ring = open(dir.path(), BOOT);
    let mut cursors = Cursors::open(&ring, &["there".into()]).unwrap();
    cursors.save(0, ring.oldest(), [0; cursor::NOTE]).unwrap();
    land(&mut ring.writer("a"), &torn[..5]);
    drop((cursors, ring));
    let ring = open(dir.path(), BOOT);
    assert_eq!(land(&mut ring.writer("a"), &torn[5..]).records, 1);
    assert_eq!(payloads(&mut ring.reader()), [&b"first"[..], b"torn"]);
}

#[test]
fn a_segment_is_never_made_over_a_file_that_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let ring = open(dir.path(), BOOT);
    let mut writer = ring.writer("a");
    land(&mut writer, &record(0, b"first"));
    for number in 2..6 {
        fs::write(place::segment_path(dir.path(), number), b"in use").unwrap();
    }
    (1..100).for_each(|time| _ = land(&mut writer, &record(time, &[b'x'; 90])));
    for number in 2..6 {
        assert_eq!(fs::read(place::segment_path(dir.path(), number)).unwrap(), b"in use");
    }
    let times = |ring: &Arc<Ring>| read_all(&mut ring.reader()).len();
    assert_eq!((times(&ring), times(&Ring::look(dir.path(), BOOT, &Toy).unwrap())), (100, 100));
}
