//! The hot parts of the driver, each alone, on a megabyte of frames.

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dockerd::frame;
use loki::StreamEncoder;
use loki::encode::Metadata;
use loki_rs::frames::DockerFrames;
use loki_rs::shipper::backoff::Backoff;
use loki_rs::shipper::collect::Collector;
use loki_rs::shipper::window::Now;
use loki_rs::shipper::{Plan, Stream};
use promtail::pipeline::{Form, Pipeline};
use ring::{BootId, Options, Ring, Writer};
use tempfile::TempDir;

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
    let dir: &'static TempDir = Box::leak(Box::new(tempfile::tempdir().expect("a temporary directory")));
    let landing = open(dir.path(), "landing");
    let written = open(dir.path(), "written");
    let mut writer = landing.writer("bench");
    land(&mut written.writer("bench"), frames);
    let mut encoder = StreamEncoder::new(LABELS);
    let metadata = metadata();
    let mut full = StreamEncoder::new(LABELS);
    push_all(&mut full, frames, &metadata);
    let tail = written.clone();
    let mut answer = Vec::new();
    let mut parts = vec![
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
            collector.collect(&written.published(), false, true, &Now::default());
            let batch = collector.batch(0).expect("lines");
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
    ];
    parts.extend(PIPELINES.map(|pipeline| piped(dir.path(), pipeline)));
    parts
}

/// Lines of their own through a pipeline, from the ring to batches.
fn piped(dir: &'static Path, (name, stages, line): Piped) -> Part {
    let mut made = None;
    part(name, move || {
        // Not before its first run: what the other parts find in memory is to stay as it is.
        let (ring, plan) = made.get_or_insert_with(|| {
            let ring = open(dir, name);
            let frames: Vec<u8> = (0..LINES).flat_map(|at| frame_of(at as i64, &padded(line(at)))).collect();
            land(&mut ring.writer("bench"), &frames);
            (ring, Plan { pipeline: Some(Pipeline::parse(stages, Form::List).expect("stages")), ..plan() })
        });
        let mut collector = Collector::new(ring, None, plan);
        // Others have their turn meanwhile, in the plugin.
        while {
            collector.collect(&ring.published(), true, true, &Now::default());
            collector.has_more()
        } {}
        assert!((0..collector.batches()).any(|at| collector.batch(at).is_some()));
        black_box(&mut collector).rest();
    })
}

/// A name, the stages, and what each line says.
type Piped = (&'static str, &'static str, fn(usize) -> String);

/// Whole pipelines.
const PIPELINES: [Piped; 3] = [
    (
        "pipeline: json, labels, timestamp",
        "[{json: {expressions: {ts: , level: , request: http.id}}}, {labels: {level: }}, \
          {timestamp: {source: ts, format: RFC3339}}]",
        |at| {
            let (level, second) = (level(at), at % 60);
            format!(
                r#"{{"ts":"2026-09-21T10:00:{second:02}Z","level":"{level}","http":{{"id":{at}}},"msg":"accepted"}}"#
            )
        },
    ),
    (
        "pipeline: regex, labels",
        "[{regex: {expression: '^(?P<time>\\S+) (?P<level>\\w+) (?P<id>\\d+) (?P<text>.*)$'}}, {labels: {level: }}]",
        |at| format!("2026-09-21T10:00:{:02}Z {} {at} request accepted from 10.0.0.1", at % 60, level(at)),
    ),
    ("pipeline: multiline", "[{multiline: {firstline: '^\\S'}}]", |at| {
        let begin =
            if at.is_multiple_of(8) { "java.lang.IllegalStateException: " } else { "    at com.example.Order.close " };
        format!("{begin}{at}")
    }),
];

fn level(at: usize) -> &'static str {
    ["info", "info", "info", "debug", "info", "warn", "info", "error"][at % 8]
}

/// Lines of the same length, so that a pipeline is held against another.
fn padded(mut line: String) -> String {
    while line.len() < 100 {
        line.push(' ');
    }
    line.truncate(100);
    line
}

const LABELS: &str = "{container_name=\"bench\",host=\"localhost\",source=\"stdout\"}";

fn metadata() -> Metadata {
    Metadata::new([("container_id", &*"0123456789abcdef".repeat(4)), ("image_name", "busybox:1")])
}

fn plan() -> Plan {
    let wait = Duration::from_secs(1);
    Plan {
        until: Default::default(),
        streams: [(); 2].map(|()| {
            let pairs = [("container_name", "bench"), ("host", "localhost"), ("source", "stdout")];
            let pairs = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
            Some(Stream { labels: LABELS.into(), pairs: pairs.to_vec(), tenant: None })
        }),
        pipeline: None,
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

fn open(dir: &Path, name: &str) -> Arc<Ring> {
    let options = Options { budget: 100_000_000, boot: BootId([1; 16]) };
    Ring::open(&dir.join(name), options, &DockerFrames).expect("an empty ring")
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
    (0..LINES).flat_map(|at| frame_of(at as i64, &words(at))).collect()
}

fn words(at: usize) -> String {
    let words = ["request", "accepted", "from", "10.0.0.", "status=200", "latency_ms=", "closed", "order"];
    let mut line = format!("{at:08} ");
    while line.len() < 100 {
        line.push_str(words[(line.len() * 7 + at) % words.len()]);
        line.push(' ');
    }
    line.truncate(100);
    line
}

/// A frame as dockerd writes it, with a line of 100 bytes.
fn frame_of(at: i64, line: &str) -> Vec<u8> {
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
