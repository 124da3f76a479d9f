//! Files that another process truncates while they are written to, like `truncate -s 0` on the log of another driver.

use std::fs::OpenOptions;

use super::*;

fn cut(path: &Path, len: u64) {
    OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| place::segment_number(path).is_some());
    paths.sort();
    paths
}

/// Each record that is read is the one written under its number.
fn check(read: &[(u64, i64, Vec<u8>)]) {
    assert!(read.iter().all(|(_, time, payload)| payload == &[*time as u8; 90]), "nothing is invented");
    assert!(read.windows(2).all(|pair| pair[0].1 < pair[1].1));
}

#[test]
fn records_after_a_truncation_survive_the_process() {
    for len in [0, 1, 600, 2500, 4096, 5000, 8192, 8200, 9000, 10_000] {
        for (all, heal, torn) in [(false, false, 0), (true, false, 3), (false, true, 50), (true, true, 0)] {
            let dir = tempfile::tempdir().unwrap();
            let ring = open(dir.path(), BOOT);
            let mut writer = ring.writer("a");
            let records: Vec<Vec<u8>> = (0..100).map(|time| record(time, &[time as u8; 90])).collect();
            (0..60).for_each(|at| _ = land(&mut writer, &records[at]));
            land(&mut writer, &records[60][..torn]);
            let paths = segments(dir.path());
            for path in if all { &paths[..] } else { &paths[paths.len() - 1..] } {
                cut(path, len);
            }
            let what = format!("{} cut to {len}, healed: {heal}", if all { "all" } else { "the last" });
            if heal {
                assert!(ring.heal::<Toy>().left.unwrap().to_string().contains("cut"), "{what}");
            }
            let landed = writer.land(&Toy, |to| to.put(&records[60][torn..])).unwrap();
            assert_eq!((landed.records, landed.garbage, landed.left.is_some()), (1, 0, !heal), "{what}");
            (61..100).for_each(|at| _ = land(&mut writer, &records[at]));
            let mut reader = ring.reader();
            let read = read_all(&mut reader);
            check(&read);
            let lost = reader.take_lost();
            assert_eq!(read.len() as u64 + lost.damaged + lost.overwritten, 100, "{what}: {lost:?}");

            drop(ring);
            let ring = open(dir.path(), BOOT);
            let read = read_all(&mut ring.reader());
            check(&read);
            let expected: Vec<i64> = (60..100).collect();
            let times: Vec<i64> = read.iter().map(|record| record.1).collect();
            assert!(times.ends_with(&expected), "{what}: {times:?}");
            assert_eq!(ring.published().next_seq, 100, "{what}");
        }
    }
}

#[test]
fn a_stream_that_ends_in_a_file_that_was_cut_ends_in_another() {
    let dir = tempfile::tempdir().unwrap();
    let ring = open(dir.path(), BOOT);
    let mut writer = ring.writer("a");
    // A wrong length: 120 bytes announced, a whole record inside.
    let inside = record(1, &[1; 90]);
    land(&mut writer, &[&record(0, &[0; 90])[..], &[120, b'R'], &inside].concat());
    cut(&segments(dir.path())[0], 0);
    let landed = writer.finish(&Toy);
    assert_eq!((landed.records, landed.garbage), (1, 2));
    drop(ring);
    let read = read_all(&mut open(dir.path(), BOOT).reader());
    assert_eq!(read.into_iter().map(|record| record.1).collect::<Vec<_>>(), [1]);
}
