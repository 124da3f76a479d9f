//! Healing: a disk that refuses writes, or a deleted file, and how later writes reach their place.

use super::*;
use base::disk::small::{self, Content};

fn fill(writer: &mut Writer, seqs: std::ops::Range<i64>) {
    for seq in seqs {
        land(writer, &record(seq, &[seq as u8; 90]));
    }
}

fn times(ring: &Arc<Ring>) -> Vec<i64> {
    read_all(&mut ring.reader()).into_iter().map(|(_, time, _)| time).collect()
}

#[test]
fn segments_in_memory_move_to_disk_once_it_accepts_writes() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("ring");
    let ring = open(&dir, BOOT);
    ring.describe(b"about it").unwrap();
    fs::write(&dir, b"in the way").unwrap();
    let mut writer = ring.writer("a");
    fill(&mut writer, 0..120);
    assert!(ring.heal::<Toy>().in_memory.unwrap().to_string().contains("ring"), "still in the way");
    fs::remove_file(&dir).unwrap();

    let healed = ring.heal::<Toy>();
    assert!(healed.in_memory.is_none() && healed.left.is_none() && healed.segments > 0, "{healed:?}");
    assert_eq!(described(&dir), Content::Whole(b"about it".into()));
    fill(&mut writer, 120..130);
    assert_eq!(ring.heal::<Toy>().segments, 0, "once");
    assert_eq!(times(&ring), (0..130).collect::<Vec<_>>());
    assert_eq!(times(&open(&dir, BOOT)), (0..130).collect::<Vec<_>>(), "a kill takes none of them");
    assert!(on_disk(&dir) <= LEAST_BUDGET);
}

#[test]
fn a_deleted_file_is_left_and_its_records_are_written_again() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("ring");
    let ring = open(&dir, BOOT);
    let mut writer = ring.writer("a");
    fill(&mut writer, 0..10);
    fs::remove_dir_all(&dir).unwrap();
    fill(&mut writer, 10..20);
    let healed = ring.heal::<Toy>();
    assert!(healed.left.unwrap().to_string().contains("deleted"));
    fill(&mut writer, 20..30);
    assert_eq!(times(&ring), (0..30).collect::<Vec<_>>());
    assert_eq!(times(&open(&dir, BOOT)), (0..30).collect::<Vec<_>>());
}

#[test]
fn a_cursor_whose_file_was_deleted_is_saved_in_a_new_one() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("ring");
    let mut cursor = Cursor::open(&dir.join(CURSOR)).unwrap();
    let at = |seq| Position { seq, ..Position::default() };
    cursor.save(at(1), [0; cursor::NOTE]).unwrap();
    fs::remove_dir_all(&dir).unwrap();
    cursor.save(at(2), [0; cursor::NOTE]).unwrap();
    assert_eq!(Cursor::open(&dir.join(CURSOR)).unwrap().saved().unwrap().0, at(2));

    fs::remove_dir_all(&dir).unwrap();
    fs::write(&dir, b"in the way").unwrap();
    assert!(cursor.save(at(3), [0; cursor::NOTE]).is_err());
    assert!(cursor.save_again().is_err());
    fs::remove_file(&dir).unwrap();
    cursor.save_again().unwrap();
    assert_eq!(Cursor::open(&dir.join(CURSOR)).unwrap().saved().unwrap().0, at(3));
}

#[test]
fn a_ring_that_may_only_be_read_is_read_and_goes_on_in_memory() {
    let dir = tempfile::tempdir().unwrap();
    let torn = record(31, b"half on disk, half in the pipe");
    {
        let ring = open(dir.path(), BOOT);
        let mut writer = ring.writer("a");
        fill(&mut writer, 0..30);
        land(&mut writer, &record(30, b"whole"));
        land(&mut writer, &torn[..20]);
        Cursor::open(&dir.path().join(CURSOR)).unwrap().save(ring.oldest(), [7; cursor::NOTE]).unwrap();
    }
    let expected: Vec<i64> = (0..33).collect();
    let refusal = Refusal::of(dir.path());
    let mut cursor = Cursor::open(&dir.path().join(CURSOR)).unwrap();
    assert_eq!(cursor.saved().unwrap().1, [7; cursor::NOTE]);
    let ring = open(dir.path(), BOOT);
    assert_eq!(times(&ring), expected[..31]);
    let mut writer = ring.writer("a");
    let landed = land(&mut writer, &[&torn[20..], &record(32, b"in memory")].concat());
    assert!(landed.in_memory.is_some() && landed.garbage == 0, "{landed:?}");
    assert_eq!(times(&ring), expected);
    assert!(cursor.save(ring.oldest(), [8; cursor::NOTE]).is_err());

    drop(refusal);
    assert!(ring.heal::<Toy>().in_memory.is_none());
    assert_eq!(ring.take_notices().len(), 0, "its own files are not set aside");
    assert_eq!(times(&open(dir.path(), BOOT)), expected);
    cursor.save(ring.oldest(), [9; cursor::NOTE]).unwrap();
    assert_eq!(Cursor::open(&dir.path().join(CURSOR)).unwrap().saved().unwrap().1, [9; cursor::NOTE]);
}

#[test]
fn after_a_power_loss_a_ring_that_may_only_be_read_is_read_as_far_as_it_was_synced() {
    let dir = tempfile::tempdir().unwrap();
    {
        let ring = open(dir.path(), BOOT);
        fill(&mut ring.writer("a"), 0..30);
        ring.sync().unwrap();
    }
    let _refusal = Refusal::of(dir.path());
    let ring = open(dir.path(), BootId([2; 16]));
    let mut reader = ring.reader();
    assert_eq!(read_all(&mut reader).len(), 30);
    assert_eq!(reader.take_lost(), Lost::default());
}

#[test]
fn a_segment_that_is_closed_again_and_again_keeps_its_index_within_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let mut written = 0;
    for _ in 0..12 {
        let ring = open(dir.path(), BOOT);
        fill(&mut ring.writer("a"), written..written + 1);
        written += 1;
        drop(ring);
        let refusal = Refusal::of(dir.path());
        let ring = open(dir.path(), BOOT);
        drop(refusal);
        assert!(ring.heal::<Toy>().in_memory.is_none());
        assert_eq!(times(&ring), (0..written).collect::<Vec<_>>());
        assert_eq!(ring.take_notices().len(), 0, "its own files are not set aside");
    }
    assert_eq!(times(&open(dir.path(), BOOT)), (0..written).collect::<Vec<_>>());
}

#[test]
fn memory_holds_no_more_than_its_share_and_no_protected_record_is_dropped_for_another() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("ring");
    let ring = open(&dir, BOOT);
    fs::write(&dir, b"in the way").unwrap();
    ring.protect_from(0, 0);
    let mut writer = ring.writer("a");
    let stream = record(1, &[b'x'; 190]).repeat(100);
    let mut at = 0;
    let full = loop {
        match writer.land(&Toy, |to| to.put(&stream[at..])) {
            Ok(landed) => {
                at = (at + landed.bytes) % stream.len();
                assert!(ring.allocated() <= MEMORY_BUDGET);
            }
            Err(error) => break error,
        }
    };
    assert!(is_protected(&full));
    assert_eq!(ring.oldest().seq, 0);
}

/// A kill loses what was in memory. Torn bytes that remain must not be joined to others.
#[test]
fn a_kill_that_loses_segments_in_memory_invents_nothing() {
    let all: Vec<u8> = (0..75).flat_map(|seq| record(seq, &[seq as u8 | 1; 150])).collect();
    for cut in 0..160 {
        let dir = tempfile::tempdir().unwrap();
        let ring = open(dir.path(), BOOT);
        let mut writer = ring.writer("a");
        // The segment is full with a torn record at its end, and then the disk refuses another segment.
        land(&mut writer, &all[..3900 + cut]);
        let refusal = Refusal::of(dir.path());
        let landed = land(&mut writer, &all[3900 + cut..9000]);
        assert!(landed.in_memory.is_some());
        drop(refusal);

        let ring = open(dir.path(), BOOT);
        let mut writer = ring.writer("a");
        land(&mut writer, &all[9000..12_000]);
        for (_, time, payload) in read_all(&mut ring.reader()) {
            assert_eq!(payload, [time as u8 | 1; 150], "record {time}, cut at {cut}");
        }
        assert_eq!(times(&ring).last(), Some(&74));
    }
}

#[test]
fn records_before_those_lost_from_memory_by_a_kill_stay() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("ring");
    let ring = open(&dir, BOOT);
    let mut writer = ring.writer("a");
    fill(&mut writer, 0..10);
    // As if ten more records had been in memory, and sent.
    let sent = Position { segment: 3, offset: 100, seq: 20 };
    Cursor::open(&dir.join(CURSOR)).unwrap().save(sent, [0; cursor::NOTE]).unwrap();
    let ring = open(&dir, BOOT);
    fill(&mut ring.writer("a"), 20..25);
    let expected: Vec<i64> = (0..10).chain(20..25).collect();
    assert_eq!(times(&ring), expected);
    let ring = open(&dir, BOOT);
    assert_eq!((times(&ring), ring.published().next_seq), (expected, 25));
}

#[test]
fn the_description_is_synced_before_the_records_and_rewritten_when_lost() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("rings/ring");
    let is = |text: &str| assert_eq!(described(&dir), Content::Whole(text.into()));
    let is_staged = || small::is_staged(&dir.join(INFO));
    let ring = open(&dir, BOOT);
    ring.describe(b"first").unwrap();
    assert_eq!(described(&dir), Content::Absent, "nothing is made before the first record");
    fill(&mut ring.writer("a"), 0..10);
    is("first");
    assert!(is_staged(), "the writer waits for no sync");
    ring.sync().unwrap();
    is("first");
    assert!(!is_staged());
    // One process is killed before it has synced, and another one finds what it would write.
    let ring = open(&dir, BOOT);
    ring.describe(b"second").unwrap();
    is("second");
    let ring = open(&dir, BOOT);
    ring.describe(b"second").unwrap();
    assert!(is_staged());
    ring.sync().unwrap();
    is("second");
    assert!(!is_staged());
    fs::remove_file(dir.join(INFO)).unwrap();
    ring.sync().unwrap();
    is("second");
    assert!(!is_staged());
    fs::remove_dir_all(&dir).unwrap();
    ring.heal::<Toy>();
    ring.sync().unwrap();
    is("second");
    assert!(!is_staged());
}
