//! The hot parts of the driver, each alone, on a megabyte of frames.

use std::hint::black_box;
use std::time::Duration;

use loki_rs::codec::{Source, frame};
use loki_rs::frames::DockerFrames;
use loki_rs::loki::StreamEncoder;
use loki_rs::loki::encode::Metadata;
use loki_rs::ring::{BootId, Options, Ring, Writer};
use loki_rs::shipper::backoff::Backoff;
use loki_rs::shipper::collect::Collector;
use loki_rs::shipper::{Plan, Stream};

/// Lines in the megabyte, of 100 bytes each.
pub const LINES: usize = 8000;

/// A part: what it does is [`Part::run`], and all that comes before is not counted.
pub struct Part {
    pub name: &'static str,
    run: Box<dyn FnMut()>,
}

// === impl Part ===

impl Part {
    /// Does the work once, on all of the lines.
    pub fn run(&mut self) {
        (self.run)();
    }
}

fn part(name: &'static str, run: impl FnMut() + 'static) -> Part {
    Part { name, run: Box::new(run) }
}

/// All parts, in the order in which a line meets them.
pub fn parts() -> Vec<Part> {
    let frames: &'static [u8] = frames().leak();
    let dir: &'static _ = Box::leak(Box::new(tempfile::tempdir().expect("a temporary directory")));
    let open = |name: &str| {
        let options = Options { budget: 100_000_000, boot: BootId([1; 16]) };
        Ring::open(&dir.path().join(name), options, &DockerFrames).expect("an empty ring")
    };

    let landing = open("landing");
    let written = open("written");
    let mut writer = landing.writer("bench");
    land(&mut written.writer("bench"), frames);
    let mut encoder = StreamEncoder::new(LABELS);
    let metadata = metadata();
    let mut full = StreamEncoder::new(LABELS);
    push_all(&mut full, frames, &metadata);
    let tail = written.clone();
    let mut answer = Vec::new();
    vec![
        part("scan: frames found in bytes", move || {
            let mut at = 0;
            while let frame::Scan::Frame { len, .. } = frame::scan(&frames[at..]) {
                at += len;
            }
            assert_eq!(black_box(at), frames.len());
        }),
        part("land: bytes into the ring", move || land(&mut writer, frames)),
        part("encode: entries to a request", move || {
            push_all(&mut encoder, frames, &metadata);
            black_box(encoder.encoded());
            encoder.clear();
        }),
        part("compress: a request to a body", move || drop(black_box(full.body()))),
        part("collect: ring to batches", move || {
            let mut collector = Collector::new(&written, None, &plan());
            collector.collect(&written.published(), false, true);
            let batch = collector.batch(Source::Stdout).expect("lines");
            assert_eq!(batch.entries(), LINES);
            collector.rest();
        }),
        part("answer: entries to docker logs", move || {
            answer.clear();
            frame::entries(frames).for_each(|entry| frame::encode_for_reader(&entry, &mut answer));
            black_box(&answer);
        }),
        part("tail: the last ten found", move || {
            let mut reader = tail.reader();
            reader.seek_last(10, &DockerFrames);
            black_box(reader.fill().is_some());
        }),
    ]
}

const LABELS: &str = "{container_name=\"bench\",host=\"localhost\",source=\"stdout\"}";

fn metadata() -> Metadata {
    Metadata::new([("container_id", &*"0123456789abcdef".repeat(4)), ("image_name", "busybox:1")])
}

fn plan() -> Plan {
    let wait = Duration::from_secs(1);
    Plan {
        streams: [(); 2].map(|()| Some(Stream { labels: LABELS.into(), tenant: None })),
        metadata: vec![
            ("container_id".into(), "0123456789abcdef".repeat(4)),
            ("image_name".into(), "busybox:1".into()),
        ],
        batch_size: 1 << 22,
        batch_wait: wait,
        protects: false,
        forgets: false,
        attempts: None,
        backoff: Backoff::try_new(wait, wait).expect("a wait is as long as itself"),
    }
}

fn push_all(encoder: &mut StreamEncoder, frames: &[u8], metadata: &Metadata) {
    for entry in frame::entries(frames) {
        encoder.push(entry.time, entry.line, metadata);
    }
}

fn land(writer: &mut Writer, mut frames: &[u8]) {
    while !frames.is_empty() {
        let landed = writer.land(&DockerFrames, |to| to.put(frames)).expect("room");
        frames = &frames[landed.bytes..];
    }
}

fn frames() -> Vec<u8> {
    (0..LINES).flat_map(|at| frame_of(at as i64)).collect()
}

/// A frame as dockerd writes it, with a line of 100 bytes.
fn frame_of(at: i64) -> Vec<u8> {
    let words = ["request", "accepted", "from", "10.0.0.", "status=200", "latency_ms=", "closed", "order"];
    let mut line = format!("{at:08} ");
    while line.len() < 100 {
        line.push_str(words[(line.len() * 7 + at as usize) % words.len()]);
        line.push(' ');
    }
    line.truncate(100);
    let mut payload = b"\x0a\x06stdout\x10".to_vec();
    let mut time = 1_790_000_000_000_000_000_u64 + at as u64 * 1000;
    while time >= 0x80 {
        payload.push(time as u8 | 0x80);
        time >>= 7;
    }
    payload.push(time as u8);
    payload.extend_from_slice(&[0x1a, 100]);
    payload.extend_from_slice(line.as_bytes());
    [&(payload.len() as u32).to_be_bytes()[..], &payload].concat()
}
