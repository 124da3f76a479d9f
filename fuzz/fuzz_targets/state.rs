//! Any small files in the state directory, as a process before may have left them: the next one starts, deletes nothing that
//! it cannot read, and reads no more than a bounded number of bytes of each.

#![no_main]

#[path = "support/cost.rs"]
mod cost;

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use base::disk::small::{self, Content};
use cost::measured;
use dockerd::frame;
use libfuzzer_sys::fuzz_target;
use loki_rs::config::{PluginDefaults, RingBudget};
use loki_rs::frames::DockerFrames;
use loki_rs::streams::Registry;
use loki_rs::streams::evict::Policy;
use loki_rs::streams::record::Records;
use loki_rs::streams::registry::Setup;
use loki_rs::streams::retention;
use ring::{BootId, Cursors, INFO, LEAST_BUDGET, Options, Ring};
use tokio::runtime::{Builder, Runtime};

/// The container whose ring is there.
const ID: &str = "c1";

/// Files that are read at the start, with what a whole one holds.
const FILES: &[(&str, &str)] = &[
    ("streams/a.json", RECORD),
    ("streams/a.next", RECORD),
    ("streams/a.syncing", RECORD),
    ("streams/b.json", r#"{"file": "/dev/null/b", "info": {"ContainerID": "../../c2", "Config": {"loki-url": "x"}}}"#),
    ("rings/c1/info.json", DESCRIPTION),
    ("rings/c1/info.next", DESCRIPTION),
    ("rings/c1/info.syncing", DESCRIPTION),
    ("rings/c1/info-0000000000000002.json", DESCRIPTION),
    ("rings/c1/info-ffffffffffffffff.next", DESCRIPTION),
    ("rings/c1/evaluating-0", "0 3\n"),
    ("rings/c1/unreadable-cursor-a", ""),
    ("rings/c2/info.json", DESCRIPTION),
    ("rings/c1/0000000000000007.unreadable.seg", ""),
    ("ages.json", r#"{"boot": "0f", "since_boot_ms": 1, "wall_ns": 1, "stopped_ms": {"c1": 99999999999}}"#),
    ("ages.next", r#"{"boot": "0f", "since_boot_ms": 18446744073709551615, "wall_ns": -1, "stopped_ms": {"c1": 1}}"#),
    ("started/c1", ""),
];

const RECORD: &str = r#"{"file": "/dev/null/a", "info": {"ContainerID": "c1", "ContainerName": "/a", "Config": {"loki-url": "http://127.0.0.1:1"}}}"#;
const DESCRIPTION: &str =
    r#"{"ContainerID": "c1", "ContainerName": "/a", "Config": {"loki-url": "http://127.0.0.1:1"}}"#;

/// Bytes of memory for all files together: the largest that is read has 16 MiB, and is parsed.
const MOST_BYTES: usize = 256 << 20;

/// For the start, of the thread that calls for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// A length that no file has which the plugin wrote.
const HUGE: u64 = 1 << 40;

fuzz_target!(|input: (Vec<(u8, u8, Vec<u8>)>, u8)| {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    let runtime =
        RUNTIME.get_or_init(|| Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads"));
    let (files, seen) = input;
    // In memory, where a sync takes no time.
    let dir = tempfile::tempdir_in("/dev/shm").expect("a directory");
    let state = dir.path();
    ring(&state.join("rings").join(ID), seen);
    for (which, how, bytes) in files.iter().take(8) {
        place(state, usize::from(*which), *how, bytes);
    }
    let unread = unreadable(state);
    let ((), cost) = measured(|| runtime.block_on(start(state, runtime)));
    assert!(cost.bytes < MOST_BYTES && cost.time < PATIENCE, "{} bytes, {:?}", cost.bytes, cost.time);
    let there: Vec<_> = all(state).into_iter().map(|(_, bytes)| bytes).collect();
    for (path, bytes) in unread {
        // A ring that is old goes with all that is in it, if it is known what its options say.
        let went =
            path.starts_with(state.join("rings")) && path.extension().is_some_and(|extension| extension == "seg");
        let went = went && !path.parent().is_some_and(Path::exists);
        assert!(went || there.contains(&bytes), "{} is gone", path.display());
    }
});

/// Takes up what is there as the plugin does at its start, looks at it, and ends in order.
async fn start(state: &Path, runtime: &Runtime) {
    let registry = Registry::new(Setup {
        state_dir: state.into(),
        hostname: "host".into(),
        defaults: PluginDefaults::default(),
        mistakes: Vec::new(),
        intake: runtime.handle().clone(),
        shipping: runtime.handle().clone(),
        counters: Default::default(),
        sent: Default::default(),
        pipelines: Arc::default(),
    });
    let policy = Policy { retention: Duration::from_secs(3600), budget: RingBudget::UNLIMITED };
    let begun = async {
        registry.adopt().await;
        let _ = registry.reader(ID).await;
        registry.sync_all().await;
        let _ = registry.view();
        registry.shut_down().await;
    };
    tokio::join!(registry.keep_tidy(policy), begun);
}

/// A ring with a few lines, of which some were sent.
fn ring(dir: &Path, sent: u8) {
    let options = Options { budget: LEAST_BUDGET, boot: BootId::current() };
    let ring = Ring::open(dir, options, &DockerFrames).expect("a ring");
    let mut frames = Vec::new();
    for _ in 0..4 {
        frames.extend_from_slice(b"\x00\x00\x00\x16\x0a\x06stdout\x10\x80\x80\x80\x80\x80\x80\x80\x80\x10\x1a\x02hi");
    }
    assert_eq!(frame::entries(&frames).count(), 4);
    let mut rest = frames.as_slice();
    let mut writer = ring.writer("w");
    while !rest.is_empty() {
        rest = &rest[writer.land(&DockerFrames, |to| to.put(rest)).expect("room").bytes..];
    }
    if sent % 8 < 5 {
        let mut cursors = Cursors::open(&ring, &["a".into()]).expect("a cursor");
        let mut reader = ring.reader();
        let count = u64::from(sent % 8);
        let bytes = frames.len() / 4 * count as usize;
        reader.fill();
        reader.advance(bytes, count, &DockerFrames);
        cursors.save(0, reader.position(), [sent; 144]).expect("a disk");
    }
}

/// Puts a file there, or damages one.
fn place(state: &Path, which: usize, how: u8, bytes: &[u8]) {
    let beside: Vec<_> = all(&state.join("rings").join(ID)).into_iter().map(|(path, _)| path).collect();
    let which = which % (FILES.len() + beside.len());
    let (path, whole) = match FILES.get(which) {
        Some((name, whole)) => (state.join(name), whole.as_bytes().to_vec()),
        None => (beside[which - FILES.len()].clone(), fs::read(&beside[which - FILES.len()]).unwrap_or_default()),
    };
    fs::create_dir_all(path.parent().expect("a folder")).expect("a disk");
    // What is there may be a directory.
    let _ = match how % 8 {
        0 => fs::write(&path, bytes),
        1 => fs::write(&path, whole),
        2 => fs::write(&path, patched(whole, bytes)),
        3 => small::stage(&path, bytes),
        4 => small::stage(&path, &patched(whole, bytes)),
        5 => fs::create_dir(&path),
        6 => fs::write(&path, &whole[..whole.len().min(bytes.len())]),
        _ => fs::File::create(&path).and_then(|file| file.write_at(bytes, 0).and_then(|_| file.set_len(HUGE))),
    };
}

/// With some bytes replaced: each three are a place and a byte.
fn patched(mut whole: Vec<u8>, patches: &[u8]) -> Vec<u8> {
    for patch in patches.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([patch[0], patch[1]])) % whole.len().max(1);
        if let Some(byte) = whole.get_mut(at) {
            *byte = patch[2];
        }
    }
    whole
}

/// Files that are there and cannot be read: records, the description of the ring if no record has another, and segments that
/// do not begin as one does.
fn unreadable(state: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (records, broken) = Records::new(state).load();
    let info = state.join("rings").join(ID).join(INFO);
    let is_described = records.iter().any(|record| record.info.container_id == ID)
        || retention::info_of(info.parent().expect("a folder")).is_some()
        || small::read(&info) == Content::Absent;
    let parts = broken.into_iter().chain((!is_described).then_some(info));
    let places = parts.flat_map(|path| ["next", "syncing", "json"].map(|extension| path.with_extension(extension)));
    let read = places.filter_map(|path| Some((path.clone(), beginning(&path)?)));
    let of_ring = all(&state.join("rings").join(ID)).into_iter();
    let segments = of_ring.filter(|(path, bytes)| {
        // A header of zeros is that of a segment that was never finished, and holds no line.
        path.extension().is_some_and(|extension| extension == "seg")
            && bytes.iter().take(64).any(|byte| *byte != 0)
            && !bytes.starts_with(b"lokiring")
    });
    read.chain(segments).collect()
}

/// All files below a directory.
fn all(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for path in fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(all(&path));
        } else if let Some(bytes) = beginning(&path) {
            found.push((path, bytes));
        }
    }
    found.sort();
    found
}

/// The beginning of a file, which may be huge.
fn beginning(path: &Path) -> Option<Vec<u8>> {
    use std::io::Read;
    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(64 << 10).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
