//! A ring whose files anything may have happened to, between two processes or while one has them open: it opens, is read
//! to its end, takes new records, and reads them back.

#![no_main]

use std::fs::{self, OpenOptions};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dockerd::frame;
use libfuzzer_sys::fuzz_target;
use loki_rs::frames::DockerFrames;
use ring::{BootId, Cursors, LEAST_BUDGET, Options, Reader, Ring};

/// A frame as dockerd writes it.
const FRAME: &[u8] = b"\x00\x00\x00\x16\x0a\x06stdout\x10\x80\x80\x80\x80\x80\x80\x80\x80\x10\x1a\x02hi";

/// Where the structures of a segment are, which carry a checksum in their last four bytes.
const STRUCTURES: [u64; 7] = [0, 512, 1024, 1536, 2048, 4096, 4160];

fuzz_target!(|input: (Vec<u8>, Vec<u8>, bool)| {
    let (steps, cursor, same_boot) = input;
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path();
    let mut ring = open(path, 1);
    for _ in 0..3 {
        land(&ring, "w", 600);
        // The next process begins another segment where the one before cannot be gone on in.
        ring.sync().expect("a disk");
        ring = open(path, if same_boot { 1 } else { 2 });
    }
    // What the ring goes by when it is opened.
    fs::write(path.join("cursor-a"), &cursor).expect("a disk");
    let _ = Cursors::open(&ring, &["a".into(), "b".into()]).map(|cursors| cursors.furthest_behind());
    for step in steps.chunks_exact(6) {
        ring = play(ring, path, step.try_into().expect("six bytes"));
        assert!(used(path) <= LEAST_BUDGET + 64 * 1024, "{} bytes on disk", used(path));
    }
    let ring = open(path, if same_boot { 1 } else { 2 });
    let mut reader = ring.reader();
    count(&mut reader);
    land(&ring, "new", 1);
    assert_eq!(count(&mut reader), 1, "what was just written is read");
});

/// One thing that happens.
fn play(ring: Arc<Ring>, dir: &Path, [what, which, low, high, higher, value]: [u8; 6]) -> Arc<Ring> {
    let files = segments(dir);
    let at = u64::from(low) | u64::from(high) << 8 | u64::from(higher & 1) << 16;
    let file = files.get(which as usize % files.len().max(1)).cloned();
    match (what % 10, file) {
        (0 | 1, Some(path)) => write(&path, at, &[value]),
        // Damage that carries a valid checksum.
        (2, Some(path)) => seal(&path, STRUCTURES[at as usize % STRUCTURES.len()]),
        (3, Some(path)) => {
            if let Ok(file) = OpenOptions::new().write(true).open(&path) {
                let _ = file.set_len(at);
            }
        }
        (4, Some(path)) => {
            let _ = fs::remove_file(&path);
            let _ = match value % 4 {
                0 => Ok(()),
                1 => fs::create_dir(&path),
                2 => symlink("/proc/self/mem", &path),
                _ => fs::write(&path, vec![value; at as usize % 10_000]),
            };
        }
        (5, Some(path)) => drop(fs::rename(&path, dir.join(format!("{:016x}.seg", at % 20)))),
        (6, _) => land(&ring, "w", 1 + value as usize),
        (7, _) => drop((ring.heal::<DockerFrames>(), ring.sync())),
        (8, _) => drop(count(&mut ring.reader())),
        // A newer instance takes the folder; the older one changes nothing any more.
        (9, _) => {
            let newer = open(dir, 1 + value % 2);
            assert!(ring.heal::<DockerFrames>().is_revoked);
            assert!(ring.sync().is_err_and(|error| error.is_revoked()));
            return newer;
        }
        _ => {}
    }
    ring
}

fn open(dir: &Path, boot: u8) -> Arc<Ring> {
    let options = Options { budget: LEAST_BUDGET, boot: BootId([boot; 16]) };
    Ring::open(dir, options, &DockerFrames).expect("whatever is in the folder, the ring opens")
}

fn land(ring: &Arc<Ring>, who: &str, frames: usize) {
    let mut writer = ring.writer(who);
    for _ in 0..frames {
        let mut rest = FRAME;
        while !rest.is_empty() {
            rest = &rest[writer.land(&DockerFrames, |to| to.put(rest)).expect("room").bytes..];
        }
    }
}

fn count(reader: &mut Reader) -> u64 {
    let mut total = 0;
    while let Some(chunk) = reader.fill() {
        let mut entries = frame::entries(chunk.bytes);
        let records = entries.by_ref().count() as u64;
        let used = entries.position();
        reader.advance(used, records, &DockerFrames);
        total += records;
    }
    total
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).collect();
    paths.sort();
    paths
}

/// Bytes of segments on disk, also of those that were set aside.
fn used(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let files = fs::read_dir(dir).into_iter().flatten().flatten();
    files
        .filter(|file| file.path().extension().is_some())
        .filter_map(|it| it.metadata().ok())
        .map(|it| 512 * it.blocks())
        .sum()
}

fn write(path: &Path, at: u64, bytes: &[u8]) {
    if path.symlink_metadata().is_ok_and(|file| file.is_file())
        && let Ok(file) = OpenOptions::new().write(true).open(path)
    {
        let _ = file.write_all_at(bytes, at);
    }
}

fn seal(path: &Path, at: u64) {
    let mut structure = [0; 60];
    if fs::File::open(path).and_then(|file| file.read_exact_at(&mut structure, at)).is_ok() {
        write(path, at + 60, &crc32fast::hash(&structure).to_le_bytes());
    }
}
