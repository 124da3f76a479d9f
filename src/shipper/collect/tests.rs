mod clocks;
mod lanes;
mod loki;
mod piped;
mod small_rings;

use super::*;
use crate::frames::DockerFrames;
use crate::shipper::Stream;
use ::loki::encode::proto::PushRequest;
use dockerd::Source;
use dockerd::entry::proto::{LogEntry, PartialLogEntryMetadata};
use prost::Message;
use ring::{BootId, Options};

const NOW: i64 = 1_790_000_000_000_000_000;

fn plan(batch_size: usize) -> Plan {
    Plan {
        until: Default::default(),
        streams: Source::ALL.map(|source| {
            let labels = format!("{{source=\"{}\"}}", source.as_str());
            Some(Stream { labels, pairs: Vec::new(), tenant: None })
        }),
        pipeline: None,
        metadata: vec![("container_id".into(), "c1".into())],
        batch_size,
        batch_wait: std::time::Duration::ZERO,
        protects: false,
        forgets: false,
        attempts: None,
        backoff: super::super::Backoff::try_new(
            std::time::Duration::from_millis(1),
            std::time::Duration::from_millis(2),
        )
        .unwrap(),
    }
}

struct Scene {
    dir: tempfile::TempDir,
    ring: Arc<Ring>,
}

impl Scene {
    fn new() -> Self {
        Self::of(4 << 20)
    }

    /// A scene whose ring holds `budget` bytes.
    fn of(budget: u64) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = Options { budget, boot: BootId([1; 16]) };
        let ring = Ring::open(dir.path(), options, &DockerFrames).unwrap();
        Self { dir, ring }
    }

    fn write(&self, source: &str, line: &str, chunk: Option<(i32, bool)>) {
        self.write_at(NOW, source, line, chunk);
    }

    fn write_at(&self, time_nano: i64, source: &str, line: &str, chunk: Option<(i32, bool)>) {
        let entry = LogEntry {
            source: source.into(),
            time_nano,
            line: line.into(),
            partial: chunk.is_some(),
            partial_log_metadata: chunk.map(|(ordinal, last)| PartialLogEntryMetadata {
                last,
                id: "id".into(),
                ordinal,
            }),
        };
        let mut frame = (entry.encoded_len() as u32).to_be_bytes().to_vec();
        entry.encode(&mut frame).unwrap();
        let mut writer = self.ring.writer("w");
        let (mut records, mut done) = (0, 0);
        // The rest of a frame lands with the next write.
        while records == 0 {
            let put = |to: ring::Landing<'_>| to.put(&frame[done..]).inspect(|put| done += put);
            records = writer.land(&DockerFrames, put).unwrap().records;
        }
    }

    fn collector(&self, batch_size: usize) -> Collector {
        let saved = ring::Cursor::open(&self.dir.path().join("cursor")).unwrap().saved();
        Collector::new(&self.ring, saved, &plan(batch_size))
    }
}

fn collect(collector: &mut Collector, ended: bool) {
    let published = Published { next_seq: 0, bytes: 0 };
    collector.collect(&published, ended, true, &Now::default());
}

fn sent(collector: &mut Collector, source: Source) -> Vec<(i64, String)> {
    let Some(batch) = collector.batch(source.index()) else { return Vec::new() };
    let message = snap::raw::Decoder::new().decompress_vec(&batch.body()).unwrap();
    let request = PushRequest::decode(&message[..]).unwrap();
    let entries = request.streams[0].entries.iter();
    entries
        .map(|entry| {
            let time = entry.timestamp.unwrap();
            let time = time.seconds * 1_000_000_000 + i64::from(time.nanos) - NOW;
            (time, String::from_utf8_lossy(&entry.line).into_owned())
        })
        .collect()
}

fn lines(expected: &[(i64, &str)]) -> Vec<(i64, String)> {
    expected.iter().map(|(time, line)| (*time, line.to_string())).collect()
}

#[test]
fn sources_become_batches_and_equal_times_rise() {
    let scene = Scene::new();
    for (source, line) in [("stdout", "a"), ("stderr", "b"), ("stdout", "a")] {
        scene.write(source, line, None);
    }
    let mut collector = scene.collector(1 << 20);
    collect(&mut collector, false);
    assert_eq!(sent(&mut collector, Source::Stdout), lines(&[(0, "a"), (1, "a")]));
    assert_eq!(sent(&mut collector, Source::Stderr), lines(&[(0, "b")]));
}

#[test]
fn a_rewind_makes_the_same_bytes_again() {
    let scene = Scene::new();
    for at in 0..50 {
        scene.write(if at % 3 == 0 { "stderr" } else { "stdout" }, &format!("line {at}"), None);
    }
    let mut collector = scene.collector(1 << 20);
    collect(&mut collector, false);
    let first = Source::ALL.map(|source| collector.batch(source.index()).unwrap().body());
    collector.rewind();
    collect(&mut collector, false);
    assert_eq!(first, Source::ALL.map(|source| collector.batch(source.index()).unwrap().body()));
}

#[test]
fn one_source_acknowledged_is_not_sent_again_when_the_other_failed() {
    let scene = Scene::new();
    scene.write("stdout", "out", None);
    scene.write("stderr", "err", None);
    let mut collector = scene.collector(1 << 20);
    collect(&mut collector, false);
    collector.acknowledge(Source::Stdout.index(), 0);
    collector.rewind();
    collect(&mut collector, false);
    assert_eq!(sent(&mut collector, Source::Stdout), []);
    assert_eq!(sent(&mut collector, Source::Stderr), lines(&[(0, "err")]));
}

#[test]
fn lines_of_a_source_that_is_not_sent_are_passed_over_and_hold_nothing() {
    let scene = Scene::new();
    for (source, line, chunk) in
        [("stderr", "a", None), ("stdout", "b", None), ("stderr", "half ", Some((1, false))), ("stdout", "c", None)]
    {
        scene.write(source, line, chunk);
    }
    for sent in [[true, false], [false, false]] {
        let mut plan = plan(1 << 20);
        for (stream, sent) in plan.streams.iter_mut().zip(sent) {
            stream.take_if(|_| !sent);
        }
        let mut collector = Collector::new(&scene.ring, None, &plan);
        collect(&mut collector, false);
        let expected = if sent[0] { lines(&[(0, "b"), (1, "c")]) } else { Vec::new() };
        assert_eq!(super::tests::sent(&mut collector, Source::Stdout), expected);
        assert!(collector.batch(Source::Stderr.index()).is_none() && !collector.holds_lines());
        if sent[0] {
            collector.acknowledge(Source::Stdout.index(), 0);
        }
        assert_eq!(collector.checkpoint().0.seq, 4);
    }
}

#[test]
fn a_line_that_is_not_whole_holds_the_cursor_and_nothing_else() {
    let scene = Scene::new();
    scene.write("stdout", "long ", Some((1, false)));
    scene.write("stderr", "other", None);
    let mut collector = scene.collector(1 << 20);
    collect(&mut collector, false);
    assert_eq!(sent(&mut collector, Source::Stdout), []);
    assert_eq!(sent(&mut collector, Source::Stderr), lines(&[(0, "other")]));
    collector.acknowledge(Source::Stderr.index(), 0);
    let (position, note) = collector.checkpoint();
    assert_eq!(position.seq, 0, "the first chunk is still owed");

    // The process dies here. The next one reads from the chunk on, and does not send the other line again.
    ring::Cursor::open(&scene.dir.path().join("cursor")).unwrap().save(position, note.bytes()).unwrap();
    let mut collector = scene.collector(1 << 20);
    scene.write("stdout", "line", Some((2, true)));
    collect(&mut collector, false);
    assert_eq!(sent(&mut collector, Source::Stderr), []);
    assert_eq!(sent(&mut collector, Source::Stdout), lines(&[(0, "long line")]));
    collector.acknowledge(Source::Stdout.index(), 0);
    assert_eq!(collector.checkpoint().0.seq, 3);
}

/// A power loss takes sent lines from the ring, but not the cursor, which was synced later. New lines must not get
/// their numbers: the marks of the source would say that they were sent.
#[test]
fn lines_after_a_power_loss_are_sent_though_a_line_of_the_other_source_was_open() {
    let mut scene = Scene::new();
    scene.write("stdout", "long ", Some((1, false)));
    scene.ring.sync().unwrap();
    let segment = std::fs::read_dir(scene.dir.path()).unwrap().next().unwrap().unwrap().path();
    let synced = std::fs::read(&segment).unwrap();
    (0..20).for_each(|at| scene.write("stderr", &format!("sent {at}"), None));
    let mut collector = scene.collector(1 << 20);
    collect(&mut collector, false);
    collector.acknowledge(Source::Stderr.index(), 0);
    let mut cursors = ring::Cursors::open(&scene.ring, &["there".into()]).unwrap();
    let (position, note) = collector.checkpoint();
    cursors.save(0, position, note.bytes()).unwrap();
    drop((cursors, collector));

    std::fs::write(&segment, synced).unwrap();
    let options = Options { budget: 4 << 20, boot: BootId([2; 16]) };
    scene.ring = Ring::open(scene.dir.path(), options, &DockerFrames).unwrap();
    (0..30).for_each(|at| scene.write("stderr", &format!("new {at}"), None));
    let saved = ring::Cursors::open(&scene.ring, &["there".into()]).unwrap().saved(0);
    let mut collector = Collector::new(&scene.ring, saved, &plan(1 << 20));
    collect(&mut collector, false);
    let expected: Vec<_> = (0..30).map(|at| format!("new {at}")).collect();
    let sent: Vec<_> = sent(&mut collector, Source::Stderr).into_iter().map(|(_, line)| line).collect();
    assert_eq!(sent, expected);
}

#[test]
fn a_last_chunk_that_never_comes_is_sent_when_the_container_has_ended() {
    let scene = Scene::new();
    scene.write("stdout", "no newline", Some((1, false)));
    let mut collector = scene.collector(1 << 20);
    collect(&mut collector, false);
    assert!(collector.is_empty() && collector.holds_lines());
    collect(&mut collector, true);
    assert_eq!(sent(&mut collector, Source::Stdout), lines(&[(0, "no newline")]));
    collector.acknowledge(Source::Stdout.index(), 0);
    assert_eq!(collector.checkpoint().0.seq, 1);
}

#[test]
fn batches_end_at_their_size_and_halves_at_half() {
    let scene = Scene::new();
    for at in 0..100 {
        scene.write("stdout", &format!("{at:090}"), None);
    }
    let mut collector = scene.collector(1000);
    collect(&mut collector, false);
    let full = sent(&mut collector, Source::Stdout).len();
    assert_eq!(full, 10, "90 bytes of line and 14 of metadata each");
    collector.split(Source::Stdout.index());
    collector.rewind();
    collect(&mut collector, false);
    assert_eq!(sent(&mut collector, Source::Stdout).len(), 5);
    collector.acknowledge(Source::Stdout.index(), 0);
    collect(&mut collector, false);
    assert_eq!(sent(&mut collector, Source::Stdout).len(), 10);
}

#[test]
fn two_lines_that_come_with_one_entry_are_not_halved_for_ever() {
    let scene = Scene::new();
    scene.write_at(NOW, "stdout", "begun", Some((1, false)));
    scene.write_at(NOW + 1, "stdout", "whole", None);
    let mut collector = scene.collector(1 << 20);
    let mut splits = 0;
    loop {
        collect(&mut collector, false);
        if !collector.batch(0).unwrap().is_divisible() {
            break;
        }
        collector.split(0);
        collector.rewind();
        splits += 1;
        assert!(splits < 9, "halved again and again");
    }
    assert_eq!(sent(&mut collector, Source::Stdout), lines(&[(0, "begun"), (1, "whole")]));
}
