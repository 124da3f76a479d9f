//! Rings that are small beside a batch, a line, or what a stage holds: no unsent line is overwritten while Loki answers
//! at once.

use super::*;
use promtail::pipeline::{Form, Pipeline};
use proptest::prelude::*;
use ring::Cursor;

/// Bytes of one chunk of a long line.
const CHUNK: usize = 16 * 1024;

/// Writes lines while the shipper pushes as soon as it must, and returns the lines that arrived. Between two looks at
/// the ring, `at_once` bytes are written.
fn ship(scene: &Scene, plan: &Plan, lines: &[String], at_once: u64, is_killed: bool) -> (Vec<String>, Lost) {
    let mut collector = Collector::new(&scene.ring, None, plan);
    let (mut arrived, mut lost, mut written) = (Vec::new(), Lost::default(), 0);
    let mut pushed = |collector: &mut Collector, ended: bool| loop {
        let published = scene.ring.published();
        collector.collect(&published, ended, true, &Now::default());
        for at in 0..collector.batches() {
            if collector.batch(at).is_some() {
                arrived.extend(sent_by(collector, at));
                collector.acknowledge(at, 0);
            }
        }
        let toll = collector.take_toll().lost;
        (lost.overwritten, lost.damaged) = (lost.overwritten + toll.overwritten, lost.damaged + toll.damaged);
        if !collector.has_more() {
            break;
        }
    };
    for (number, line) in lines.iter().enumerate() {
        let chunks: Vec<_> = line.as_bytes().chunks(CHUNK).collect();
        for (at, chunk) in chunks.iter().enumerate() {
            let part = (chunks.len() > 1).then_some((at as i32 + 1, at + 1 == chunks.len()));
            scene.write("stdout", std::str::from_utf8(chunk).unwrap(), part);
            written += chunk.len() as u64;
            if collector.is_enough(&scene.ring.published()) && written >= at_once {
                written = 0;
                pushed(&mut collector, false);
                if is_killed && number % 3 == 0 {
                    let (position, note) = collector.checkpoint();
                    let path = scene.dir.path().join("cursor");
                    Cursor::open(&path).unwrap().save(position, note.bytes()).unwrap();
                    collector = Collector::new(&scene.ring, Cursor::open(&path).unwrap().saved(), plan);
                }
            }
        }
    }
    pushed(&mut collector, true);
    (arrived, lost)
}

fn sent_by(collector: &mut Collector, at: usize) -> Vec<String> {
    let message = snap::raw::Decoder::new().decompress_vec(&collector.batch(at).unwrap().body()).unwrap();
    let entries = PushRequest::decode(&message[..]).unwrap().streams.remove(0).entries;
    entries.into_iter().map(|entry| String::from_utf8(entry.line).unwrap()).collect()
}

/// A line as Loki gets it from a ring of this many bytes.
fn shown(line: &str, ring: u64) -> String {
    let most = (256 * 1024).min(ring as usize / 4);
    let marker = format!(" [cut by loki-rs at {} KiB]", most / 1024);
    if line.len() <= most { line.to_owned() } else { format!("{}{marker}", &line[..most - marker.len()]) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]

    #[test]
    fn no_size_of_ring_line_or_batch_loses_a_line_while_loki_answers_at_once(
        ring in 512_u64..4096,
        share in 0_u64..4,
        batch in prop_oneof![Just(1 << 20), 1_usize..3 << 20],
        sizes in proptest::collection::vec(prop_oneof![8 => 1_usize..300, 2 => 1_usize..20_000, 1 => 1_usize..1_200_000], 10..60),
        is_killed in any::<bool>(),
    ) {
        let ring = ring << 10;
        let scene = Scene::of(ring);
        // At least twice the size of the ring.
        let mut lines = Vec::new();
        let mut bytes = 0;
        while bytes < 2 * ring as usize {
            let size = sizes[lines.len() % sizes.len()];
            let head = format!("{} ", lines.len());
            let line = format!("{head}{}", "x".repeat(size));
            bytes += line.len() + 25;
            lines.push(line);
        }
        // The container writes up to three eighths of the ring while a push is in flight.
        let (arrived, lost) = ship(&scene, &plan(batch), &lines, share * ring / 8, is_killed);
        prop_assert_eq!(lost, Lost::default());
        prop_assert_eq!(arrived.len(), lines.len());
        for (arrived, line) in arrived.iter().zip(&lines) {
            prop_assert!(*arrived == shown(line, ring), "line of {} bytes is one of {}", line.len(), arrived.len());
        }
    }
}

#[test]
fn a_line_longer_than_the_ring_pins_nothing_once_it_is_cut_and_its_rest_is_no_line_of_the_next_process() {
    let scene = Scene::of(512 << 10);
    let piece = "y".repeat(CHUNK);
    let mut collector = scene.collector(1 << 20);
    for ordinal in 1..=256 {
        scene.write("stdout", &piece, Some((ordinal, false)));
        collect(&mut collector, false);
        if collector.batch(Source::Stdout.index()).is_some() {
            assert_eq!(ordinal, 9, "it is cut as soon as it is too long");
            collector.acknowledge(Source::Stdout.index(), 0);
        }
        let (position, note) = collector.checkpoint();
        let pinned = scene.ring.bytes_from(position);
        assert!(pinned <= 9 * (CHUNK as u64 + 100), "{pinned} bytes are pinned at chunk {ordinal}");
        if ordinal % 50 == 0 {
            Cursor::open(&scene.dir.path().join("cursor")).unwrap().save(position, note.bytes()).unwrap();
            collector = scene.collector(1 << 20);
        }
    }
    scene.write("stdout", "the end", Some((257, true)));
    scene.write("stdout", "after", None);
    collect(&mut collector, false);
    assert_eq!(sent(&mut collector, Source::Stdout).into_iter().map(|(_, line)| line).collect::<Vec<_>>(), ["after"]);
    assert_eq!(collector.take_toll().cut_lines, 0, "it was counted by the process that sent it");
}

#[test]
fn what_is_left_out_beside_a_line_that_a_stage_holds_is_no_line_of_the_next_process() {
    let scene = Scene::new();
    let mut plan = plan(1 << 20);
    plan.pipeline = Some(Pipeline::parse("[{multiline: {firstline: '^\\S', max_wait_time: 1h}}]", Form::List).unwrap());
    for (stream, source) in plan.streams.iter_mut().zip(Source::ALL) {
        stream.as_mut().unwrap().pairs = vec![("source".into(), source.as_str().into())];
    }
    let mut collector = Collector::new(&scene.ring, None, &plan);
    let piece = "y".repeat(CHUNK);
    (1..=20).for_each(|ordinal| scene.write("stdout", &piece, Some((ordinal, false))));
    // The line that begins here is held, in the middle of the other line.
    scene.write("stderr", "held", None);
    scene.write("stdout", "next", None);
    collect(&mut collector, false);
    assert_eq!(sent_by(&mut collector, 0).len(), 1);
    collector.acknowledge(0, 0);
    let (position, note) = collector.checkpoint();
    assert_eq!(position.seq, 20);
    let mut collector = Collector::new(&scene.ring, Some((position, note.bytes())), &plan);
    collect(&mut collector, true);
    let mut lines: Vec<_> = (0..collector.batches()).flat_map(|at| sent_by(&mut collector, at)).collect();
    lines.sort();
    assert_eq!(lines, ["held", "next"]);
}

#[test]
fn what_a_stage_holds_pins_a_quarter_of_a_small_ring_at_most() {
    let scene = Scene::of(512 << 10);
    let mut plan = plan(1 << 20);
    plan.pipeline = Some(
        Pipeline::parse("[{multiline: {firstline: '^\\S', max_lines: 0, max_wait_time: 1h}}]", Form::List).unwrap(),
    );
    let mut collector = Collector::new(&scene.ring, None, &plan);
    scene.write("stdout", "head", None);
    for at in 0..2000 {
        scene.write("stdout", &format!("  line {at} {}", "z".repeat(200)), None);
        collect(&mut collector, false);
        (0..collector.batches()).for_each(|at| collector.acknowledge(at, 0));
        let pinned = scene.ring.bytes_from(collector.checkpoint().0);
        assert!(pinned <= (512 << 10) / 4 + 1000, "{pinned} bytes are pinned at line {at}");
    }
}

/// Nothing was sent before the ring was full; then the process was killed, or the power failed.
#[test]
fn what_was_overwritten_before_anything_was_saved_is_counted_by_the_next_process() {
    let scene = Scene::of(512 << 10);
    let mut printed = 0;
    while scene.ring.oldest().seq < 100 {
        scene.write("stdout", &format!("{printed} {}", "x".repeat(500)), None);
        printed += 1;
    }
    let cursors = ring::Cursors::open(&scene.ring, &["there".into()]).unwrap();
    let mut collector = Collector::new(&scene.ring, Some(cursors.start(0)), &plan(1 << 20));
    assert!(collector.is_overtaken(), "it is seen before Loki is there");
    let (mut sent, mut lost) = (0, 0);
    while collector.next_seq() < printed {
        collect(&mut collector, false);
        sent += sent_by(&mut collector, 0).len() as u64;
        collector.acknowledge(0, 0);
        collector.settle();
        lost += collector.take_toll().lost.overwritten;
    }
    assert_eq!((sent, lost), (printed - scene.ring.oldest().seq, scene.ring.oldest().seq));
}
