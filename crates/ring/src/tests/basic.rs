//! Write, read, wrap, find, hand over.

use super::*;

#[test]
fn a_ring_that_was_never_written_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ring");
    let ring = open(&path, BOOT);
    assert!(ring.reader().fill().is_none());
    ring.describe(b"{}").unwrap();
    ring.sync().unwrap();
    ring.writer("a").finish(&Toy);
    assert!(!path.exists());
    assert_eq!(
        ring.writer("a").land(&Toy, |_| Err(io::ErrorKind::WouldBlock.into())).unwrap_err().kind(),
        io::ErrorKind::WouldBlock
    );
}

#[test]
fn landed_records_are_read_in_order_and_numbered() {
    let dir = tempfile::tempdir().unwrap();
    let ring = open(dir.path(), BOOT);
    let mut writer = ring.writer("a");
    let landed = land(&mut writer, &[record(5, b"one"), record(6, b"two")].concat());
    assert_eq!((landed.records, landed.garbage), (2, 0));
    assert_eq!(read_all(&mut ring.reader()), [(0, 5, b"one".to_vec()), (1, 6, b"two".to_vec())]);
    assert_eq!(ring.published().next_seq, 2);
}

#[test]
fn a_torn_record_becomes_whole_with_the_next_read() {
    let dir = tempfile::tempdir().unwrap();
    let ring = open(dir.path(), BOOT);
    let mut writer = ring.writer("a");
    let bytes = record(5, b"in two reads");
    assert_eq!(land(&mut writer, &bytes[..7]).records, 0);
    assert!(ring.reader().fill().is_none());
    assert_eq!(land(&mut writer, &bytes[7..]).records, 1);
    assert_eq!(payloads(&mut ring.reader()), [b"in two reads"]);
}

#[test]
fn a_full_ring_evicts_the_oldest_records_and_counts_them() {
    let dir = tempfile::tempdir().unwrap();
    let ring = open(dir.path(), BOOT);
    let mut writer = ring.writer("a");
    let mut slow = ring.reader();
    for seq in 0..2000u64 {
        land(&mut writer, &record(seq as i64, format!("record {seq} {}", "x".repeat(80)).as_bytes()));
        assert!(on_disk(dir.path()) <= LEAST_BUDGET, "{} bytes on disk", on_disk(dir.path()));
        assert_eq!(on_disk(dir.path()), ring.allocated());
    }
    let seen = read_all(&mut slow);
    let lost = slow.take_lost();
    assert_eq!(lost.damaged, 0);
    assert!(lost.overwritten > 1000);
    assert_eq!(seen.first().unwrap().0, lost.overwritten);
    assert_eq!(seen.len() as u64 + lost.overwritten, 2000);
    assert!(seen.iter().zip(lost.overwritten..).all(|(record, seq)| record.0 == seq));
}

#[test]
fn room_behind_a_position_is_the_number_of_bytes_until_its_eviction() {
    let dir = tempfile::tempdir().unwrap();
    let ring = open(dir.path(), BOOT);
    let mut writer = ring.writer("a");
    let record = record(7, &[b'x'; 190]);
    for before in [1, 10, 30, 100, 400] {
        (0..before).for_each(|_| _ = land(&mut writer, &record));
        let mut reader = ring.reader();
        reader.seek_last(0, &Toy);
        let (position, room) = (reader.position(), ring.room_behind(reader.position()));
        let mut written = 0;
        while ring.oldest().seq <= position.seq {
            land(&mut writer, &record);
            written += record.len() as u64;
        }
        // A segment of 4 KiB is evicted as a whole, and a file grows by as much.
        let off = written.abs_diff(room);
        assert!(off <= 4096, "{room} bytes were foretold behind {before} records, and {written} were written");
    }
}

#[test]
fn the_last_n_and_the_first_since_are_found_anywhere() {
    let dir = tempfile::tempdir().unwrap();
    let ring = open(dir.path(), BOOT);
    let mut writer = ring.writer("a");
    let total = 150u64;
    for seq in 0..total {
        land(&mut writer, &record(10 * seq as i64, &[b'x'; 50]));
    }
    let oldest = ring.oldest().seq;
    for n in 0..=total + 5 {
        let mut reader = ring.reader();
        reader.seek_last(n, &Toy);
        let first = read_all(&mut reader).first().map_or(total, |record| record.0);
        assert_eq!(first, total.saturating_sub(n).max(oldest), "last {n}");
    }
    for time in 0..10 * total as i64 + 20 {
        let mut reader = ring.reader();
        reader.seek_time(time, &Toy);
        let first = read_all(&mut reader).first().map(|record| record.1);
        let expected = (0..total as i64).map(|seq| seq * 10).find(|t| *t >= time && *t >= 10 * oldest as i64);
        assert_eq!(first, expected, "since {time}");
    }
}

#[test]
fn a_writer_that_returns_finds_its_torn_record_again() {
    let dir = tempfile::tempdir().unwrap();
    let ring = open(dir.path(), BOOT);
    let (mut old, mut new) = (ring.writer("old"), ring.writer("new"));
    let torn = record(1, b"of the old stream");
    land(&mut old, &torn[..9]);
    land(&mut new, &record(2, b"of the new stream"));
    land(&mut old, &torn[9..]);
    assert_eq!(payloads(&mut ring.reader()), [&b"of the new stream"[..], b"of the old stream"]);
}

/// Two streams with torn records take turns, also while the ring is full of pinned records. Each waits for room with
/// only its own torn bytes, and none of them is lost however often it is refused.
#[test]
fn torn_bytes_outlive_a_return_to_a_ring_that_is_full() {
    for payload in [1, 7, 20, 60, 150] {
        let dir = tempfile::tempdir().unwrap();
        let ring = open(dir.path(), BOOT);
        ring.protect_from(0, 0);
        let (mut old, mut new) = (ring.writer("old"), ring.writer("new"));
        let torn = [record(1, b"of the old stream"), record(2, &[b'n'; 190])];
        let mut landed = land(&mut old, &torn[0][..9]).bytes;
        let mut rest = record(100, &vec![b'x'; payload]);
        let refused = loop {
            match new.land(&Toy, |to| to.put(&rest)) {
                Ok(landed) => drop(rest.drain(..landed.bytes)),
                Err(error) => {
                    assert!(is_protected(&error));
                    break old.land(&Toy, |_| Err(io::ErrorKind::WouldBlock.into())).unwrap_err();
                }
            }
            if rest.is_empty() {
                rest = record(100, &vec![b'x'; payload]);
            }
            let error = old.land(&Toy, |_| Err(io::ErrorKind::WouldBlock.into())).unwrap_err();
            if is_protected(&error) {
                break error;
            }
        };
        assert!(is_protected(&refused) || refused.kind() == io::ErrorKind::WouldBlock, "{refused}");
        // Both are refused repeatedly, by turns.
        for _ in 0..3 {
            let _ = new.land(&Toy, |_| Err(io::ErrorKind::WouldBlock.into()));
            let _ = old.land(&Toy, |_| Err(io::ErrorKind::WouldBlock.into()));
        }
        ring.unprotect();
        land(&mut new, &rest);
        land(&mut new, &torn[1][..100]);
        landed += land(&mut old, &torn[0][landed..]).bytes;
        land(&mut new, &torn[1][100..]);
        assert_eq!(landed, torn[0].len());
        let shown = payloads(&mut ring.reader());
        assert_eq!(shown[shown.len() - 2..], [b"of the old stream".to_vec(), vec![b'n'; 190]], "payload {payload}");
    }
}

#[test]
fn a_stream_that_ends_torn_leaves_filler_and_its_whole_records() {
    let dir = tempfile::tempdir().unwrap();
    let ring = open(dir.path(), BOOT);
    let mut writer = ring.writer("a");
    // A wrong length: 120 bytes announced, a whole record inside.
    let inside = record(3, b"inside");
    land(&mut writer, &[&[120, b'R'][..], &inside].concat());
    assert!(ring.reader().fill().is_none());
    let landed = writer.finish(&Toy);
    assert_eq!((landed.records, landed.garbage), (1, 2));
    assert_eq!(payloads(&mut ring.reader()), [b"inside"]);
}

#[test]
fn garbage_is_counted_and_skipped() {
    let dir = tempfile::tempdir().unwrap();
    let ring = open(dir.path(), BOOT);
    let mut writer = ring.writer("a");
    let landed =
        land(&mut writer, &[b"\0\0\xff\xee".to_vec(), record(1, b"x"), b"\xfe\0".to_vec(), record(2, b"y")].concat());
    assert_eq!((landed.records, landed.garbage), (2, 6));
    assert_eq!(payloads(&mut ring.reader()), [b"x", b"y"]);
}

#[test]
fn zeros_read_before_a_kill_belong_to_their_record() {
    let bytes = record(256, b"zeros at the end \0\0\0\0\0");
    for cut in 1..=bytes.len() {
        let dir = tempfile::tempdir().unwrap();
        {
            let ring = open(dir.path(), BOOT);
            let mut writer = ring.writer("a");
            land(&mut writer, &record(1, b"before"));
            land(&mut writer, &bytes[..cut]);
        }
        let ring = open(dir.path(), BOOT);
        let mut writer = ring.writer("a");
        land(&mut writer, &[&bytes[cut..], &record(2, b"after")].concat());
        assert_eq!(
            payloads(&mut ring.reader()),
            [&b"before"[..], b"zeros at the end \0\0\0\0\0", b"after"],
            "killed after {cut} bytes"
        );
    }
}

#[test]
fn a_directory_that_cannot_be_written_means_memory_within_a_bound() {
    let dir = tempfile::tempdir().unwrap();
    let blocked = dir.path().join("not a directory");
    std::fs::write(&blocked, b"").unwrap();
    let ring = Ring::open(&blocked.join("ring"), Options { budget: LEAST_BUDGET, boot: BOOT }, &Toy);
    // A path through a file cannot be listed; that is an error, not a panic.
    assert!(ring.is_err());

    let path = dir.path().join("ring");
    let ring = open(&path, BOOT);
    std::fs::write(&path, b"in the way").unwrap();
    let mut writer = ring.writer("a");
    let landed = land(&mut writer, &record(1, b"kept in memory"));
    assert!(landed.in_memory.unwrap().to_string().contains("ring"));
    for seq in 0..60_000 {
        let landed = land(&mut writer, &record(seq, &[b'x'; 190]));
        assert!(landed.in_memory.is_none(), "said once");
    }
    assert!(ring.allocated() <= MEMORY_BUDGET);
    let mut reader = ring.reader();
    assert_eq!(read_all(&mut reader).last().unwrap().0, 60_000);
}

#[test]
fn readers_wake_after_the_record_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let ring = open(dir.path(), BOOT);
    let follow = ring.follow();
    let handle = std::thread::spawn({
        let ring = ring.clone();
        move || {
            let mut writer = ring.writer("a");
            for seq in 0..500 {
                land(&mut writer, &record(seq, b"x"));
            }
        }
    });
    let mut reader = ring.reader();
    let mut seen = 0;
    while seen < 500 {
        let published = follow.borrow().next_seq;
        let read = read_all(&mut reader).len() as u64 + reader.take_lost().overwritten;
        seen += read;
        assert!(seen >= published, "published {published}, read {seen}");
    }
    handle.join().unwrap();
}

#[test]
fn protected_records_are_not_retired_and_the_writer_is_told_before_it_reads() {
    let dir = tempfile::tempdir().unwrap();
    let ring = open(dir.path(), BOOT);
    ring.protect_from(0, 0);
    let mut writer = ring.writer("a");
    let (mut written, mut rest) = (0, Vec::new());
    let full = loop {
        if rest.is_empty() {
            rest = record(written, &[b'x'; 90]);
        }
        match writer.land(&Toy, |to| to.put(&rest)) {
            Ok(landed) => {
                rest.drain(..landed.bytes);
                written += landed.records as i64;
            }
            Err(error) => break error,
        }
    };
    assert!(is_protected(&full));
    assert_eq!(ring.oldest().seq, 0);
    assert!(on_disk(dir.path()) <= LEAST_BUDGET);
    ring.protect_from(0, 60);
    ring.protect_from(1, 100);
    land(&mut writer, &rest);
    assert!(ring.oldest().seq > 0 && ring.oldest().seq <= 60);
    ring.unprotect();
    while writer.land(&Toy, |to| to.put(&record(written, &[b'x'; 90]))).is_ok() {
        written += 1;
    }
    assert!(ring.oldest().seq > 60 && ring.oldest().seq <= 100, "the other is still protected");
    ring.unprotect();
    for _ in 0..1000 {
        land(&mut writer, &record(written, &[b'x'; 90]));
    }
}

#[test]
fn segments_no_longer_needed_are_evicted_and_the_ring_continues() {
    let dir = tempfile::tempdir().unwrap();
    let ring = open(dir.path(), BOOT);
    let (mut writer, mut reader) = (ring.writer("a"), ring.reader());
    let write = |writer: &mut Writer, from: i64, to: i64| {
        for at in from..to {
            land(writer, &record(at, &[b'x'; 90]));
        }
    };
    let segments =
        || fs::read_dir(dir.path()).unwrap().flatten().filter(|file| file.path().extension().is_some()).count();
    write(&mut writer, 0, 200);
    let all = segments();
    ring.retire_before(100);
    assert!(segments() < all && ring.oldest().seq <= 100 && ring.oldest().seq > 0);
    assert_eq!(read_all(&mut reader).len() as u64, 200 - ring.oldest().seq);
    ring.retire_all_before(199);
    assert!(segments() > 0, "there is one that somebody needs");
    land(&mut writer, &record(200, b"torn")[..8]);
    ring.retire_all_before(201);
    assert!(segments() > 0, "half a record is there");
    land(&mut writer, &record(200, b"torn")[8..]);
    assert_eq!(read_all(&mut reader).len(), 1);
    ring.retire_all_before(201);
    assert_eq!((segments(), on_disk(dir.path()), ring.oldest().seq), (0, 0, 201));
    reader.take_lost();
    write(&mut writer, 201, 211);
    assert_eq!((read_all(&mut reader).len(), reader.take_lost()), (10, Lost::default()));

    // The next process finds only a cursor.
    Cursor::open(&dir.path().join(CURSOR)).unwrap().save(reader.position(), [0; cursor::NOTE]).unwrap();
    ring.retire_all_before(211);
    let (ring, position) = (open(dir.path(), BOOT), reader.position());
    write(&mut ring.writer("a"), 211, 221);
    let mut reader = ring.reader_at(position);
    assert_eq!((read_all(&mut reader).len(), reader.take_lost(), reader.position().seq), (10, Lost::default(), 221));
}

#[test]
fn a_file_that_refuses_writes_is_replaced_by_another_and_at_last_by_memory() {
    let dir = tempfile::tempdir().unwrap();
    let ring = open(dir.path(), BOOT);
    let mut writer = ring.writer("a");
    let torn = record(2, b"torn across segments");
    land(&mut writer, &[record(1, b"before"), torn[..9].to_vec()].concat());
    for (refusals, in_memory) in [(1, false), (2, true)] {
        let mut asked = 0;
        let landed = writer.land(&Toy, |to| {
            asked += 1;
            if asked <= refusals {
                return Err(io::Error::from_raw_os_error(28));
            }
            to.put(&[&torn[9..], &torn[..9]].concat())
        });
        let landed = landed.unwrap();
        assert_eq!((landed.records, landed.in_memory.is_some()), (1, in_memory), "refused {refusals} times");
    }
    let expected: [&[u8]; 3] = [b"before", b"torn across segments", b"torn across segments"];
    assert_eq!(payloads(&mut ring.reader()), expected);
    let error = writer.land(&Toy, |_| Err(io::ErrorKind::WouldBlock.into())).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock, "what is said of the pipe is passed on");
}
